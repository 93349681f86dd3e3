//! Log entries: a community executes whatever stands in its log, the same way each time, and what it then is can be
//! cut and restored.

use super::pieces;
use althing_core::{
    actor::Actor,
    batch::{Activation, Batch, Command, OpenSession, Operation},
    codec,
    ids::{CommunityId, OperationNumber, SessionId},
    machine::Machine,
    policy::Policy,
    snapshot::{self, Chunk},
    state::State,
    testing::{self, ScriptedPrograms, Step, script},
    time::Timestamp,
    transition::{Transition, TrapKind},
};
use bytes::Bytes;
use std::sync::OnceLock;

/// When everything begins.
const START: u64 = 1_790_000_000_000;

pub(super) fn take(bytes: &[u8]) {
    let (mut one, mut other) = (lived(), lived());
    let (mut programs, mut others) = (ScriptedPrograms::default(), ScriptedPrograms::default());
    for piece in pieces::split(bytes) {
        let Ok(batch) = codec::decode::<Batch>(piece) else { continue };
        let before = (one.sequence(), one.digest());
        let applied = one.apply(&batch, &mut programs);
        let again = other.apply(&batch, &mut others);
        assert_eq!(applied.as_ref().ok(), again.as_ref().ok(), "one execution is as the other");
        if applied.is_err() {
            assert_eq!((one.sequence(), one.digest()), before, "a fault changes nothing");
        }
        assert_eq!((one.sequence(), one.digest()), (other.sequence(), other.digest()));
    }
    let restored = Machine::restore(cut_and_restored(one.state())).expect("what was cut is a community");
    assert_eq!((restored.sequence(), restored.digest()), (one.sequence(), one.digest()));
    assert_eq!(restored.next_timer(), one.next_timer());
}

/// A state, by way of its chunks.
pub(super) fn cut_and_restored(state: &State) -> State {
    let chunks: Vec<Chunk> = snapshot::chunks(state).collect();
    let references: Vec<_> = chunks.iter().map(Chunk::reference).collect();
    snapshot::restore(&references, chunks.iter().map(|chunk| &chunk.bytes)).expect("own chunks are good")
}

/// A community with a program, a session, some state and a timer.
pub(super) fn lived() -> Machine {
    static STATE: OnceLock<State> = OnceLock::new();
    let state = STATE.get_or_init(|| begun().0.state().clone());
    Machine::restore(state.clone()).expect("it was a community")
}

/// What happened to it.
pub(super) fn history() -> Vec<Transition> {
    begun().1
}

fn begun() -> (Machine, Vec<Transition>) {
    let mut machine = Machine::new(CommunityId(7), Policy::default());
    let mut programs = ScriptedPrograms::default();
    let mut history = Vec::new();
    for (place, batch) in beginning().iter().enumerate() {
        let applied = machine.apply(batch, &mut programs).expect("nothing is wrong here");
        assert_eq!(applied.transitions.len(), batch.commands.len(), "batch {place} is executed");
        history.extend(applied.transitions);
    }
    (machine, history)
}

/// The batches that a community begins with.
fn beginning() -> Vec<Batch> {
    let validators: [&[Step]; 1] = [&[Step::RejectIfSet("forbidden".into(), "forbidden".into())]];
    let program = testing::manifest("1.0", &[Step::Set("made".into(), "now".into())], &validators);
    let later = script(&[Step::Append("rung".into(), "x".into())]);
    let at = Timestamp::new(START + 60_000, 0);
    vec![
        batch(0, vec![Command::Activate(Activation { actor: ann(), program })]),
        batch(1, vec![Command::OpenSession(OpenSession { actor: ann() })]),
        batch(2, vec![operation(1, &[Step::Set("key".into(), "value".into()), Step::Answer("yes".into())])]),
        batch(3, vec![operation(2, &[Step::Schedule { id: "bell".into(), at, script: later }])]),
    ]
}

fn batch(after_millis: u64, commands: Vec<Command>) -> Batch {
    Batch { stamp: Timestamp::new(START + after_millis, 0), commands }
}

fn ann() -> Actor {
    Actor { id: "ann".into(), roles: vec!["chair".into()] }
}

fn operation(number: u64, steps: &[Step]) -> Command {
    Command::Operation(Operation {
        // The session's id is the sequence at which it was opened.
        session: SessionId(2),
        number: OperationNumber(number),
        acknowledged: OperationNumber(0),
        after: OperationNumber(0),
        actor: ann(),
        payload: script(steps),
    })
}

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let row = |batches: Vec<Batch>| pieces::join(&batches.iter().map(codec::encode).collect::<Vec<_>>());
    let steps = [
        Step::Delete("key".into()),
        Step::Emit("event".into(), Bytes::from_static(b"{}")),
        Step::Cancel("bell".into()),
        Step::AnswerWith("made".into()),
        Step::Burn(1000),
    ];
    let forbidden = [Step::Set("forbidden".into(), Bytes::new())];
    let again = testing::manifest("2.0", &[Step::Append("made".into(), "again".into())], &[]);
    let policy = Box::new(Policy::default());
    vec![
        ("operations", row(vec![batch(9, vec![operation(3, &steps), operation(4, &forbidden)])])),
        ("repeated", row(vec![batch(9, vec![operation(2, &[]), operation(1, &[]), operation(9, &[])])])),
        ("trap", row(vec![batch(9, vec![operation(3, &[Step::Trap(TrapKind::OutOfFuel, "t".into())])])])),
        ("timer", row(vec![batch(60_001, vec![]), batch(1 << 40, vec![operation(3, &steps)])])),
        (
            "upgrade",
            row(vec![batch(9, vec![Command::Activate(Activation { actor: ann(), program: again })])]),
        ),
        (
            "policy",
            row(vec![batch(9, vec![Command::SetPolicy(policy)]), batch(10, vec![operation(3, &steps)])]),
        ),
        ("beginning", row(beginning())),
    ]
}
