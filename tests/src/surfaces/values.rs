//! What a guest hands over and returns, by the canonical ABI: a guest that does as the bytes say calls the host with any
//! numbers for pointers and lengths, and returns any. That is its own affair: an outcome, never a fault, and the
//! same every time.

use super::pieces;
use althing_core::{
    actor::Actor,
    batch::{Activation, Batch, Command, OpenSession, Operation, ProgramManifest},
    ids::{CommunityId, Hash, OperationNumber, SessionId},
    machine::{Applied, Machine},
    policy::Policy,
    program::{Fault, Program, Programs},
    state::State,
    time::Timestamp,
    transition::Transition,
};
use althing_engine::{Engine, EngineOptions, thread::on_guest_thread};
use bytes::Bytes;
use std::{path::Path, sync::OnceLock};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const START: u64 = 1_790_000_000_000;
/// Where the payload of an operation of `ann` begins, in the guest's memory.
const PAYLOAD_AT: u32 = 65_544;

pub(super) fn take(bytes: &[u8]) {
    on_guest_thread(|| {
        let (one, other) = (executed(bytes), executed(bytes));
        assert_eq!(one, other, "one execution is as the other");
    });
}

/// What became of the pieces, each an operation, and of the timers that they set.
fn executed(bytes: &[u8]) -> (Vec<Applied>, Hash) {
    let mut machine = lived();
    let mut programs = programs();
    let mut applied = Vec::new();
    let operations = pieces::split(bytes).zip(1..);
    let mut commands =
        operations.map(|(piece, number)| operation(number, Bytes::copy_from_slice(piece))).collect();
    for after in [2, 1_000, 1 << 40] {
        let batch =
            Batch { stamp: Timestamp::new(START + after, 0), commands: std::mem::take(&mut commands) };
        applied.push(machine.apply(&batch, &mut programs).expect("a guest's doing is no fault of the host"));
    }
    let ended = machine.digest();
    (applied, ended)
}

/// An operation of the community's only session.
pub(super) fn operation(number: u64, payload: Bytes) -> Command {
    Command::Operation(Operation {
        session: SessionId(2),
        number: OperationNumber(number),
        acknowledged: OperationNumber(0),
        after: OperationNumber(0),
        actor: ann(),
        payload,
    })
}

/// A community that runs the guest, with a session.
pub(super) fn lived() -> Machine {
    Machine::restore(begun().0.clone()).expect("it was a community")
}

/// What happened to it.
pub(super) fn history() -> Vec<Transition> {
    begun().1.clone()
}

fn begun() -> &'static (State, Vec<Transition>) {
    static BEGUN: OnceLock<(State, Vec<Transition>)> = OnceLock::new();
    BEGUN.get_or_init(|| {
        let mut machine = Machine::new(CommunityId(7), Policy::default());
        let program = ProgramManifest {
            reducer: Hash::of_component(&component()),
            validators: Vec::new(),
            config: Bytes::new(),
            name: "values".into(),
            version: "1.0".into(),
        };
        let commands = vec![
            Command::Activate(Activation { actor: ann(), program }),
            Command::OpenSession(OpenSession { actor: ann() }),
        ];
        let batch = Batch { stamp: Timestamp::new(START, 0), commands };
        let applied = machine.apply(&batch, &mut programs()).expect("nothing is wrong here");
        assert_eq!(applied.transitions.len(), 2, "{applied:?}");
        assert!(machine.program_manifest().is_some(), "{applied:?}");
        (machine.state().clone(), applied.transitions)
    })
}

fn ann() -> Actor {
    Actor { id: "ann".into(), roles: Vec::new() }
}

/// Programs from the engine, as a node has them.
struct Wasm(Engine);

/// What runs the guest.
pub(super) fn programs() -> impl Programs {
    Wasm(engine())
}

