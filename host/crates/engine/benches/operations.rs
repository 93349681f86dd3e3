//! Microseconds of one operation in each instance scope: `cargo bench -p althing-engine`.
//!
//! The guest does one `get` and one `set`; the overlay is fresh each time, over a small state.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench measures time")]

use althing_core::program::Program;
use std::time::Instant;

#[path = "../tests/engine/support.rs"]
#[expect(dead_code, reason = "this bench uses one guest")]
mod support;

const OPERATIONS: u32 = 20_000;

fn main() {
    let body = "
        (call $get (local.get $op) (local.get $op_len) (i32.const 3000))
        (call $set (local.get $op) (local.get $op_len) (i32.const 512) (i32.const 64))
        (call $ok (local.get $op) (local.get $op_len))";
    let engine = support::engine();
    for (scope, reducer) in [
        ("per operation", support::Reducer::reduce(body)),
        ("per batch", support::Reducer::reduce(body).per_batch()),
    ] {
        let mut program = support::load(&engine, &reducer);
        let state = support::state(&[("key", "value")]);
        let (micros, fuel) = althing_engine::thread::on_guest_thread(|| {
            program.begin_batch();
            let start = Instant::now();
            let mut fuel = 0;
            for _ in 0..OPERATIONS {
                let run = support::reduce_over(&mut program, state.clone(), b"key", support::FUEL);
                fuel = run.expect("the host has no fault").fuel;
            }
            (start.elapsed().as_secs_f64() * 1e6 / f64::from(OPERATIONS), fuel)
        });
        println!("{scope}: {micros:.2} µs and {fuel} fuel an operation");
    }
}
