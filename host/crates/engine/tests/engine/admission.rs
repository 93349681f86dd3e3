//! What is refused, with its code, before anything is compiled.

use crate::support::*;
use althing_core::{ids::Hash, limits::COMPONENT_BYTES_MAX};
use althing_engine::{
    PrepareError,
    admission::{AdmissionError, Kind, admit},
};

fn refusal(component: &[u8]) -> AdmissionError {
    match admit(component) {
        Ok(admitted) => panic!("a refusal was expected, not {:?}", admitted.kind),
        Err(error) => error,
    }
}

fn text(component: &str) -> Vec<u8> {
    wat::parse_str(component).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn reducers_and_validators_are_told_apart() {
    let kind = |component: &[u8]| admit(component).unwrap().kind;
    assert_eq!(kind(&Reducer::default().component()), Kind::Reducer { migrates: false });
    let migrating = Reducer { migrates: true, ..Reducer::default() };
    assert_eq!(kind(&migrating.component()), Kind::Reducer { migrates: true });
    assert_eq!(kind(&validator("(call $done)")), Kind::Validator);
}

#[test]
fn a_core_module_is_refused_with_advice() {
    let error = refusal(&text(&Reducer::default().wat()));
    assert_eq!((error.code(), &error), ("component-is-core-module", &AdmissionError::CoreModule));
    assert!(error.to_string().contains("althing build"));
}

#[test]
fn bytes_that_are_no_component_are_malformed() {
    let component = Reducer::default().component();
    let mut flipped = component.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    for bytes in [&b""[..], b"hello", &component[..component.len() / 2], &flipped] {
        assert_eq!(refusal(bytes).code(), "component-malformed");
    }
}

#[test]
fn a_component_that_is_too_big_is_refused_unread() {
    let bytes = vec![0; COMPONENT_BYTES_MAX as usize + 1];
    assert_eq!(refusal(&bytes).code(), "component-too-big");
}

#[test]
fn a_component_of_another_world_is_told_what_it_lacks() {
    let error = refusal(&text("(component)"));
    assert_eq!(error.code(), "component-world");
    assert!(error.to_string().contains("althing:reducer/reduction@0.1.0"), "{error}");
}

#[test]
fn an_interface_without_its_functions_is_told_which_one_is_missing() {
    let component = text(
        r#"(component (component $c) (instance $i (instantiate $c))
             (export "althing:reducer/reduction@0.1.0" (instance $i)))"#,
    );
    let error = refusal(&component);
    assert_eq!(
        error,
        AdmissionError::WrongWorld { missing: "althing:reducer/reduction@0.1.0#describe".into() }
    );
}

#[test]
fn a_forbidden_import_is_named() {
    for import in ["wasi:clocks/wall-clock@0.2.6", "althing:reducer/state@0.2.0"] {
        let error = refusal(&text(&format!("(component (import \"{import}\" (instance)))")));
        assert_eq!(error.code(), "component-import");
        assert!(error.to_string().contains(import), "{error}");
    }
}

#[test]
fn a_reducer_may_not_import_what_only_validators_may() {
    let component = r#"(component
        (import "althing:reducer/before@0.1.0" (instance))
        (component $c) (instance $i (instantiate $c))
        (export "althing:reducer/reduction@0.1.0" (instance $i)))"#;
    assert_eq!(refusal(&text(component)).code(), "component-import");
}

#[test]
fn every_feature_that_is_off_is_refused_by_name() {
    for (feature, component) in [
        ("threads", "(core module (memory 1 1 shared))"),
        ("atomics", "(core module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))"),
        ("SIMD", "(core module (func (local v128)))"),
        (
            "relaxed SIMD",
            "(core module (func (param v128) (drop (i32x4.relaxed_trunc_f32x4_s (local.get 0)))))",
        ),
        ("exceptions", "(core module (tag))"),
        ("GC", "(core module (type (struct)))"),
        ("memory64", "(core module (memory i64 1))"),
        ("multiple memories", "(core module (memory 1) (memory 1))"),
        ("tail calls", "(core module (func $f (return_call $f)))"),
        ("function references", "(core module (type $f (func)) (func (param (ref $f))))"),
        ("stack switching", "(core module (type $f (func)) (type (cont $f)))"),
        ("custom page sizes", "(core module (memory 1 (pagesize 1)))"),
        (
            "wide arithmetic",
            "(core module (func (param i64) (i64.mul_wide_s (local.get 0) (local.get 0)) (drop) (drop)))",
        ),
        ("component async: futures", "(type (future))"),
        ("component async: streams", "(type (stream u8))"),
        ("component async: tasks", "(core func (canon task.cancel))"),
        ("component threading", "(core func (canon thread.yield))"),
        ("component error contexts", "(type error-context)"),
        ("component maps", "(type (map string u32))"),
        ("component fixed-length lists", "(type (list u8 4))"),
    ] {
        let error = refusal(&text(&format!("(component {component})")));
        assert_eq!(error.code(), "component-feature", "{feature}: {error}");
    }
}

