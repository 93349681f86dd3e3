//! What a guest sees and what comes of it.

use crate::support::*;
use althing_core::{
    overlay::{Access, Overlay},
    policy::Quotas,
    program::{Call, End, Program},
    state::State,
    transition::TrapKind,
};
use althing_engine::{Scope, thread::on_guest_thread};
use bytes::Bytes;

#[test]
fn a_reducer_gets_its_operation_and_its_result_comes_back() {
    let mut program = load(&engine(), &Reducer::default());
    assert_eq!(program.scope(), Scope::PerOperation);
    let run = reduce(&mut program, b"hello");
    assert_eq!(accepted(&run), b"hello");
    assert!(run.fuel > 20_000, "an instance and some instructions: {}", run.fuel);
}

#[test]
fn writes_events_and_timers_are_in_the_overlay_afterwards() {
    let body = "
        (call $set (local.get $op) (local.get $op_len) (i32.const 512) (i32.const 5))
        (call $emit (local.get $op) (local.get $op_len) (i32.const 517) (i32.const 3))
        (call $schedule (local.get $op) (local.get $op_len) (i64.const 99) (i32.const 4) (i32.const 512) (i32.const 5))
        (call $ok (local.get $op) (i32.const 0))";
    let run = reduce(&mut load(&engine(), &Reducer::reduce(body)), b"key");
    let written = run.overlay.into_written();
    assert_eq!(written.writes[0].key, "key");
    assert_eq!(written.writes[0].value.as_deref(), Some(&b"guest"[..]));
    assert_eq!((written.events[0].name.as_str(), &written.events[0].data[..]), ("key", &b"1.0"[..]));
    let timer = written.timers[0].set.as_ref().expect("a timer is set");
    assert_eq!((&written.timers[0].id[..], timer.at.millis(), timer.at.counter()), (&b"key"[..], 99, 4));
}

#[test]
fn a_reducer_reads_the_state_and_its_own_writes() {
    // get(op) into 3000; answer with the value, or reject without one.
    let body = "
        (call $get (local.get $op) (local.get $op_len) (i32.const 3000))
        (if (i32.eqz (i32.load8_u (i32.const 3000))) (then (return (call $reject))))
        (call $ok (i32.load (i32.const 3004)) (i32.load (i32.const 3008)))";
    let mut program = load(&engine(), &Reducer::reduce(body));
    let run = reduce_over(&mut program, state(&[("k", "value")]), b"k", FUEL).unwrap();
    assert_eq!(accepted(&run), b"value");
    let run = reduce(&mut program, b"k");
    let End::Reject(rejection) = &run.end else { panic!("a rejection was expected, not {run:?}") };
    assert_eq!((rejection.code.as_str(), rejection.validator), ("no-such-thing", None));
}

#[test]
fn an_instance_per_operation_forgets_and_one_per_batch_remembers_until_the_batch_ends() {
    let counting = Reducer {
        items: "(global $n (mut i32) (i32.const 48))".into(),
        ..Reducer::reduce(
            "(global.set $n (i32.add (global.get $n) (i32.const 1)))
             (i32.store8 (i32.const 3000) (global.get $n))
             (call $ok (i32.const 3000) (i32.const 1))",
        )
    };
    let engine = engine();
    let mut fresh = load(&engine, &counting);
    assert_eq!(accepted(&reduce(&mut fresh, b"")), b"1");
    assert_eq!(accepted(&reduce(&mut fresh, b"")), b"1");
    let mut kept = load(&engine, &counting.per_batch());
    assert_eq!(kept.scope(), Scope::PerBatch);
    kept.begin_batch();
    assert_eq!(accepted(&reduce(&mut kept, b"")), b"1");
    assert_eq!(accepted(&reduce(&mut kept, b"")), b"2");
    kept.begin_batch();
    assert_eq!(accepted(&reduce(&mut kept, b"")), b"1");
}

#[test]
fn a_trap_discards_the_instance_of_a_batch_and_a_rejection_keeps_it() {
    let counting = Reducer {
        items: "(global $n (mut i32) (i32.const 48))".into(),
        ..Reducer::reduce(
            "(global.set $n (i32.add (global.get $n) (i32.const 1)))
             (if (i32.eq (local.get $op_len) (i32.const 1)) (then (return (call $reject))))
             (if (i32.eq (local.get $op_len) (i32.const 2)) (then unreachable))
             (i32.store8 (i32.const 3000) (global.get $n))
             (call $ok (i32.const 3000) (i32.const 1))",
        )
    };
    let mut program = load(&engine(), &counting.per_batch());
    program.begin_batch();
    assert!(matches!(reduce(&mut program, b"1").end, End::Reject(_)));
    assert_eq!(accepted(&reduce(&mut program, b"")), b"2", "a rejection keeps the instance");
    assert_eq!(trap(&reduce(&mut program, b"22")).kind, TrapKind::Wasm);
    assert_eq!(accepted(&reduce(&mut program, b"")), b"1", "a trap discards it");
}

#[test]
fn migrate_runs_where_it_is_exported_and_is_accepted_where_it_is_not() {
    let engine = engine();
    let call = || Call::Migrate { from_version: "0.9".into(), config: Bytes::from_static(b"config") };
    let run = |reducer: &Reducer| {
        let mut program = load(&engine, reducer);
        let overlay = Overlay::new(State::default(), quotas(), Access::Write);
        on_guest_thread(|| program.run(&context(1), call(), overlay, FUEL)).unwrap()
    };
    let with = run(&Reducer { migrates: true, ..Reducer::default() });
    assert_eq!(accepted(&with), b"");
    let written = with.overlay.into_written().writes;
    assert_eq!((&written[0].key[..], written[0].value.as_deref()), (&b"0.9"[..], Some(&b"config"[..])));
    let without = run(&Reducer::default());
    assert_eq!((accepted(&without), without.fuel), (&b""[..], 0));
}

#[test]
fn init_and_timers_run() {
    let reducer = Reducer { on_timer: "(call $reject)".into(), ..Reducer::default() };
    let mut program = load(&engine(), &reducer);
    let mut run = |call| {
        let overlay = Overlay::new(State::default(), quotas(), Access::Write);
        on_guest_thread(|| program.run(&context(1), call, overlay, FUEL)).unwrap().end
    };
    assert_eq!(run(Call::Init { config: Bytes::new() }), End::Accept(Bytes::new()));
    let timer = Call::Timer { id: Bytes::from_static(b"t"), payload: Bytes::new() };
    assert!(matches!(run(timer), End::Reject(_)));
}

#[test]
fn a_result_beyond_the_quota_is_a_trap_that_names_it() {
    let mut program = load(&engine(), &Reducer::default());
    let quotas = Quotas { result_bytes: 4, ..quotas() };
    let overlay = Overlay::new(State::default(), quotas, Access::Write);
    let call = Call::Reduce { payload: Bytes::from_static(b"hello") };
    let run = on_guest_thread(|| program.run(&context(1), call, overlay, FUEL)).unwrap();
    assert_eq!(
        (trap(&run).kind, trap(&run).message.as_str()),
        (TrapKind::Quota, "quota result_bytes: 5 asked, 4 allowed")
    );
}

#[test]
fn a_guest_on_a_small_thread_is_a_fault_and_not_an_accident() {
    let mut program = load(&engine(), &Reducer::default());
    let overlay = Overlay::new(State::default(), quotas(), Access::Write);
    let call = Call::Reduce { payload: Bytes::new() };
    let fault = program.run(&context(1), call, overlay, FUEL).unwrap_err();
    assert!(fault.what.contains("small stack"), "{fault}");
}
