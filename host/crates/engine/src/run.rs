//! One call of one guest: an instance, fuel, the overlay lent, the answer judged.

use crate::{
    admission::Kind,
    bindings::types,
    costs,
    host::Guest,
    limiter::Limiter,
    log_sink::LogSink,
    thread,
    verdict::{self, Stage},
};
use althing_core::{
    ids::Hash,
    overlay::Overlay,
    program::{Context, Fault},
    transition::{Trap, TrapKind},
};
use std::panic::{self, AssertUnwindSafe};
use wasmtime::{
    Store,
    component::{ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower},
};

/// Most bytes a guest may hand to the host in one call, by all its strings and lists. The quotas
/// are below; twice the largest value, so that they are what a guest meets.
pub(crate) const BOUNDARY_BYTES_MAX: usize = 2 << 20;

const _: () = {
    use althing_core::limits::{KEY_BYTES_MAX, RESULT_BYTES_MAX, VALUE_BYTES_MAX};
    assert!(BOUNDARY_BYTES_MAX > VALUE_BYTES_MAX + KEY_BYTES_MAX, "any one pair passes");
    assert!(BOUNDARY_BYTES_MAX > RESULT_BYTES_MAX, "any one result passes");
};

/// A component, compiled, its imports satisfied, its exports found.
pub(crate) struct Linked {
    pub(crate) component: Hash,
    pub(crate) kind: Kind,
    /// Linear memory its instances begin with.
    pub(crate) memory_bytes: u64,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) exports: Exports,
}

/// Where a component's exports are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exports {
    Reducer {
        describe: ComponentExportIndex,
        init: ComponentExportIndex,
        reduce: ComponentExportIndex,
        on_timer: ComponentExportIndex,
        query: ComponentExportIndex,
        migrate: Option<ComponentExportIndex>,
    },
    Validator {
        describe: ComponentExportIndex,
        validate: ComponentExportIndex,
    },
}

/// An instance in its store.
pub(crate) struct Live {
    store: Store<Guest>,
    instance: Instance,
}

/// What one call is given.
pub(crate) struct Lent<'a> {
    pub(crate) context: &'a Context,
    pub(crate) overlay: Overlay,
    pub(crate) fuel: u64,
    pub(crate) validator: Option<u32>,
}

/// How one call ended.
pub(crate) struct Ended<T> {
    pub(crate) overlay: Overlay,
    pub(crate) fuel: u64,
    pub(crate) answer: Result<T, Trap>,
    /// The instance, unless the guest trapped.
    pub(crate) live: Option<Live>,
}

/// Calls an export of a component, in `live` if there is one, else in a fresh instance.
pub(crate) fn call<P, R>(
    linked: &Linked,
    live: Option<Live>,
    lent: Lent<'_>,
    export: ComponentExportIndex,
    params: P,
) -> Result<Ended<R>, Fault>
where
    P: ComponentNamedList + Lower,
    (R,): ComponentNamedList + Lift,
{
    if !thread::is_guest_thread() {
        return Err(Fault::new("a guest was to run on a thread with a small stack: use spawn_guest_thread"));
    }
    let memory_max = lent.overlay.quotas().memory_bytes;
    if linked.memory_bytes > memory_max {
        return Ok(too_large(linked, lent, memory_max));
    }
    let run = AssertUnwindSafe(|| call_unwinding(linked, live, lent, export, params));
    panic::catch_unwind(run).unwrap_or_else(|_| Err(Fault::new("the engine panicked while a guest ran")))
}

/// The instance would begin with more memory than the quota allows.
fn too_large<R>(linked: &Linked, lent: Lent<'_>, memory_max: u64) -> Ended<R> {
    let message =
        format!("quota memory_bytes: an instance begins with {}, {memory_max} allowed", linked.memory_bytes);
    let trap = Trap { kind: TrapKind::OutOfMemory, message, validator: lent.validator };
    Ended { overlay: lent.overlay, fuel: 0, answer: Err(trap), live: None }
}

fn call_unwinding<P, R>(
    linked: &Linked,
    live: Option<Live>,
    lent: Lent<'_>,
    export: ComponentExportIndex,
    params: P,
) -> Result<Ended<R>, Fault>
where
    P: ComponentNamedList + Lower,
    (R,): ComponentNamedList + Lift,
{
    let (validator, fuel) = (lent.validator, lent.fuel);
    let (mut store, instance) = match live {
        Some(live) => (live.store, Some(live.instance)),
        None => (fresh(linked, lent.overlay.quotas().memory_bytes), None),
    };
    lend(&mut store, lent)?;
    let answer = match instance {
        Some(instance) => Ok(instance),
        None => instantiate(linked, &mut store).map_err(|error| (error, Stage::Instantiating)),
    };
    let answer = answer.and_then(|instance| {
        let answer = invoke(&mut store, instance, export, params);
        answer.map(|answer| (answer, instance)).map_err(|error| (error, Stage::Calling))
    });
    let left = store.get_fuel().map_err(|error| Fault::because("fuel cannot be read", error))?;
    let overlay = store.data_mut().overlay.take().ok_or_else(|| Fault::new("a run has lost its overlay"))?;
    let used = fuel.saturating_sub(left);
    match answer {
        Ok((answer, instance)) => {
            Ok(Ended { overlay, fuel: used, answer: Ok(answer), live: Some(Live { store, instance }) })
        }
        Err((error, stage)) => {
            let trap = verdict::judge(error, stage, validator)?;
            let used = if trap.kind == TrapKind::OutOfFuel { fuel } else { used };
            Ok(Ended { overlay, fuel: used, answer: Err(trap), live: None })
        }
    }
}

pub(crate) fn fresh(linked: &Linked, memory_bytes_max: u64) -> Store<Guest> {
    let guest = Guest { overlay: None, limiter: Limiter::new(memory_bytes_max), log: LogSink::default() };
    let mut store = Store::new(linked.pre.engine(), guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(BOUNDARY_BYTES_MAX);
    store
}

pub(crate) fn lend(store: &mut Store<Guest>, lent: Lent<'_>) -> Result<(), Fault> {
    store.set_fuel(lent.fuel).map_err(|error| Fault::because("fuel cannot be given", error))?;
    let guest = store.data_mut();
    guest.log = LogSink::new(lent.context);
    guest.overlay = Some(lent.overlay);
    Ok(())
}

pub(crate) fn instantiate(linked: &Linked, store: &mut Store<Guest>) -> wasmtime::Result<Instance> {
    let left = store.get_fuel()?;
    store.set_fuel(left.saturating_sub(costs::INSTANCE))?;
    if left < costs::INSTANCE {
        return Err(crate::host::OutOfFuel.into());
    }
    linked.pre.instantiate(store)
}

fn invoke<P, R>(
    store: &mut Store<Guest>,
    instance: Instance,
    export: ComponentExportIndex,
    params: P,
) -> wasmtime::Result<R>
where
    P: ComponentNamedList + Lower,
    (R,): ComponentNamedList + Lift,
{
    let function = instance.get_typed_func::<P, (R,)>(&mut *store, export)?;
    let (answer,) = function.call(store, params)?;
    Ok(answer)
}

/// The context as the guest sees it.
pub(crate) fn context(context: &Context) -> types::Context {
    types::Context {
        community: context.community.0,
        sequence: context.sequence.0,
        time: types::Timestamp { millis: context.time.millis(), counter: context.time.counter() },
        actor: types::Actor { id: context.actor.id.clone(), roles: context.actor.roles.clone() },
        operation: types::OperationId { session: context.session.0, number: context.number.0 },
    }
}
