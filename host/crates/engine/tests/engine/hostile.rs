//! Guests that mean harm: every one of them ends as an outcome, in both scopes, whatever the compiler made
//! of it, and the next operation is served.

use crate::support::*;
use althing_core::{
    overlay::{Access, Overlay},
    policy::Quotas,
    program::{Call, Program},
    state::State,
    transition::TrapKind,
};
use althing_engine::{
    Engine, EngineOptions, LargeFrame, Optimization, PrepareError, thread::on_guest_thread,
};
use bytes::Bytes;

/// Runs a hostile reducer in both scopes, at both optimization levels, twice each, and expects this
/// trap with the same fuel and the same words every time, and an honest operation served in between.
fn always_traps_with(reducer: &Reducer, kind: TrapKind) -> String {
    let mut told = Vec::new();
    for optimization in [Optimization::Speed, Optimization::None] {
        let engine =
            Engine::new(EngineOptions { optimization, ..EngineOptions::default() }).expect("it runs here");
        for reducer in [reducer.clone(), reducer.clone().per_batch()] {
            let mut program = load(&engine, &reducer);
            for _ in 0..2 {
                program.begin_batch();
                let run = reduce(&mut program, b"x");
                assert_eq!(trap(&run).kind, kind, "{run:?}");
                told.push((run.fuel, trap(&run).message.clone()));
                assert_eq!(accepted(&reduce(&mut program, b"")), b"", "the next operation is served");
            }
        }
    }
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    told.swap_remove(0).1
}

/// Harm only for operations that are not empty.
fn hostile(items: &str) -> Reducer {
    Reducer {
        items: items.into(),
        ..Reducer::reduce(
            "(if (local.get $op_len) (then (call $hostile))) (call $ok (local.get $op) (i32.const 0))",
        )
    }
}

#[test]
fn direct_recursion_is_too_deep() {
    always_traps_with(&hostile("(func $hostile (call $hostile))"), TrapKind::TooDeep);
}

