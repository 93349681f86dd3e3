//! The built component in the real engine.

use althing_testkit::{Setup, json};

#[test]
fn the_component_adds_up_and_refuses_by_name() {
    let mut kit = Setup::of(env!("CARGO_MANIFEST_DIR")).start().expect("the counter starts");
    let add = |name: &str, amount: i64| json!({"op": "add", "name": name, "amount": amount});
    assert_eq!(kit.submit(&add("a", 2)), Ok(json!(2)));
    assert_eq!(
        kit.submit_all(&[add("a", 3), add("b", -1), add("a", 1)]),
        [Ok(json!(5)), Ok(json!(-1)), Ok(json!(6))]
    );
    assert_eq!(kit.query(&json!({"query": "total", "name": "a"})), Ok(json!(6)));
    assert_eq!(kit.events().last(), Some(&("added".to_owned(), json!({"name": "a", "total": 6}))));
    assert_eq!(kit.submit(&add("a", i64::MAX)).expect_err("too much").code(), "overflow");
    assert_eq!(
        kit.submit(&json!({"op": "add", "name": "a"})).expect_err("no amount").code(),
        "invalid-operation"
    );
    assert_eq!(kit.submit_bytes(b"\xff").expect_err("no JSON").code(), "invalid-operation");
}