impl Programs for Wasm {
    fn load(&mut self, manifest: &ProgramManifest) -> Result<Box<dyn Program>, Fault> {
        Ok(Box::new(self.0.load(manifest)?))
    }
}

pub(super) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let made = || {
        let engine = Engine::new(EngineOptions::default()).expect("the engine runs on this machine");
        let component = component();
        engine.prepare(Hash::of_component(&component), &component).expect("it is a good one");
        engine
    };
    ENGINE.get_or_init(made).clone()
}

/// The guest.
pub(super) fn component() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = resolve.push_dir(&wit).expect("wit/ is valid");
    let world = resolve.select_world(&[package], Some("reducer")).expect("the world is there");
    let mut module = wat::parse_str(include_str!("values.wat")).unwrap_or_else(|error| panic!("{error}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata fits");
    let encoder = ComponentEncoder::default().module(&module).expect("the module is of the world");
    encoder.validate(true).encode().expect("the component encodes")
}

/// A payload: calls, then what is returned, which lies in the payload itself.
fn payload(calls: &[(u8, [u32; 6])], returned: [u32; 5]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (which, numbers) in calls {
        bytes.extend([*which, 0, 0, 0]);
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
    let at = PAYLOAD_AT + bytes.len() as u32 + 4;
    bytes.extend(at.to_le_bytes());
    bytes.extend(returned.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

/// A payload that makes every call once.
pub(super) fn calls() -> Vec<u8> {
    payload(&CALLS, ACCEPTED)
}

/// Some texts of the guest's own: "values", "1.0".
const VALUES: [u32; 2] = [512, 6];
const VERSION: [u32; 2] = [518, 3];
/// Every call, with arguments that are in order.
const CALLS: [(u8, [u32; 6]); 8] = {
    let ([at, len], [other, other_len]) = (VALUES, VERSION);
    [
        (1, [at, len, other, other_len, 0, 0]),
        (0, [at, len, 2048, 0, 0, 0]),
        (3, [at, len, 0, 0, 0, 9]),
        (4, [at, len, other, other_len, 0, 0]),
        (5, [at, len, 77, 0, at, len]),
        (6, [at, len, 0, 0, 0, 0]),
        (7, [1, at, len, 0, 0, 0]),
        (2, [at, len, 0, 0, 0, 0]),
    ]
};
/// An acceptance with a result.
const ACCEPTED: [u32; 5] = [0, VALUES[0], VALUES[1], 0, 0];

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (calls, accepted) = (CALLS, ACCEPTED);
    let ([at, len], [other, other_len]) = (VALUES, VERSION);
    let rejected = [1, at, len, other, other_len];
    let wild = [(0, [u32::MAX, 9, 2048, 0, 0, 0])];
    let row = |payloads: &[Vec<u8>]| pieces::join(payloads);
    vec![
        ("calls", row(&[payload(&calls, accepted), payload(&calls[..1], accepted)])),
        ("rejected", row(&[payload(&calls[..1], rejected), payload(&calls[1..2], accepted)])),
        ("timer", row(&[payload(&calls[4..5], accepted)])),
        ("out-of-bounds", row(&[payload(&wild, accepted), payload(&calls, accepted)])),
        ("no-such-case", row(&[payload(&[], [9, at, len, 0, 0])])),
        ("long", row(&[payload(&[], [0, 0, 1 << 20, 0, 0]), payload(&[], [0, 9, u32::MAX, 0, 0])])),
        ("nothing", row(&[Vec::new()])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_core::transition::Outcome;

    #[test]
    fn the_guest_does_as_it_is_told() {
        let (_, seed) = seeds().swap_remove(0);
        let (applied, _) = on_guest_thread(|| executed(&seed));
        let transition = &applied[0].transitions[0];
        assert!(
            matches!(&transition.outcome, Outcome::Accepted { result, .. } if result == "values"),
            "{transition:?}"
        );
        assert_eq!((transition.events.len(), transition.writes.len()), (1, 1), "{transition:?}");
    }
}
