//! The compiler process. This test has no harness: the same executable is the test and, with the argument
//! `compile-child`, the child that it starts.

use althing_core::ids::Hash;
use althing_engine::{
    Engine, EngineOptions, PrepareError,
    compile::{Allowance, CompileError, CompileMode, child_main},
};
use std::process::ExitCode;

#[path = "engine/support.rs"]
#[expect(dead_code, reason = "this test prepares guests and runs none")]
mod support;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "compile-child") {
        return child_main();
    }
    a_child_compiles_what_the_engine_compiles_itself();
    a_compile_bomb_is_stopped_by_processor_time();
    a_compiler_out_of_memory_is_stopped();
    a_program_that_is_no_compiler_is_a_fault_of_the_machine();
    println!("4 tests of the compiler process passed");
    ExitCode::SUCCESS
}

fn engine(allowance: Allowance) -> Engine {
    let program = std::env::current_exe().expect("this test has a path");
    let compile = CompileMode::Child { program, args: vec!["compile-child".into()], allowance };
    Engine::new(EngineOptions { compile, ..EngineOptions::default() }).expect("the engine runs here")
}

fn a_child_compiles_what_the_engine_compiles_itself() {
    let component = support::Reducer::default().component();
    let engine = engine(Allowance::default());
    let hash = support::prepare(&engine, &component).expect("it compiles");
    assert!(engine.is_prepared(hash));
    assert_eq!(engine.fingerprint(), support::engine().fingerprint());
}

/// Many locals, many back edges: small, admitted, and slow to compile.
fn bomb() -> Vec<u8> {
    let locals = "(local i64) ".repeat(1_500);
    let step = |n: usize| {
        let (a, b, c) = (n % 1_500, n * 7 % 1_500, n * 13 % 1_500);
        format!("local.get {a} local.get {b} i64.xor local.set {a} local.get {c} i64.eqz br_if $again ")
    };
    let steps: String = (1..1_500).map(step).collect();
    let items = format!("(func $hostile {locals} (block $out (loop $again {steps})))");
    support::Reducer { items, ..support::Reducer::default() }.component()
}

fn a_compile_bomb_is_stopped_by_processor_time() {
    let engine = engine(Allowance { cpu_seconds: 1, cpu_seconds_per_mib: 0, ..Allowance::default() });
    let error = prepare(&engine, &bomb()).expect_err("it cannot be compiled in a second");
    assert!(
        matches!(error, PrepareError::Compile(CompileError::TooExpensive { cpu_seconds: 1, .. })),
        "{error:?}"
    );
    assert_eq!(error.code(), "component-too-expensive");
}

fn a_compiler_out_of_memory_is_stopped() {
    let small = Allowance { memory_bytes: 48 << 20, memory_bytes_per_mib: 0, ..Allowance::default() };
    let error = prepare(&engine(small), &bomb()).expect_err("it cannot be compiled in 48 MiB");
    assert!(matches!(error, PrepareError::Compile(CompileError::TooExpensive { .. })), "{error:?}");
}

fn a_program_that_is_no_compiler_is_a_fault_of_the_machine() {
    let compile = CompileMode::Child {
        program: "/nowhere/althing".into(),
        args: vec![],
        allowance: Allowance::default(),
    };
    let engine = Engine::new(EngineOptions { compile, ..EngineOptions::default() }).expect("the engine runs");
    let error = prepare(&engine, &support::Reducer::default().component()).expect_err("there is no compiler");
    assert_eq!((error.code(), error.is_the_components()), ("engine-fault", false));
}

fn prepare(engine: &Engine, component: &[u8]) -> Result<Hash, PrepareError> {
    support::prepare(engine, component)
}