#[test]
fn structures_that_explode_are_refused() {
    let blocks = |n: usize| format!("{} {}", "(block ".repeat(n), ")".repeat(n));
    let many = |one: &str, n: usize| one.repeat(n);
    for (what, module) in [
        ("locals in one function", format!("(func {})", many("(local i64) ", 4_097))),
        ("nested blocks", format!("(func {})", blocks(4_097))),
        ("branch targets in one function", format!("(func (br_table {} (i32.const 0)))", many("0 ", 32_770))),
        ("parameters", format!("(func {})", many("(param i32) ", 257))),
        ("memories", String::new()),
        ("bytes in one function", format!("(func {})", many("nop ", 1 << 20))),
        ("types", many("(type (func))", 20_001)),
        ("globals", many("(global i32 (i32.const 0))", 60_001)),
        ("tables", many("(table 0 funcref)", 65)),
        ("functions", many("(func)", 60_001)),
    ] {
        let component = if what == "memories" {
            format!("(component {})", many("(core module (memory 1))", 9))
        } else {
            format!("(component (core module {module}))")
        };
        match refusal(&text(&component)) {
            AdmissionError::TooMany { what: found, .. } => assert_eq!(found, what),
            other => panic!("{what}: {other}"),
        }
    }
    let modules = format!("(component {})", many("(core module)", 65));
    assert!(matches!(refusal(&text(&modules)), AdmissionError::TooMany { what: "core modules", .. }));
    let nested = format!("(component {})", many("(component)", 129));
    assert_eq!(refusal(&text(&nested)).code(), "component-structure");
}

#[test]
fn constructions_that_would_escape_the_depth_limit_are_refused() {
    for component in [
        "(component (component (core module)))",
        "(component (import \"m\" (core module)))",
        "(component (core module $m) (component (alias outer 1 0 (core module))))",
        "(component (type (resource (rep i32))) (core func (canon resource.drop 0)))",
    ] {
        let code = refusal(&text(component)).code();
        assert!(["component-unusual", "component-import"].contains(&code), "{component}: {code}");
    }
}

#[test]
fn other_types_than_the_worlds_are_refused_when_prepared() {
    let component = text(
        r#"(component
             (core module $m
               (func (export "f")) (func (export "r") (result i32) (i32.const 0))
               (memory (export "memory") 1)
               (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
             (core instance $i (instantiate $m))
             (func $f (canon lift (core func $i "f")))
             (instance $x (export "describe" (func $f)) (export "init" (func $f)) (export "reduce" (func $f))
               (export "on-timer" (func $f)) (export "query" (func $f)))
             (export "althing:reducer/reduction@0.1.0" (instance $x)))"#,
    );
    let error = prepare(&engine(), &component).unwrap_err();
    assert_eq!(error.code(), "component-types", "{error}");
    assert!(error.is_the_components());
}

#[test]
fn a_schema_that_is_no_json_is_refused_when_prepared() {
    let reducer = Reducer { schema: "{oops".into(), ..Reducer::default() };
    let error = prepare(&engine(), &reducer.component()).unwrap_err();
    assert_eq!(error.code(), "component-description", "{error}");
    let reducer = Reducer { schema: r#"{"type":"object"}"#.into(), ..Reducer::default() };
    prepare(&engine(), &reducer.component()).unwrap();
}

#[test]
fn bytes_under_another_name_are_refused() {
    let error = engine().prepare(Hash::default(), &Reducer::default().component()).unwrap_err();
    assert!(matches!(error, PrepareError::OtherBytes { .. }));
}

#[test]
fn admission_gives_the_same_bytes_every_time() {
    let component = Reducer::default().component();
    assert_eq!(admit(&component).unwrap().instrumented, admit(&component).unwrap().instrumented);
}
