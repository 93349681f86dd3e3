//! Each invariant finds what it is there for.

use super::{
    super::record::{Called, Look, OlderRead, Seen},
    check,
};
use crate::linear::{Call, Count};
use althing_core::{
    actor::Actor,
    ids::{Hash, OperationName, OperationNumber, ReplicaId, Sequence, SessionId},
    time::Timestamp,
    transition::{Cause, Outcome, Transition},
};
use althing_node::Role;

fn transition(sequence: u64, number: u64, amount: i64, total: i64) -> Transition {
    Transition {
        sequence: Sequence(sequence),
        time: Timestamp::new(sequence, 0),
        cause: Cause::Operation {
            session: SessionId(1),
            number: OperationNumber(number),
            actor: Actor::default(),
            payload: crate::programs::add("0", amount),
        },
        outcome: Outcome::Accepted { result: total.to_string().into() },
        writes: Vec::new(),
        events: Vec::new(),
        timers: Vec::new(),
        fuel: 0,
        digest: Hash::default(),
    }
}

fn called(number: u64, amount: i64, (from, to): (u64, u64), total: i64, position: u64) -> Called {
    let name = Some(OperationName { session: SessionId(1), number: OperationNumber(number) });
    let operation = Count::Add(amount);
    let call = Call { client: "w".to_owned(), operation, called: from, answered: Some((to, total)) };
    Called { key: 0, call, name, position: Some(Sequence(position)) }
}

fn look(term: u64, role: Role, (last, committed, applied): (u64, u64, u64)) -> Look {
    Look { at: 1, replica: ReplicaId(1), life: 1, role, term, last, committed, applied }
}

/// Two additions, one read, nothing wrong.
fn good() -> Seen {
    let mut seen = Seen::default();
    for (sequence, number, amount, total) in [(1, 1, 5, 5), (2, 2, 7, 12)] {
        seen.history.insert(Sequence(sequence), transition(sequence, number, amount, total));
    }
    seen.calls = vec![called(1, 5, (1, 2), 5, 1), called(2, 7, (3, 4), 12, 2)];
    seen.older_reads = vec![OlderRead { key: 0, at_least: Sequence(1), position: Sequence(1), value: 5 }];
    seen.looks = vec![look(1, Role::Leader, (9, 8, 8)), look(2, Role::Leader, (9, 9, 9))];
    seen
}

fn complaints(spoil: impl FnOnce(&mut Seen)) -> usize {
    let mut seen = good();
    spoil(&mut seen);
    check(&seen).0.len()
}

#[test]
fn nothing_is_said_of_a_run_in_which_nothing_was_wrong() {
    let (violations, checked) = check(&good());
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!((checked.answers, checked.searched), (2, 1));
}

#[test]
fn an_acknowledged_operation_that_is_not_in_the_history_is_found() {
    assert!(complaints(|seen| drop(seen.history.remove(&Sequence(2)))) > 0);
    assert!(complaints(|seen| drop(seen.history.insert(Sequence(2), transition(2, 3, 7, 12)))) > 0);
}

#[test]
fn an_operation_that_happened_twice_and_a_gap_are_found() {
    let twice = |seen: &mut Seen| drop(seen.history.insert(Sequence(3), transition(3, 2, 7, 19)));
    assert!(complaints(twice) > 0);
    let gap = |seen: &mut Seen| drop(seen.history.insert(Sequence(4), transition(4, 3, 1, 13)));
    assert!(complaints(gap) > 0);
}

#[test]
fn a_wrong_sum_is_found() {
    let wrong = |seen: &mut Seen| drop(seen.history.insert(Sequence(3), transition(3, 3, 1, 14)));
    assert!(complaints(wrong) > 0);
}

#[test]
fn a_leader_without_what_was_committed_is_found() {
    // Another replica, so that it did not go back itself.
    let elected = |last| Look { replica: ReplicaId(2), ..look(3, Role::Leader, (last, 8, 8)) };
    assert_eq!(complaints(|seen| seen.looks.push(elected(8))), 1);
    assert_eq!(complaints(|seen| seen.looks.push(elected(9))), 0);
}

#[test]
fn a_replica_that_goes_back_is_found() {
    assert!(complaints(|seen| seen.looks.push(look(1, Role::Follower, (9, 9, 9)))) > 0);
    assert!(complaints(|seen| seen.looks.push(look(2, Role::Follower, (9, 9, 7)))) > 0);
    let reborn = |seen: &mut Seen| seen.looks.push(Look { life: 2, ..look(2, Role::Follower, (9, 5, 5)) });
    assert_eq!(complaints(reborn), 0, "after a power cut it may know less of what is committed");
}

#[test]
fn a_read_that_is_too_old_or_of_no_moment_is_found() {
    assert!(complaints(|seen| seen.older_reads[0].at_least = Sequence(2)) > 0);
    assert!(complaints(|seen| seen.older_reads[0].value = 6) > 0);
}

#[test]
fn a_stale_linearizable_read_is_found_twice() {
    let stale = |seen: &mut Seen| {
        let call =
            Call { client: "r".to_owned(), operation: Count::Read, called: 9, answered: Some((10, 5)) };
        seen.calls.push(Called { key: 0, call, name: None, position: Some(Sequence(1)) });
    };
    assert_eq!(complaints(stale), 1, "by its position");
    let lying = |seen: &mut Seen| {
        let call =
            Call { client: "r".to_owned(), operation: Count::Read, called: 9, answered: Some((10, 5)) };
        seen.calls.push(Called { key: 0, call, name: None, position: Some(Sequence(2)) });
    };
    assert_eq!(complaints(lying), 1, "whatever it says of its position");
}
