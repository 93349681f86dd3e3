//! A program for tests that does what its operations say (feature `testing`).
//!
//! An operation, a timer's payload and a program's configuration are each a [`script`]: a list of
//! [`Step`]s. A validator's configuration is one too, run over the state after the change. Each step
//! costs one fuel. Native and tiny, so that whoever needs *some* program in a test needs no Wasm.

use crate::{
    batch::{ProgramManifest, ValidatorManifest},
    codec,
    ids::Hash,
    overlay::{Overlay, Refused},
    program::{Call, Context, End, Fault, Program, Programs, Run},
    time::Timestamp,
    transition::{Rejection, Trap, TrapKind},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One thing for [`ScriptedProgram`] to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Gives a key a value.
    Set(Bytes, Bytes),
    /// Appends to a key's value.
    Append(Bytes, Bytes),
    /// Takes a key away.
    Delete(Bytes),
    /// Emits an event.
    Emit(String, Bytes),
    /// Sets a timer that runs a [`script`].
    Schedule {
        /// Its id.
        id: Bytes,
        /// When it fires.
        at: Timestamp,
        /// What it does then.
        script: Bytes,
    },
    /// Takes a timer back; the result says whether there was one: `true` or `false`.
    Cancel(Bytes),
    /// The result.
    Answer(Bytes),
    /// The result is a key's value, empty if it has none.
    AnswerWith(Bytes),
    /// The result is the context, as `Debug` prints it.
    AnswerWithContext,
    /// The result is how often this step ran in this instance: what no real program should show.
    AnswerWithMemory,
    /// Uses fuel.
    Burn(u64),
    /// Refuses, with a code and a message.
    Reject(String, String),
    /// Refuses, with a code, if a key has a value.
    RejectIfSet(Bytes, String),
    /// Fails.
    Trap(TrapKind, String),
    /// The host fails.
    Fault,
}

/// Steps as an operation's payload, a timer's, or a configuration.
#[must_use]
pub fn script(steps: &[Step]) -> Bytes {
    codec::encode(steps).into()
}

/// The manifest of a scripted program: `config` is run by `init` or `migrate`, each of `validators`
/// after every accepted operation or timer.
#[must_use]
pub fn manifest(version: &str, config: &[Step], validators: &[&[Step]]) -> ProgramManifest {
    let validators = validators
        .iter()
        .map(|steps| ValidatorManifest { component: Hash([2; 32]), config: script(steps) })
        .collect();
    ProgramManifest {
        reducer: Hash([1; 32]),
        validators,
        config: script(config),
        name: "scripted".into(),
        version: version.into(),
    }
}

/// Does what it is told.
#[derive(Debug, Default)]
pub struct ScriptedProgram {
    validators: Vec<Bytes>,
    /// None before the first batch: then a call is a fault, for a real program has no instance.
    memory: Option<u64>,
}

/// Loads a [`ScriptedProgram`] for whatever manifest, with its validators.
#[derive(Debug, Default)]
pub struct ScriptedPrograms {
    /// How often a program was loaded.
    pub loaded: u32,
}

impl Programs for ScriptedPrograms {
    fn load(&mut self, manifest: &ProgramManifest) -> Result<Box<dyn Program>, Fault> {
        self.loaded += 1;
        let validators = manifest.validators.iter().map(|validator| validator.config.clone()).collect();
        Ok(Box::new(ScriptedProgram { validators, memory: None }))
    }
}

impl Program for ScriptedProgram {
    fn begin_batch(&mut self) {
        self.memory = Some(0);
    }

    fn run(&mut self, context: &Context, call: Call, mut overlay: Overlay, fuel: u64) -> Result<Run, Fault> {
        let Some(memory) = &mut self.memory else {
            return Err(Fault::new("a call before the first begin_batch"));
        };
        let script = match call {
            Call::Init { config } | Call::Migrate { config, .. } => config,
            Call::Reduce { payload } | Call::Timer { payload, .. } => payload,
            Call::Validate { validator, .. } => self.validators[validator as usize].clone(),
        };
        let Ok(steps) = codec::decode::<Vec<Step>>(&script) else {
            let rejection = rejection("bad-script", "the payload is no script");
            return Ok(Run { overlay, fuel: 0, end: End::Reject(rejection) });
        };
        let mut play = Play { memory, context, overlay: &mut overlay, fuel, result: Bytes::new() };
        let end = match play.steps(&steps) {
            Ok(()) => End::Accept(std::mem::take(&mut play.result)),
            Err(Stop::End(end)) => end,
            Err(Stop::Fault(fault)) => return Err(fault),
        };
        let used = fuel - play.fuel;
        Ok(Run { overlay, fuel: used, end })
    }

    fn validators(&self) -> u32 {
        self.validators.len() as u32
    }
}

/// A call in progress.
struct Play<'a> {
    memory: &'a mut u64,
    context: &'a Context,
    overlay: &'a mut Overlay,
    /// What is left.
    fuel: u64,
    result: Bytes,
}

/// Why a script stops before its end.
enum Stop {
    End(End),
    Fault(Fault),
}

impl From<Refused> for Stop {
    fn from(Refused { kind, message }: Refused) -> Self {
        trap(kind, message)
    }
}

impl Play<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<(), Stop> {
        steps.iter().try_for_each(|step| {
            self.burn(1)?;
            self.step(step)
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Set(key, value) => self.overlay.set(key, value)?,
            Step::Append(key, value) => {
                let old = self.overlay.get(key)?.unwrap_or_default();
                self.overlay.set(key, &[old.as_ref(), value.as_ref()].concat())?;
            }
            Step::Delete(key) => self.overlay.delete(key)?,
            Step::Emit(name, data) => self.overlay.emit(name, data)?,
            Step::Schedule { id, at, script } => self.overlay.schedule(id, *at, script)?,
            Step::Cancel(id) => self.result = self.overlay.cancel(id)?.to_string().into(),
            Step::Answer(result) => self.result = result.clone(),
            Step::AnswerWith(key) => self.result = self.overlay.get(key)?.unwrap_or_default(),
            Step::AnswerWithContext => self.result = format!("{:?}", self.context).into(),
            Step::AnswerWithMemory => {
                *self.memory += 1;
                self.result = self.memory.to_string().into();
            }
            Step::Burn(fuel) => self.burn(*fuel)?,
            Step::Reject(code, message) => return Err(reject(code, message)),
            Step::RejectIfSet(key, code) if self.overlay.get(key)?.is_some() => {
                return Err(reject(code, "the key has a value"));
            }
            Step::RejectIfSet(..) => {}
            Step::Trap(kind, message) => return Err(trap(*kind, message.clone())),
            Step::Fault => return Err(Stop::Fault(Fault::new("as the script says"))),
        }
        Ok(())
    }

    fn burn(&mut self, fuel: u64) -> Result<(), Stop> {
        match self.fuel.checked_sub(fuel) {
            Some(left) => {
                self.fuel = left;
                Ok(())
            }
            None => {
                self.fuel = 0;
                Err(trap(TrapKind::OutOfFuel, "all fuel is used".into()))
            }
        }
    }
}

fn reject(code: &str, message: &str) -> Stop {
    Stop::End(End::Reject(rejection(code, message)))
}

fn rejection(code: &str, message: &str) -> Rejection {
    Rejection { code: code.into(), message: message.into(), validator: None }
}

fn trap(kind: TrapKind, message: String) -> Stop {
    Stop::End(End::Trap(Trap { kind, message, validator: None }))
}
