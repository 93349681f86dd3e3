//! One community: the machine, the engine, and how long the reducer's instances live.

use crate::error::{Refused, SetupError};
use althing_core::{
    actor::Actor,
    batch::{Activation, Batch, Command, OpenSession, Operation, ProgramManifest},
    ids::{CommunityId, OperationNumber, SessionId},
    machine::{Applied, Machine},
    overlay::Overlay,
    policy::Policy,
    program::{Call, Context, Fault, Program, Programs, Run},
    time::Timestamp,
    transition::{Outcome, Reply, Transition},
};
use althing_engine::{Engine, thread::on_guest_thread};
use bytes::Bytes;
use std::collections::BTreeMap;

/// 2026-01-01T00:00:00Z: when a test's community begins.
const BEGINNING_MILLIS: u64 = 1_767_225_600_000;

/// How long an instance of the reducer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// For one call, whatever the program declares.
    Call,
    /// For as long as nothing traps, if the program declares the batch: as if all were one batch.
    Community,
}

/// One community.
pub(crate) struct World {
    machine: Machine,
    programs: Loader,
    sessions: BTreeMap<String, Session>,
    wall: Timestamp,
    pub(crate) history: Vec<Transition>,
}

#[derive(Clone, Copy)]
struct Session {
    id: SessionId,
    last: OperationNumber,
}

impl World {
    pub(crate) fn begin(
        engine: Engine,
        lifetime: Lifetime,
        policy: Policy,
        program: &ProgramManifest,
    ) -> Result<Self, SetupError> {
        let mut world = Self {
            machine: Machine::new(CommunityId(1), policy),
            programs: Loader { engine, lifetime },
            sessions: BTreeMap::new(),
            wall: Timestamp::new(BEGINNING_MILLIS, 0),
            history: Vec::new(),
        };
        let activation = Activation { actor: Actor::default(), program: program.clone() };
        let replies = world.apply(vec![Command::Activate(activation)]).map_err(SetupError::Host)?;
        result(&replies[0]).map_err(SetupError::Init)?;
        Ok(world)
    }

    pub(crate) const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What the wall clock says, which only a test moves.
    pub(crate) const fn now(&self) -> Timestamp {
        self.wall
    }

    /// Submits operations in one batch.
    pub(crate) fn submit(&mut self, actor: &Actor, payloads: &[Bytes]) -> Result<Vec<Reply>, Fault> {
        let mut session = self.session(actor)?;
        let mut commands = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let acknowledged = session.last;
            session.last = session.last.next();
            commands.push(Command::Operation(Operation {
                session: session.id,
                number: session.last,
                // All answers of the batches before are here.
                acknowledged: acknowledged.min(self.sessions[&actor.id].last),
                after: OperationNumber(0),
                actor: actor.clone(),
                payload: payload.clone(),
            }));
        }
        self.sessions.insert(actor.id.clone(), session);
        self.apply(commands)
    }

    /// Lets time pass up to `until`; each timer has a batch at its own moment.
    pub(crate) fn pass(&mut self, until: Timestamp) -> Result<(), Fault> {
        while let Some(due) = self.machine.next_timer().filter(|due| *due <= until) {
            self.wall = self.wall.max(due);
            self.apply(Vec::new())?;
        }
        self.wall = self.wall.max(until);
        Ok(())
    }

    fn session(&mut self, actor: &Actor) -> Result<Session, Fault> {
        if let Some(session) = self.sessions.get(&actor.id) {
            return Ok(*session);
        }
        let replies = self.apply(vec![Command::OpenSession(OpenSession { actor: actor.clone() })])?;
        let Reply::Done(receipt) = &replies[0] else {
            return Err(Fault::new(format!("no session could be opened: {:?}", replies[0])));
        };
        let session = Session { id: SessionId(receipt.sequence.0), last: OperationNumber(0) };
        self.sessions.insert(actor.id.clone(), session);
        Ok(session)
    }

    fn apply(&mut self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        let batch = Batch { stamp: self.wall, commands };
        let Self { machine, programs, .. } = self;
        let Applied { transitions, replies } = on_guest_thread(|| machine.apply(&batch, programs))?;
        self.wall = self.wall.max(self.machine.time());
        self.history.extend(transitions);
        Ok(replies)
    }
}

/// The result of a command.
pub(crate) fn result(reply: &Reply) -> Result<Bytes, Refused> {
    match reply {
        Reply::Done(receipt) | Reply::Repeated(receipt) => outcome(&receipt.outcome),
        Reply::NotExecuted(why) => Err(why.clone().into()),
    }
}

/// The result in an outcome.
pub(crate) fn outcome(outcome: &Outcome) -> Result<Bytes, Refused> {
    match outcome.clone() {
        Outcome::Accepted { result } => Ok(result),
        Outcome::Rejected(rejection) => Err(Refused::Rejected {
            code: rejection.code,
            message: rejection.message,
            validator: rejection.validator,
        }),
        Outcome::Trapped(trap) => {
            Err(Refused::Trapped { code: trap.kind.code(), message: trap.message, validator: trap.validator })
        }
    }
}

/// Loads programs whose instances live as the world says.
struct Loader {
    engine: Engine,
    lifetime: Lifetime,
}

impl Programs for Loader {
    fn load(&mut self, manifest: &ProgramManifest) -> Result<Box<dyn Program>, Fault> {
        let program = Box::new(self.engine.load(manifest)?);
        Ok(Box::new(Lived { program, lifetime: self.lifetime }))
    }
}

/// A program that is told of batches when its world wants it to be.
struct Lived {
    program: Box<dyn Program>,
    lifetime: Lifetime,
}

impl Program for Lived {
    fn begin_batch(&mut self) {}

    fn run(&mut self, context: &Context, call: Call, overlay: Overlay, fuel: u64) -> Result<Run, Fault> {
        if self.lifetime == Lifetime::Call {
            self.program.begin_batch();
        }
        self.program.run(context, call, overlay, fuel)
    }

    fn validators(&self) -> u32 {
        self.program.validators()
    }
}
