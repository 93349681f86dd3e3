//! The built component in the real engine: what `cargo test` says holds on every node.

use althing_testkit::{Setup, json};

#[test]
fn the_component_does_what_the_program_does() {
    let setup = Setup::of(env!("CARGO_MANIFEST_DIR")).config(json!({"choices": ["tea", "coffee"]}));
    let mut kit = setup.start().unwrap();

    kit.as_actor("ann").submit(&json!({"op": "vote", "choice": "tea"})).unwrap();
    kit.as_actor("bob").submit(&json!({"op": "vote", "choice": "coffee"})).unwrap();
    assert_eq!(kit.query(&json!({"query": "tally"})), Ok(json!({"coffee": 1, "tea": 1})));

    let refused = kit.submit(&json!({"op": "vote"})).unwrap_err();
    assert_eq!(refused.code(), "invalid-operation");
}
