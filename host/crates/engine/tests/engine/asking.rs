//! Queries and validators: those who may look and not touch.

use crate::support::*;
use althing_core::{
    overlay::{Access, Overlay},
    program::{Call, Change, End, Program},
    transition::{Event, TrapKind, Write},
};
use althing_engine::{
    QueryEnd,
    thread::{on_guest_thread, spawn_guest_thread},
};
use bytes::Bytes;

const ANSWER: &str = "
    (call $get (local.get $op) (local.get $op_len) (i32.const 3000))
    (if (i32.eqz (i32.load8_u (i32.const 3000))) (then (return (call $reject))))
    (call $ok (i32.load (i32.const 3004)) (i32.load (i32.const 3008)))";

#[test]
fn queries_answer_from_the_state_beside_each_other() {
    let engine = engine();
    let reducer = Reducer { query: ANSWER.into(), ..Reducer::default() };
    let hash = prepare(&engine, &reducer.component()).unwrap();
    let program = engine.load_query(&manifest(hash, &[])).unwrap();
    let asked: Vec<_> = (0..4)
        .map(|n| {
            let program = program.clone();
            let ask = move || {
                let overlay = Overlay::new(state(&[("k", "value")]), quotas(), Access::Write);
                program.query(&context(n), b"k", overlay, FUEL).unwrap()
            };
            spawn_guest_thread("query", ask).unwrap()
        })
        .collect();
    let ends: Vec<QueryEnd> = asked.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ends[0].end, End::Accept(Bytes::from_static(b"value")));
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
}

#[test]
fn a_query_that_writes_is_misuse() {
    for call in [
        "(call $set (i32.const 512) (i32.const 1) (i32.const 512) (i32.const 1))",
        "(call $delete (i32.const 512) (i32.const 1))",
        "(call $emit (i32.const 512) (i32.const 1) (i32.const 512) (i32.const 1))",
        "(call $schedule (i32.const 512) (i32.const 1) (i64.const 1) (i32.const 1) (i32.const 512) (i32.const 1))",
    ] {
        let engine = engine();
        let reducer = Reducer { query: format!("{call} (call $done)"), ..Reducer::default() };
        let hash = prepare(&engine, &reducer.component()).unwrap();
        let program = engine.load_query(&manifest(hash, &[])).unwrap();
        let overlay = Overlay::new(state(&[]), quotas(), Access::Write);
        let end = on_guest_thread(|| program.query(&context(1), b"k", overlay, FUEL)).unwrap().end;
        let End::Trap(trap) = end else { panic!("{end:?}") };
        assert_eq!(trap.kind, TrapKind::Misuse);
    }
}

#[test]
fn a_query_without_end_fails_alone() {
    let engine = engine();
    let reducer = Reducer { query: "(loop (br 0)) (unreachable)".into(), ..Reducer::default() };
    let hash = prepare(&engine, &reducer.component()).unwrap();
    let program = engine.load_query(&manifest(hash, &[])).unwrap();
    let overlay = Overlay::new(state(&[]), quotas(), Access::Read);
    let end = on_guest_thread(|| program.query(&context(1), b"k", overlay, 1_000_000)).unwrap();
    assert!(matches!(&end.end, End::Trap(trap) if trap.kind == TrapKind::OutOfFuel), "{end:?}");
}

/// Validates a change of `k` from "old" to "new" with a validator.
fn validate(body: &str) -> (End, u64) {
    let engine = engine();
    let reducer = prepare(&engine, &Reducer::default().component()).expect("the host has no fault");
    let validator = prepare(&engine, &validator(body)).expect("the host has no fault");
    let mut program = engine.load(&manifest(reducer, &[validator])).expect("the host has no fault");
    assert_eq!(program.validators(), 1);
    let mut overlay = Overlay::new(state(&[("k", "old")]), quotas(), Access::Write);
    overlay.set(b"k", b"new").expect("the host has no fault");
    let change = Change {
        result: Bytes::from_static(b"result"),
        writes: vec![Write { key: Bytes::from_static(b"k"), value: Some(Bytes::from_static(b"new")) }],
        events: vec![Event { name: "changed".into(), data: Bytes::from_static(b"data") }],
    };
    let call = Call::Validate { validator: 0, payload: Bytes::from_static(b"payload"), change };
    let run = on_guest_thread(|| program.run(&context(1), call, overlay.read_only(), FUEL))
        .expect("the host has no fault");
    (run.end, run.fuel)
}

/// Answers with a rejection unless the value at 3000 begins with this letter.
fn unless(letter: u8) -> String {
    format!(
        "(if (i32.ne (i32.load8_u (i32.load (i32.const 3004))) (i32.const {letter})) (then (return (call $reject))))"
    )
}

#[test]
fn a_validator_sees_the_state_before_and_after() {
    let body = format!(
        "(i32.store8 (i32.const 700) (i32.const 107))
         (call $get (i32.const 700) (i32.const 1) (i32.const 3000)) {}
         (call $get_before (i32.const 700) (i32.const 1) (i32.const 3000)) {} (call $done)",
        unless(b'n'),
        unless(b'o'),
    );
    assert_eq!(validate(&body).0, End::Accept(Bytes::new()));
}

#[test]
fn a_validator_sees_the_operation_its_configuration_and_the_change() {
    // Arguments lie in memory: context (64 bytes), config, operation, outcome, writes, events.
    let letter = |at: u32, letter: u8| {
        format!(
            "(if (i32.ne (i32.load8_u (i32.load (i32.add (local.get $args) (i32.const {at})))) (i32.const {letter}))
               (then (return (call $reject))))"
        )
    };
    let body = format!("{}{}{}(call $done)", letter(64, b'l'), letter(72, b'p'), letter(80, b'r'));
    assert_eq!(validate(&body).0, End::Accept(Bytes::new()));
}

#[test]
fn a_validators_refusal_and_trap_name_the_validator() {
    let (End::Reject(rejection), fuel) = validate("(call $reject)") else { panic!("it refuses") };
    assert_eq!((rejection.code.as_str(), rejection.validator), ("not-allowed", Some(0)));
    assert!(fuel > 0);
    let (End::Trap(trap), _) = validate("unreachable") else { panic!("it traps") };
    assert_eq!((trap.kind, trap.validator), (TrapKind::Wasm, Some(0)));
}

#[test]
fn a_validator_that_writes_is_misuse() {
    let (End::Trap(trap), _) =
        validate("(call $set (i32.const 512) (i32.const 1) (i32.const 512) (i32.const 1)) (call $done)")
    else {
        panic!("it traps")
    };
    assert_eq!((trap.kind, trap.validator), (TrapKind::Misuse, Some(0)));
}

#[test]
fn components_in_the_wrong_place_are_faults_to_load() {
    let engine = engine();
    let reducer = prepare(&engine, &Reducer::default().component()).unwrap();
    let validator = prepare(&engine, &validator("(call $done)")).unwrap();
    assert!(engine.load(&manifest(validator, &[])).is_err());
    assert!(engine.load(&manifest(reducer, &[reducer])).is_err());
}
