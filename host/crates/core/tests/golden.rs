//! Golden vectors: a published format is never edited, only joined by another (promise P10).
//!
//! `golden/vectors.txt` holds a line for each: a name and bytes in hexadecimal. A test that needs a
//! line that is not there fails and prints it: add it, once, with the format it belongs to. A line
//! that is there is never changed: a test that fails because of one has found that this build cannot
//! read what an earlier one wrote.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use althing_core::{
    actor::Actor,
    batch::{Activation, Batch, Command, OpenSession, Operation, ProgramManifest, ValidatorManifest},
    codec, digest,
    ids::{CommunityId, Hash, OperationNumber, Sequence, SessionId},
    machine::Machine,
    origin::Origin,
    overlay::TimerSet,
    policy::{Policy, Quotas, RetentionPolicy, SessionPolicy},
    portable::{End, Header, Kind},
    segment::{Segment, SegmentHeader, SegmentWriter, Tail},
    snapshot::{ChunkRef, Manifest, chunks, read_chunk, restore, state_root},
    testing::{ScriptedPrograms, Step, manifest, script},
    time::Timestamp,
    transition::{Cause, Event, Outcome, Receipt, Rejection, TimerChange, Transition, Trap, TrapKind, Write},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

const VECTORS: &str = include_str!("golden/vectors.txt");

/// The bytes of a vector.
#[track_caller]
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let mut lines = VECTORS.lines().filter_map(|line| line.split_once(' '));
    let Some((_, hexadecimal)) = lines.find(|(line, _)| *line == name) else {
        panic!("no vector; if the format is new, add this line:\n{name} {}", hex::encode(now));
    };
    hex::decode(hexadecimal).unwrap()
}

#[track_caller]
fn check_bytes(name: &str, now: &[u8]) {
    assert_eq!(hex::encode(now), hex::encode(golden(name, now)), "{name}");
}

/// A value's record is the vector, and the vector's value is the value.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + Debug + PartialEq>(name: &str, value: &T) {
    let now = codec::encode(value);
    check_bytes(name, &now);
    assert_eq!(&codec::decode::<T>(&golden(name, &now)).unwrap(), value, "{name}");
}

fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn actor() -> Actor {
    Actor { id: "ada".into(), roles: vec!["judge".into(), "scribe".into()] }
}

/// Not the default, which may change: every number another.
fn policy() -> Policy {
    Policy {
        quotas: Quotas {
            operation_fuel: 1_000_001,
            batch_fuel: 9_000_002,
            memory_bytes: 70_003,
            payload_bytes: 10_004,
            result_bytes: 10_005,
            key_bytes: 106,
            value_bytes: 10_007,
            writes: 108,
            write_bytes: 10_009,
            events: 110,
            event_bytes: 10_011,
            timer_changes: 112,
            timers: 113,
            state_bytes: 1_000_014,
        },
        sessions: SessionPolicy { ttl_millis: 10_015, open: 116, window: 117 },
        retention: RetentionPolicy {
            snapshot_transitions: 118,
            snapshot_wal_bytes: 70_019,
            snapshots: 12,
            transitions: 121,
            snapshot_age_millis: 122,
        },
    }
}

fn program() -> ProgramManifest {
    ProgramManifest {
        reducer: Hash([1; 32]),
        validators: vec![ValidatorManifest { component: Hash([2; 32]), config: b("limit") }],
        config: b("config"),
        name: "ledger".into(),
        version: "1.2.3".into(),
    }
}

fn operation() -> Operation {
    Operation {
        session: SessionId(300),
        number: OperationNumber(17),
        acknowledged: OperationNumber(15),
        after: OperationNumber(16),
        actor: actor(),
        payload: b("payload"),
    }
}

fn time() -> Timestamp {
    Timestamp::new(1_800_000_000_123, 4)
}

fn transition(cause: Cause, outcome: Outcome) -> Transition {
    let set = TimerSet { at: time(), payload: b("wake") };
    Transition {
        sequence: Sequence(1000),
        time: time(),
        cause,
        outcome,
        writes: vec![Write { key: b("k"), value: Some(b("v")) }, Write { key: b("l"), value: None }],
        events: vec![Event { name: "paid".into(), data: b("{}") }],
        timers: vec![TimerChange { id: b("s"), set: Some(set) }, TimerChange { id: b("t"), set: None }],
        fuel: 123_456,
        digest: Hash([7; 32]),
    }
}

fn origin() -> Origin {
    let (digest, seal) = (Hash([4; 32]), Hash([5; 32]));
    let (cluster, name) = ("00ff".into(), "guild".into());
    Origin { cluster, community: CommunityId(3), name, sequence: Sequence(999), digest, seal }
}

