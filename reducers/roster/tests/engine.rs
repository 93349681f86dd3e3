//! The built component in the real engine: the real history, up to its first checkpoint.

use althing_testkit::{Setup, Value, json};
use std::fs;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/roster/data");
const CHECKPOINT: usize = 1256;

#[test]
fn the_component_replays_history_up_to_the_first_checkpoint() {
    let read = |name: &str| fs::read_to_string(format!("{DATA}/{name}")).expect("the data is there");
    let operations: Vec<Value> = read("operations.jsonl")
        .lines()
        .take(CHECKPOINT)
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let checkpoints: Value = serde_json::from_str(&read("checkpoints.json")).expect("JSON");

    let mut kit = Setup::of(env!("CARGO_MANIFEST_DIR")).start().expect("the roster starts");
    for batch in operations.chunks(100) {
        for (operation, result) in batch.iter().zip(kit.submit_all(batch)) {
            assert_eq!(result, Ok(Value::Null), "{operation}");
        }
    }
    let page = kit.query(&json!({"query": "everything", "limit": 1000})).expect("a page");
    assert_eq!((&page["teams"], &page["next"]), (&checkpoints[CHECKPOINT.to_string()], &Value::Null));

    let again = kit.submit(&operations[0]).expect_err("founded already");
    assert_eq!(again.code(), "team-exists");
}
