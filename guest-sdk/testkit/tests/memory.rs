//! The kit finds out a reducer that keeps something in its own memory.

use althing_testkit::{Setup, json};

const REMEMBERING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/remembering");

#[test]
#[should_panic(expected = "relies on its own memory")]
fn a_reducer_that_remembers_is_found_out() {
    let mut kit = Setup::of(REMEMBERING).start().expect("it starts");
    kit.submit(&json!({"op": "behave"})).expect("accepted");
    kit.submit(&json!({"op": "remember"})).expect("nothing to see yet: both instances have served none");
    let _ = kit.submit(&json!({"op": "remember"}));
}
