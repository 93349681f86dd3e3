//! The real history, on the author's machine: every operation is accepted, the roster agrees with
//! the independent checkpoints, and whatever breaks a rule is refused by its name.

use althing_guest::TestHost;
use roster::Roster;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fs};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/roster/data");

fn operations() -> Vec<Value> {
    let text = fs::read_to_string(format!("{DATA}/operations.jsonl")).expect("the data is there");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn everything(host: &mut TestHost<Roster>) -> Value {
    let mut teams = Map::new();
    let mut after = Value::Null;
    loop {
        let page = host.query_json(&json!({"query": "everything", "after": after, "limit": 7}).to_string());
        let mut page = page.expect("a page");
        teams.append(page["teams"].as_object_mut().expect("teams"));
        after = page["next"].take();
        if after.is_null() {
            return teams.into();
        }
    }
}

fn with(operation: &Value, op: &str) -> Value {
    let mut operation = operation.clone();
    operation["op"] = op.into();
    operation
}

/// An operation that breaks a rule right after `operation` was accepted, and the rule's code.
fn broken(operation: &Value) -> Vec<(Value, &'static str)> {
    let mut nowhere = operation.clone();
    nowhere["team"] = "no such team".into();
    let again = |code| (operation.clone(), code);
    let other = |op, code| (with(operation, op), code);
    let mut broken = match operation["op"].as_str().expect("op") {
        "found" => vec![again("team-exists")],
        "join" => vec![
            again("already-a-member"),
            other("honour", "already-a-member"),
            other("dissolve", "team-not-empty"),
        ],
        "lead" => vec![again("already-a-lead"), other("join", "already-a-member")],
        "step-down" => vec![again("not-a-lead")],
        "retire" => {
            vec![again("not-a-member"), other("step-down", "not-a-lead"), other("honour", "already-alumni")]
        }
        "honour" => vec![again("already-alumni"), other("lead", "not-a-member")],
        "leave" => vec![again("not-in-team"), other("lead", "not-a-member"), other("retire", "not-a-member")],
        "dissolve" => vec![again("no-such-team")],
        "describe" => vec![],
        op => panic!("unknown {op}"),
    };
    if operation["op"] != "found" {
        broken.push((nowhere, "no-such-team"));
    }
    broken
}

#[test]
fn the_real_history_is_accepted_and_agrees_with_every_checkpoint() {
    let checkpoints: BTreeMap<usize, Value> = {
        let text = fs::read_to_string(format!("{DATA}/checkpoints.json")).expect("the data is there");
        let raw: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
        raw.into_iter().map(|(at, roster)| (at.parse().expect("a number"), roster)).collect()
    };
    let operations = operations();
    assert_eq!((operations.len(), checkpoints.len()), (4566, 4));

    let mut host = TestHost::<Roster>::new(()).expect("begins");
    let mut compared = 0;
    for (index, operation) in operations.iter().enumerate() {
        if let Err(rejected) = host.submit_json(&operation.to_string()) {
            panic!("operation {} was refused, {rejected}: {operation}", index + 1);
        }
        if let Some(expected) = checkpoints.get(&(index + 1)) {
            assert_eq!(&everything(&mut host), expected, "after operation {}", index + 1);
            compared += 1;
        }
    }
    assert_eq!(compared, 4);
}

#[test]
fn whatever_breaks_a_rule_is_refused_by_its_name_and_changes_nothing() {
    let mut host = TestHost::<Roster>::new(()).expect("begins");
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for operation in operations() {
        host.submit_json(&operation.to_string()).expect("the history is valid");
        let before = (host.pairs().clone(), host.events().len());
        for (wrong, code) in broken(&operation) {
            let rejected = host.submit_json(&wrong.to_string()).expect_err(&wrong.to_string());
            assert_eq!(rejected.code, code, "{wrong} after {operation}");
            *refused.entry(code).or_default() += 1;
        }
        assert!(before.0 == *host.pairs() && before.1 == host.events().len(), "after {operation}");
    }
    assert_eq!(refused.len(), 9, "every rule was broken: {refused:?}");
}

#[test]
fn a_team_can_be_asked_for() {
    let mut host = TestHost::<Roster>::new(()).expect("begins");
    host.submit_json(r#"{"op":"found","team":"a","kind":"team","parent":null}"#).expect("founded");
    host.submit_json(r#"{"op":"join","team":"a","person":"p"}"#).expect("joined");
    assert_eq!(
        host.query_json(r#"{"query":"team","team":"a"}"#).expect("a team"),
        json!({"alumni": [], "kind": "team", "leads": [], "members": ["p"], "parent": null})
    );
    assert_eq!(host.query_json(r#"{"query":"team","team":"b"}"#).expect_err("none").code, "no-such-team");
}