fn causes() -> [(&'static str, Cause); 6] {
    let Operation { session, number, actor, payload, .. } = operation();
    [
        ("operation", Cause::Operation { session, number, actor: actor.clone(), payload: payload.clone() }),
        ("timer", Cause::Timer { id: b("t"), payload }),
        ("open-session", Cause::OpenSession { actor: actor.clone() }),
        ("activate", Cause::Activate { actor, program: Hash([3; 32]) }),
        ("set-policy", Cause::SetPolicy),
        ("import", Cause::Import(origin())),
    ]
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let rejection = |validator| Rejection { code: "no".into(), message: "because".into(), validator };
    let trap = |kind: TrapKind| Outcome::Trapped(Trap { kind, message: "m".into(), validator: Some(2) });
    vec![
        ("accepted", Outcome::Accepted { result: b("result") }),
        ("rejected", Outcome::Rejected(rejection(None))),
        ("rejected-by-validator", Outcome::Rejected(rejection(Some(1)))),
        ("out-of-fuel", trap(TrapKind::OutOfFuel)),
        ("too-deep", trap(TrapKind::TooDeep)),
        ("out-of-memory", trap(TrapKind::OutOfMemory)),
        ("quota", trap(TrapKind::Quota)),
        ("misuse", trap(TrapKind::Misuse)),
        ("wasm", trap(TrapKind::Wasm)),
    ]
}

#[test]
fn batches_and_commands_keep_their_encoding() {
    let commands = [
        ("operation", Command::Operation(operation())),
        ("open-session", Command::OpenSession(OpenSession { actor: actor() })),
        ("activate", Command::Activate(Activation { actor: actor(), program: program() })),
        ("set-policy", Command::SetPolicy(Box::new(policy()))),
    ];
    for (name, command) in &commands {
        check(&format!("command/{name}"), command);
    }
    let commands = commands.map(|(_, command)| command).to_vec();
    check("batch", &Batch { stamp: time(), commands });
    check("batch/empty", &Batch { stamp: Timestamp::MAX, commands: Vec::new() });
}

#[test]
fn policies_and_programs_keep_their_encoding_and_their_names() {
    check("policy", &policy());
    check_bytes("policy/hash", &policy().hash().0);
    check("program", &program());
    check_bytes("program/hash", &program().hash().0);
    check_bytes("component/hash", &Hash::of_component(b"component").0);
}

#[test]
fn transitions_and_receipts_keep_their_encoding() {
    let accepted = Outcome::Accepted { result: b("result") };
    for (name, cause) in causes() {
        check(&format!("transition/{name}"), &transition(cause, accepted.clone()));
    }
    for (name, outcome) in outcomes() {
        let (sequence, digest) = (Sequence(1000), Hash([7; 32]));
        let receipt = Receipt { sequence, time: time(), outcome, fuel: 123_456, digest };
        check(&format!("receipt/{name}"), &receipt);
    }
}

#[test]
fn digests_keep_their_steps() {
    let start = digest::start(CommunityId(7));
    check_bytes("digest/start", &start.0);
    let [(_, cause), ..] = causes();
    let step = digest::step(start, &transition(cause, Outcome::Accepted { result: b("result") }));
    check_bytes("digest/step", &step.0);
}

#[test]
fn manifests_keep_their_encoding() {
    let chunks =
        vec![ChunkRef { hash: Hash([5; 32]), bytes: 70_000 }, ChunkRef { hash: Hash([6; 32]), bytes: 9 }];
    check_bytes("state-root", &state_root(&chunks).0);
    let manifest = Manifest {
        community: CommunityId(7),
        sequence: Sequence(1000),
        log_index: 400,
        log_id: b("log-id"),
        membership: b("membership"),
        program: Some(program()),
        fingerprint: Some(Hash([8; 32])),
        digest: Hash([7; 32]),
        time: time(),
        state_root: state_root(&chunks),
        chunks,
    };
    let now = manifest.encode();
    check_bytes("manifest", &now);
    assert_eq!(Manifest::decode(&golden("manifest", &now)).unwrap(), manifest);
}

/// A community with one record of each kind.
fn machine() -> Machine {
    let mut programs = ScriptedPrograms::default();
    let mut machine = Machine::new(CommunityId(7), policy());
    let steps = [
        Step::Set(b("key"), b("value")),
        Step::Schedule {
            id: b("timer"),
            at: time().plus_millis(5),
            script: script(&[Step::Answer(b("late"))]),
        },
        Step::Answer(b("result")),
    ];
    let operation = Operation {
        session: SessionId(2),
        number: OperationNumber(1),
        acknowledged: OperationNumber(0),
        after: OperationNumber(0),
        actor: actor(),
        payload: script(&steps),
    };
    let commands = vec![
        Command::Activate(Activation { actor: actor(), program: manifest("1", &[], &[]) }),
        Command::OpenSession(OpenSession { actor: actor() }),
        Command::Operation(operation),
    ];
    machine.apply(&Batch { stamp: time(), commands }, &mut programs).unwrap();
    machine
}

#[test]
fn the_systems_records_keep_their_keys_and_their_encoding() {
    let machine = machine();
    let kinds = [
        "header",
        "policy",
        "program",
        "program/at/",
        "session/answer/",
        "session/id/",
        "session/look/",
        "timer/at/",
        "timer/id/",
    ];
    let mut pairs = machine.state().stored_pairs();
    for kind in kinds {
        let (key, value) = pairs.next().unwrap();
        assert!(key[1..].starts_with(kind.as_bytes()), "{kind}: {key:?}");
        let record = [key, b"=".as_slice(), value].concat();
        check_bytes(&format!("record/{}", kind.trim_end_matches('/')), &record);
    }
    assert_eq!(pairs.count(), 1, "the program's own");
    check_bytes("record/digest", &machine.digest().0);
}

#[test]
fn parts_of_exports_keep_their_encoding_and_their_kinds() {
    let header = Header {
        name: "counter".into(),
        community: CommunityId(7),
        cluster: "00ff".into(),
        fingerprint: Hash([3; 32]),
        listing: "a = 1\n".into(),
        version: "0.1.0".into(),
    };
    check("export-header", &header);
    let end = End {
        sequence: Sequence(300),
        digest: Hash([4; 32]),
        log_index: 400,
        entries: 5,
        transitions: 6,
        components: 7,
        chunks: 8,
    };
    check("export-end", &end);
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.text()).collect();
    check_bytes("export-kinds", kinds.join(" ").as_bytes());
}

