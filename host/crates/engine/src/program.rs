//! A community's program in Wasm: what core's machine runs.
//!
//! The reducer's instance lives for an operation or for a batch, as it described itself; validators
//! live for one call. Whatever traps is discarded. A rejection keeps a per-batch instance.

use crate::{
    answer::{Answer, end, end_without_result},
    bindings::types,
    describe::Scope,
    link::Loaded,
    run::{self, Ended, Exports, Lent, Live},
};
use althing_core::{
    overlay::Overlay,
    program::{Call, Change, Context, End, Fault, Leftovers, Program, Run},
};
use bytes::Bytes;
use std::sync::Arc;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower};

/// A program, loaded.
pub struct WasmProgram {
    reducer: Arc<Loaded>,
    validators: Vec<Validator>,
    /// The reducer's instance of this batch.
    live: Option<Live>,
}

pub(crate) struct Validator {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) config: Bytes,
}

impl WasmProgram {
    pub(crate) const fn new(reducer: Arc<Loaded>, validators: Vec<Validator>) -> Self {
        Self { reducer, validators, live: None }
    }

    /// When the reducer's memory begins anew.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.reducer.description.scope
    }

    /// Calls the reducer, in the batch's instance if its scope is the batch.
    fn reducer<P, R>(
        &mut self,
        lent: Lent<'_>,
        export: ComponentExportIndex,
        params: P,
        judge: impl FnOnce(Result<Answer<R>, althing_core::transition::Trap>) -> End,
    ) -> Result<Run, Fault>
    where
        P: ComponentNamedList + Lower,
        (Answer<R>,): ComponentNamedList + Lift,
    {
        let Ended { overlay, fuel, answer, live } =
            run::call(&self.reducer.linked, self.live.take(), lent, export, params)?;
        if self.reducer.description.scope == Scope::PerBatch {
            self.live = live;
        }
        Ok(Run { overlay, fuel, end: judge(answer) })
    }

    fn validate(&self, lent: Lent<'_>, validator: u32, payload: &[u8], change: Change) -> Result<Run, Fault> {
        let Some(Validator { loaded, config }) = self.validators.get(validator as usize) else {
            return Err(Fault::new(format!("the program has no validator {validator}")));
        };
        let Exports::Validator { validate, .. } = loaded.linked.exports else {
            return Err(Fault::new(format!("component {} is no validator", loaded.linked.component)));
        };
        let context = run::context(lent.context);
        let change = shown(change);
        let ended: Ended<Answer<()>> =
            run::call(&loaded.linked, None, lent, validate, (&context, &config[..], payload, &change))?;
        Ok(Run {
            overlay: ended.overlay,
            fuel: ended.fuel,
            end: end_without_result(ended.answer, Some(validator)),
        })
    }
}

impl Program for WasmProgram {
    fn begin_batch(&mut self) {
        self.live = None;
    }

    fn release(&mut self) -> Leftovers {
        self.live.take().map(|live| Box::new(live) as Box<dyn Send>)
    }

    fn run(&mut self, context: &Context, call: Call, overlay: Overlay, fuel: u64) -> Result<Run, Fault> {
        let Exports::Reducer { init, reduce, on_timer, migrate, .. } = self.reducer.linked.exports else {
            return Err(Fault::new(format!("component {} is no reducer", self.reducer.linked.component)));
        };
        let result_bytes = overlay.quotas().result_bytes;
        let told = run::context(context);
        let mut lent = Lent { context, overlay, fuel, validator: None };
        let judge = |answer| end_without_result(answer, None);
        match call {
            Call::Init { config } => self.reducer(lent, init, (&told, &config[..]), judge),
            Call::Migrate { from_version, config } => match migrate {
                Some(migrate) => self.reducer(lent, migrate, (&told, &from_version, &config[..]), judge),
                None => Ok(Run { overlay: lent.overlay, fuel: 0, end: End::Accept(Bytes::new()) }),
            },
            Call::Reduce { payload } => {
                self.reducer(lent, reduce, (&told, &payload[..]), |answer| end(answer, result_bytes, None))
            }
            Call::Timer { id, payload } => {
                self.reducer(lent, on_timer, (&told, &id[..], &payload[..]), judge)
            }
            Call::Validate { validator, payload, change } => {
                lent.validator = Some(validator);
                self.validate(lent, validator, &payload, change)
            }
        }
    }

    fn validators(&self) -> u32 {
        u32::try_from(self.validators.len()).expect("a manifest has few validators")
    }
}

/// The change as a validator sees it.
fn shown(change: Change) -> types::Change {
    let writes = change
        .writes
        .into_iter()
        .map(|write| types::Write { key: write.key.into(), value: write.value.map(Vec::from) });
    let events =
        change.events.into_iter().map(|event| types::Event { name: event.name, data: event.data.into() });
    types::Change { outcome: change.result.into(), writes: writes.collect(), events: events.collect() }
}
