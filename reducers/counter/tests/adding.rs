//! Adding up, on the author's machine.

use althing_guest::TestHost;
use counter::{Counter, Operation, Query, TOTALS};

fn add(name: &str, amount: i64) -> Operation {
    Operation::Add { name: name.into(), amount }
}

#[test]
fn counters_add_up_each_on_its_own() {
    let mut host = TestHost::<Counter>::new(()).expect("begins");
    assert_eq!(host.submit(add("a", 2)), Ok(2));
    assert_eq!(host.submit(add("b", 5)), Ok(5));
    assert_eq!(host.submit(add("a", -3)), Ok(-1));
    assert_eq!(host.query(Query::Total { name: "a".into() }), Ok(-1));
    assert_eq!(host.look(|| TOTALS.iter().collect::<Vec<_>>()), [("a".into(), -1), ("b".into(), 5)]);
}

#[test]
fn a_sum_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut host = TestHost::<Counter>::new(()).expect("begins");
    host.submit(add("a", i64::MAX)).expect("fits");
    assert_eq!(host.submit(add("a", 1)).expect_err("does not fit").code, "overflow");
    assert_eq!((host.look(|| TOTALS.get("a")), host.events().len()), (Some(i64::MAX), 1));
}

#[test]
fn what_is_no_operation_is_refused_with_what_was_expected() {
    let mut host = TestHost::<Counter>::new(()).expect("begins");
    for (text, expected) in [
        ("", "expected"),
        ("{", "EOF"),
        (r#"{"op": "ad"}"#, "expected `add`"),
        (r#"{"op": "add", "name": "a"}"#, "missing field `amount`"),
        (r#"{"op": "add", "name": "a", "amount": "1"}"#, "expected i64"),
        (r#"{"op": "add", "name": "a", "amount": 1, "more": 1}"#, "unknown field `more`"),
    ] {
        let rejected = host.submit_json(text).expect_err(text);
        assert_eq!(rejected.code, "invalid-operation", "{text}");
        assert!(rejected.message.contains(expected), "{text}: {rejected}");
    }
}