#[test]
fn chunks_keep_their_encoding_and_their_boundaries() {
    let machine = machine();
    let chunk = chunks(machine.state()).next().unwrap();
    check_bytes("chunk", &chunk.bytes);
    check_bytes("chunk/hash", &chunk.hash.0);
    let old = golden("chunk", &chunk.bytes);
    assert_eq!(&restore(&[chunk.reference()], [&old]).unwrap(), machine.state());

    let mut state = machine.state().clone();
    for number in 0..2000u32 {
        let value = vec![number as u8; (number % 500) as usize];
        state.put(althing_core::state::Keyspace::Program, &number.to_be_bytes(), Some(value.into()));
    }
    let all: Vec<_> = chunks(&state).collect();
    let counts: Vec<u8> =
        all.iter().flat_map(|chunk| (read_chunk(&chunk.bytes).unwrap().len() as u16).to_be_bytes()).collect();
    check_bytes("chunk/pairs-of-each", &counts);
    let references: Vec<_> = all.iter().map(|chunk| chunk.reference()).collect();
    check_bytes("chunk/root-of-many", &state_root(&references).0);
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_name() {
    let mut record = codec::encode(&operation());
    record[0] = 2;
    let error = codec::decode::<Operation>(&record).unwrap_err();
    assert_eq!(error, codec::DecodeError::Newer { found: 2 });
    assert_eq!(codec::decode::<Operation>(&[]), Err(codec::DecodeError::Empty));
    record[0] = 1;
    record.push(0);
    assert!(matches!(codec::decode::<Operation>(&record), Err(codec::DecodeError::Damaged(_))));
}

#[test]
fn segments_of_archived_history() {
    let mut first = Transition {
        sequence: Sequence(1000),
        ..transition(Cause::SetPolicy, Outcome::Accepted { result: b("result") })
    };
    first.digest = digest::step(Hash([5; 32]), &first);
    let mut second = Transition { sequence: Sequence(1001), ..first.clone() };
    second.digest = digest::step(first.digest, &second);
    let header = SegmentHeader {
        cluster: "ab".repeat(16),
        community: CommunityId(7),
        name: "guild".into(),
        first: Sequence(1000),
        before: Some(Hash([5; 32])),
        previous: Some(Tail { last: Sequence(990), digest: Hash([4; 32]), seal: Hash([6; 32]) }),
        missing: 9,
    };
    let mut writer = SegmentWriter::new(&header);
    let transitions = vec![first, second];
    transitions.iter().for_each(|transition| writer.add(transition.clone()).unwrap());
    let finished = writer.finish().unwrap();
    check_bytes("segment", &finished.bytes);
    let read = Segment::read(&golden("segment", &finished.bytes)).unwrap();
    assert_eq!(read, Segment { header, transitions, tail: finished.tail });
}
