//! A community on a stage: a machine, the wall clock that the test sets, and the words to drive it.
//! Every batch is checked for what must hold of all of them.

use althing_core::{
    actor::Actor,
    batch::{Activation, Batch, Command, OpenSession, Operation, ProgramManifest},
    digest,
    ids::{CommunityId, OperationNumber, SessionId},
    machine::{Applied, Machine},
    policy::Policy,
    program::Fault,
    state::Keyspace,
    testing::{ScriptedPrograms, Step, manifest, script},
    time::Timestamp,
    transition::{NotExecuted, Outcome, Receipt, Reply},
};
use bytes::Bytes;

pub(crate) const ACTOR: &str = "ada";

pub(crate) struct Stage {
    pub(crate) machine: Machine,
    pub(crate) programs: ScriptedPrograms,
    /// What the leader's clock says.
    pub(crate) millis: u64,
}

impl Stage {
    /// A community without a program.
    pub(crate) fn bare(policy: Policy) -> Self {
        let machine = Machine::new(CommunityId(7), policy);
        Self { machine, programs: ScriptedPrograms::default(), millis: 1000 }
    }

    /// A community that runs a scripted program since sequence 1.
    pub(crate) fn new() -> Self {
        Self::running(Policy::default(), &manifest("1", &[], &[]))
    }

    pub(crate) fn running(policy: Policy, program: &ProgramManifest) -> Self {
        let mut stage = Self::bare(policy);
        assert_eq!(accepted(&stage.one(activate(program))), "");
        stage
    }

    /// Applies a batch and checks what holds of every batch.
    pub(crate) fn try_apply(&mut self, commands: Vec<Command>) -> Result<Applied, Fault> {
        let before = self.machine.view();
        let batch = Batch { stamp: Timestamp::new(self.millis, 0), commands };
        let applied = self.machine.apply(&batch, &mut self.programs)?;
        assert_eq!(applied.replies.len(), batch.commands.len());
        assert!(self.machine.time() > before.time());
        let (mut sequence, mut chain) = (before.sequence(), before.digest());
        for transition in &applied.transitions {
            sequence = sequence.next();
            chain = digest::step(chain, transition);
            assert_eq!((transition.sequence, transition.digest), (sequence, chain));
            assert_eq!(transition.time, self.machine.time());
        }
        assert_eq!((self.machine.sequence(), self.machine.digest()), (sequence, chain));
        let view = self.machine.view();
        assert_eq!(view.timers(), self.system_records("timer/id/"));
        assert_eq!(view.timers(), self.system_records("timer/at/"));
        assert_eq!(view.sessions(), self.system_records("session/id/"));
        assert_eq!(view.sessions(), self.system_records("session/look/"));
        Ok(applied)
    }

    pub(crate) fn apply(&mut self, commands: Vec<Command>) -> Applied {
        self.try_apply(commands).unwrap()
    }

    /// A batch of one command.
    pub(crate) fn one(&mut self, command: Command) -> Reply {
        let mut applied = self.apply(vec![command]);
        applied.replies.remove(0)
    }

    /// Opens a session of [`ACTOR`].
    pub(crate) fn open(&mut self) -> SessionId {
        let receipt = done(&self.one(open(ACTOR)));
        SessionId(receipt.sequence.0)
    }

    /// Lets time pass until the wall clock says `millis`.
    pub(crate) fn pass(&mut self, millis: u64) -> Applied {
        self.millis = millis;
        self.apply(Vec::new())
    }

    pub(crate) fn value(&self, key: &str) -> Option<String> {
        let value = self.machine.view().get(key.as_bytes()).unwrap()?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    /// How many system records have keys that begin so.
    pub(crate) fn system_records(&self, prefix: &str) -> u64 {
        let all = self.machine.state().range(Keyspace::System, prefix.as_bytes(), None);
        all.take_while(|(key, _)| key.starts_with(prefix.as_bytes())).count() as u64
    }
}

pub(crate) fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn actor(id: &str) -> Actor {
    Actor { id: id.into(), roles: Vec::new() }
}

pub(crate) fn open(id: &str) -> Command {
    Command::OpenSession(OpenSession { actor: actor(id) })
}

pub(crate) fn activate(program: &ProgramManifest) -> Command {
    Command::Activate(Activation { actor: actor("founder"), program: program.clone() })
}

pub(crate) fn operation(session: SessionId, number: u64, steps: &[Step]) -> Operation {
    Operation {
        session,
        number: OperationNumber(number),
        acknowledged: OperationNumber(0),
        after: OperationNumber(0),
        actor: actor(ACTOR),
        payload: script(steps),
    }
}

/// An operation as a command.
pub(crate) fn submit(session: SessionId, number: u64, steps: &[Step]) -> Command {
    Command::Operation(operation(session, number, steps))
}

pub(crate) fn set(key: &str, value: &str) -> Step {
    Step::Set(b(key), b(value))
}

pub(crate) fn append(key: &str, value: &str) -> Step {
    Step::Append(b(key), b(value))
}

pub(crate) fn schedule(id: &str, millis: u64, steps: &[Step]) -> Step {
    Step::Schedule { id: b(id), at: Timestamp::new(millis, 0), script: script(steps) }
}

pub(crate) fn done(reply: &Reply) -> Receipt {
    match reply {
        Reply::Done(receipt) => receipt.clone(),
        other => panic!("not executed now: {other:?}"),
    }
}

/// The result of an operation that was executed now and accepted.
pub(crate) fn accepted(reply: &Reply) -> String {
    match done(reply).outcome {
        Outcome::Accepted { result } => String::from_utf8_lossy(&result).into_owned(),
        other => panic!("not accepted: {other:?}"),
    }
}

pub(crate) fn refusal(reply: &Reply) -> NotExecuted {
    match reply {
        Reply::NotExecuted(why) => why.clone(),
        other => panic!("executed: {other:?}"),
    }
}
