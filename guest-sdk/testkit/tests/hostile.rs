//! Whatever a guest does wrong ends as an outcome with a code, and the community goes on.

use althing_core::policy::Policy;
use althing_testkit::{Kit, Refused, Setup, Value, json};

const HOSTILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/hostile");

fn hostile() -> Kit {
    // A tenth of the usual fuel: enough to reach every other limit first, and quick to burn.
    let mut policy = Policy::default();
    policy.quotas.operation_fuel /= 10;
    policy.quotas.memory_bytes = 16 << 20;
    Setup::of(HOSTILE).policy(policy).start().expect("it starts")
}

fn trap(result: Result<Value, Refused>) -> &'static str {
    match result {
        Err(Refused::Trapped { code, validator: None, .. }) => code,
        other => panic!("no trap: {other:?}"),
    }
}

#[test]
fn each_misbehaviour_ends_in_a_trap_of_its_own_and_changes_nothing() {
    let mut kit = hostile();
    kit.submit(&json!({"op": "behave"})).expect("accepted");
    let before = kit.pairs();
    for (op, code) in [
        ("loop", "out-of-fuel"),
        ("recurse", "too-deep"),
        ("big-frames", "too-deep"),
        // More memory is denied, not trapped; what Rust does without it is to give up.
        ("allocate", "wasm-trap"),
        ("write-too-much", "over-quota"),
        ("write-too-big", "over-quota"),
        ("emit-too-much", "over-quota"),
        ("schedule-too-much", "over-quota"),
        ("read-too-much", "out-of-fuel"),
        ("answer-too-much", "over-quota"),
        ("panic", "wasm-trap"),
    ] {
        assert_eq!(trap(kit.submit(&json!({"op": op}))), code, "{op}");
        assert_eq!(kit.pairs(), before, "{op} changed something");
    }
    assert_eq!(kit.submit(&json!({"op": "behave"})), Ok(json!("2")));
}

#[test]
fn a_query_that_misbehaves_fails_alone() {
    let mut kit = hostile();
    assert_eq!(trap(kit.query(&json!({"query": "write"}))), "misuse");
    assert_eq!(trap(kit.query(&json!({"query": "loop"}))), "out-of-fuel");
    kit.submit(&json!({"op": "behave"})).expect("accepted");
    assert_eq!(kit.query(&json!({"query": "mark"})), Ok(json!(1)));
}