#[test]
fn recursion_with_results_and_early_returns_is_too_deep() {
    let items = "
        (func $hostile (drop (call $down (i32.const 0))))
        (func $down (param i32) (result i32)
          (block (loop (br_if 1 (i32.eqz (i32.const 1)))))
          (if (i32.eq (local.get 0) (i32.const -1)) (then (return (i32.const 5))))
          (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    always_traps_with(&hostile(items), TrapKind::TooDeep);
}

#[test]
fn mutual_recursion_is_too_deep() {
    let items = "(func $hostile (call $other)) (func $other (call $third)) (func $third (call $hostile))";
    always_traps_with(&hostile(items), TrapKind::TooDeep);
}

#[test]
fn recursion_through_a_table_is_too_deep() {
    let items = "
        (type $f (func)) (table 1 funcref) (elem (i32.const 0) $hostile)
        (func $hostile (call_indirect (type $f) (i32.const 0)))";
    always_traps_with(&hostile(items), TrapKind::TooDeep);
}

#[test]
fn recursion_with_large_frames_is_too_deep() {
    // Four thousand values that live across the call.
    let locals = "(local i64) ".repeat(1_500);
    let set: String =
        (0..1_500).map(|n| format!("(local.set {n} (i64.load (i32.const {})))", n * 8)).collect();
    let use_them: String =
        (0..1_500).map(|n| format!("(i64.store (i32.const {}) (local.get {n}))", n * 8)).collect();
    let items = format!("(func $hostile {locals} {set} (call $hostile) {use_them})");
    always_traps_with(&hostile(&items), TrapKind::TooDeep);
}

#[test]
fn recursion_with_a_deep_operand_stack_is_too_deep() {
    let push = "(i64.load (i32.const 0)) ".repeat(3_000);
    let pop = "i64.xor ".repeat(2_999);
    let items = format!("(func $hostile {push} (call $hostile) {pop} (drop))");
    always_traps_with(&hostile(&items), TrapKind::TooDeep);
}

#[test]
fn recursion_in_a_leafless_start_of_many_parameters_is_too_deep() {
    let parameters = "(param i64) ".repeat(200);
    let arguments = "(i64.const 1) ".repeat(200);
    let items = format!("(func $hostile (call $wide {arguments})) (func $wide {parameters} (call $hostile))");
    always_traps_with(&hostile(&items), TrapKind::TooDeep);
}

#[test]
fn recursion_in_realloc_is_too_deep() {
    // The operation's payload is carried over through it; the empty one is not.
    let realloc = "(if (local.get $size) (then (call $hostile))) (i32.const 8192)";
    let reducer = Reducer { realloc: realloc.into(), ..hostile("(func $hostile (call $hostile))") };
    let engine = engine();
    for reducer in [reducer.clone(), reducer.per_batch()] {
        let mut program = load(&engine, &reducer);
        assert_eq!(trap(&reduce(&mut program, b"x")).kind, TrapKind::TooDeep);
    }
}

#[test]
fn recursion_while_a_host_call_returns_is_too_deep() {
    // First down to half of the budget, then a host call whose answer is carried over by realloc,
    // which goes down without end.
    let items = "
        (global $hurt (mut i32) (i32.const 0))
        (func $hostile (call $down (i32.const 4000)))
        (func $down (param i32)
          (if (local.get 0)
            (then (call $down (i32.sub (local.get 0) (i32.const 1))))
            (else (global.set $hurt (i32.const 1)) (call $get (i32.const 512) (i32.const 1) (i32.const 3000)))))
        (func $endless (call $endless))";
    let realloc = "(if (global.get $hurt) (then (call $endless))) (i32.const 8192)";
    let reducer = Reducer { realloc: realloc.into(), ..hostile(items) };
    let mut program = load(&engine(), &reducer);
    let run = reduce_over(&mut program, state(&[("g", "value")]), b"x", FUEL).unwrap();
    assert_eq!(trap(&run).kind, TrapKind::TooDeep, "{run:?}");
}

#[test]
fn recursion_in_a_start_function_is_too_deep_and_found_when_the_component_is_prepared() {
    let reducer =
        Reducer { items: "(func $start (call $start)) (start $start)".into(), ..Reducer::default() };
    let error = prepare(&engine(), &reducer.component()).unwrap_err();
    let PrepareError::Describe(trap) = &error else { panic!("{error}") };
    assert_eq!(trap.kind, TrapKind::TooDeep);
    assert_eq!(error.code(), "component-description");
}

#[test]
fn honest_recursion_comes_back_as_often_as_it_likes() {
    // A thousand descents to a depth of 2,000: leaving gives the budget back.
    let items = "
        (func $hostile (local $n i32)
          (loop $again
            (drop (call $down (i32.const 2000)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const 1000)))))
        (func $down (param i32) (result i32)
          (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
          (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))";
    let mut program = load(&engine(), &hostile(items).per_batch());
    for _ in 0..2 {
        assert_eq!(accepted(&reduce(&mut program, b"x")), b"");
    }
}

#[test]
fn branches_returns_and_many_results_work_under_the_guard() {
    let items = "
        (func $none)
        (func $pair (param i32) (result i32 i64)
          (call $none)
          (block (br_table 0 1 (local.get 0) (i32.const 7) (i64.const 8) (br 1)))
          (return (i32.const 1) (i64.const 2)))
        (func $choose (param i32) (result i32)
          (call $none)
          (block $a (block $b (br_table $a $b 2 (i32.const 30) (local.get 0)) ) )
          (i32.const 10))
        (func $check (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
        (func $hostile
          (call $pair (i32.const 0)) (call $check (i64.eq (i64.const 2))) (call $check (i32.eq (i32.const 1))))";
    let items = items
        .replace("(block (br_table 0 1 (local.get 0) (i32.const 7) (i64.const 8) (br 1)))", "(if (local.get 0) (then (br 1 (i32.const 7) (i64.const 8))))")
        .replace(
            "(block $a (block $b (br_table $a $b 2 (i32.const 30) (local.get 0)) ) )",
            "(block $a (if (local.get 0) (then (loop (br 3 (i32.const 20))))))",
        )
        .replace(
            "(call $pair (i32.const 0))",
            "(call $check (i32.eq (call $choose (i32.const 0)) (i32.const 10)))
             (call $check (i32.eq (call $choose (i32.const 1)) (i32.const 20)))
             (call $pair (i32.const 1)) (call $check (i64.eq (i64.const 8))) (call $check (i32.eq (i32.const 7)))
             (call $pair (i32.const 0))",
        );
    let mut program = load(&engine(), &hostile(&items));
    assert_eq!(accepted(&reduce(&mut program, b"x")), b"");
}

#[test]
fn a_frame_that_the_compiler_makes_larger_than_it_looks_is_refused() {
    // The optimiser computes each quotient once and keeps it over the call: three locals, much stack.
    let quotients = |into: u32| -> String {
        let one = |n: u32| {
            let quotient = format!("(f64.div (local.get 0) (f64.add (local.get 1) (f64.const {n})))");
            format!("(local.set {into} (f64.sub {quotient} (local.get {into})))")
        };
        (0..400).map(one).collect()
    };
    let items = format!(
        "(func $hostile (drop (call $down (f64.load (i32.const 0)) (f64.load (i32.const 8)))))
         (func $down (param f64 f64) (result f64) (local f64 f64)
           {} (drop (call $down (local.get 2) (local.get 1))) {} (f64.add (local.get 2) (local.get 3)))",
        quotients(2),
        quotients(3)
    );
    let error = prepare(&engine(), &hostile(&items).component()).unwrap_err();
    let PrepareError::LargeFrame(LargeFrame { bytes, bytes_max, .. }) = error else { panic!("{error}") };
    assert!(bytes > bytes_max, "{bytes} {bytes_max}");
    assert!(error.is_the_components());
}

#[test]
fn an_endless_loop_uses_up_its_fuel() {
    let message = always_traps_with(&hostile("(func $hostile (loop (br 0)))"), TrapKind::OutOfFuel);
    assert_eq!(message, "the fuel of the operation is used up");
}

#[test]
fn an_endless_loop_of_host_calls_uses_up_its_fuel() {
    let body = "(func $hostile (loop (call $get (i32.const 512) (i32.const 1) (i32.const 3000)) (br 0)))";
    let mut program = load(&engine(), &hostile(body));
    let run = reduce_over(&mut program, State::default(), b"x", 10_000_000).unwrap();
    assert_eq!((trap(&run).kind, run.fuel), (TrapKind::OutOfFuel, 10_000_000));
}

#[test]
fn logging_without_end_uses_up_its_fuel() {
    let body = "(func $hostile (loop (call $log (i32.const 1) (i32.const 0) (i32.const 65536)) (br 0)))";
    let mut program = load(&engine(), &hostile(body));
    let run = reduce_over(&mut program, State::default(), b"x", 10_000_000).unwrap();
    assert_eq!(trap(&run).kind, TrapKind::OutOfFuel);
}

#[test]
fn too_little_fuel_for_an_instance_is_out_of_fuel() {
    let mut program = load(&engine(), &Reducer::default());
    let run = reduce_over(&mut program, State::default(), b"x", 100).unwrap();
    assert_eq!((trap(&run).kind, run.fuel), (TrapKind::OutOfFuel, 100));
}

#[test]
fn allocation_without_end_is_denied_at_the_quota() {
    // Counts the pages it gets.
    let items = "
        (func $hostile (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
          (if (i32.ne (memory.size) (i32.const 1024)) (then unreachable)))";
    let mut program = load(&engine(), &hostile(items));
    assert_eq!(accepted(&reduce(&mut program, b"x")), b"", "64 MiB are 1,024 pages");
}

#[test]
fn asking_for_all_memory_there_is_costs_all_fuel() {
    always_traps_with(&hostile("(func $hostile (drop (memory.grow (i32.const -1))))"), TrapKind::OutOfFuel);
}

#[test]
fn an_instance_that_begins_with_more_memory_than_the_quota_is_out_of_memory() {
    let reducer = Reducer { pages: 100, ..Reducer::default() };
    let mut program = load(&engine(), &reducer);
    let overlay =
        Overlay::new(State::default(), Quotas { memory_bytes: 99 << 16, ..quotas() }, Access::Write);
    let call = Call::Reduce { payload: Bytes::from_static(b"x") };
    let run = on_guest_thread(|| program.run(&context(1), call, overlay, FUEL)).unwrap();
    assert_eq!(trap(&run).kind, TrapKind::OutOfMemory);
    assert!(trap(&run).message.contains("memory_bytes"), "{run:?}");
}

#[test]
fn a_table_that_grows_without_end_is_denied() {
    let items = "
        (table $t 0 funcref)
        (func $hostile (loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 65536)) (i32.const -1)))))";
    let mut program = load(&engine(), &hostile(items));
    assert_eq!(accepted(&reduce(&mut program, b"x")), b"");
}

#[test]
fn writing_over_quota_names_the_quota() {
    let items = "
        (func $hostile (local $n i32)
          (loop
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (i32.store (i32.const 3000) (local.get $n))
            (call $set (i32.const 3000) (i32.const 4) (i32.const 3000) (i32.const 4))
            (br 0)))";
    let message = always_traps_with(&hostile(items), TrapKind::Quota);
    assert_eq!(message, "quota writes: 4097 asked, 4096 allowed");
}

#[test]
fn a_key_out_of_bounds_is_misuse() {
    let items = "(func $hostile (call $set (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))";
    let message = always_traps_with(&hostile(items), TrapKind::Misuse);
    assert_eq!(message, "a key has 0 bytes, it must have 1 to 1024");
}

#[test]
fn too_much_data_in_one_call_is_over_quota() {
    let items = "
        (func $hostile (drop (memory.grow (i32.const 100)))
          (call $set (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4000000)))";
    always_traps_with(&hostile(items), TrapKind::Quota);
}

#[test]
fn wasm_traps_are_told_in_our_words() {
    for (items, message) in [
        ("(func $hostile unreachable)", "unreachable code was reached: the guest panicked or aborted"),
        ("(func $hostile (drop (i32.div_u (i32.const 1) (i32.const 0))))", "an integer was divided by zero"),
        (
            "(func $hostile (drop (i32.div_s (i32.const -2147483648) (i32.const -1))))",
            "an integer overflowed",
        ),
        ("(func $hostile (drop (i32.load (i32.const -1))))", "memory was accessed out of bounds"),
        (
            "(func $hostile (memory.fill (i32.const -1) (i32.const 0) (i32.const 9)))",
            "memory was accessed out of bounds",
        ),
        (
            "(table 1 funcref) (type $f (func)) (func $hostile (call_indirect (type $f) (i32.const 0)))",
            "an empty table entry was called",
        ),
        (
            "(table 1 funcref) (type $f (func)) (func $hostile (call_indirect (type $f) (i32.const 1)))",
            "a table was accessed out of bounds",
        ),
        (
            "(table 1 funcref) (type $f (func (param i32))) (elem (i32.const 0) $hostile)
             (func $hostile (call_indirect (type $f) (i32.const 0) (i32.const 0)))",
            "a function was called with another type than its own",
        ),
        (
            "(func $hostile (drop (i32.trunc_f64_s (f64.const nan))))",
            "a number was converted to an integer that cannot hold it",
        ),
    ] {
        assert_eq!(always_traps_with(&hostile(items), TrapKind::Wasm), message);
    }
}

#[test]
fn values_that_break_the_canonical_abi_are_the_guests_trap() {
    let bodies = [
        ("a result out of bounds", "(call $ok (i32.const 0) (i32.const 1000000))"),
        ("a wrong discriminant", "(i32.store8 (i32.const 1024) (i32.const 9)) (i32.const 1024)"),
        ("a result pointer that is not aligned", "(i32.const 1025)"),
        ("a result pointer out of bounds", "(i32.const -4)"),
        (
            "a message that is no UTF-8",
            "(i32.store8 (i32.const 3000) (i32.const 255)) (drop (call $reject))
             (i32.store (i32.const 1036) (i32.const 3000)) (i32.const 1024)",
        ),
    ];
    for (what, body) in bodies {
        let mut program = load(&engine(), &Reducer::reduce(body));
        let run = reduce(&mut program, b"x");
        assert_eq!(trap(&run).kind, TrapKind::Wasm, "{what}: {run:?}");
        assert!(trap(&run).message.starts_with("the component "), "{what}: {run:?}");
    }
    for (what, realloc) in [("out of bounds", "(i32.const -8)"), ("not aligned", "(i32.const 8193)")] {
        let reducer = Reducer {
            realloc: realloc.into(),
            ..Reducer::reduce("(call $get (i32.const 512) (i32.const 1) (i32.const 3000)) (call $done)")
        };
        let mut program = load(&engine(), &reducer);
        let run = reduce_over(&mut program, state(&[("g", "value")]), b"xyz", FUEL).unwrap();
        if what == "out of bounds" {
            assert_eq!(trap(&run).kind, TrapKind::Wasm, "{what}: {run:?}");
        }
    }
}

#[test]
fn a_host_call_from_realloc_is_the_guests_trap() {
    let realloc = "(call $set (i32.const 512) (i32.const 1) (i32.const 512) (i32.const 1)) (i32.const 8192)";
    let reducer = Reducer { realloc: realloc.into(), ..Reducer::default() };
    let run = reduce(&mut load(&engine(), &reducer), b"x");
    assert_eq!(trap(&run).message, "the component called the host while it must not");
}

#[test]
fn a_rejection_with_a_code_that_is_none_is_misuse() {
    let body = "(drop (call $reject)) (i32.store (i32.const 1032) (i32.const 3)) (i32.const 1024)";
    let run = reduce(&mut load(&engine(), &Reducer::reduce(body)), b"x");
    assert_eq!(trap(&run).kind, TrapKind::Misuse, "`no-` is no code");
}
