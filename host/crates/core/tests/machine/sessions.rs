//! Sessions: executed once, answered again, refused when that cannot be promised.

use crate::stage::{ACTOR, Stage, accepted, actor, append, done, open, operation, refusal, set, submit};
use althing_core::{
    batch::{Command, Operation},
    ids::{OperationNumber, SessionId},
    policy::Policy,
    testing::{Step, manifest, script},
    transition::{NotExecuted, Outcome, Receipt, Reply, TrapKind},
};

fn repeated(reply: &Reply) -> Receipt {
    match reply {
        Reply::Repeated(receipt) => receipt.clone(),
        other => panic!("not repeated: {other:?}"),
    }
}

/// Applies an operation that must change nothing but the time.
fn without_effect(stage: &mut Stage, operation: Operation) -> Reply {
    let before = stage.machine.view();
    let reply = stage.one(Command::Operation(operation));
    let after = stage.machine.view();
    assert_eq!((before.sequence(), before.digest()), (after.sequence(), after.digest()));
    let records = |view: &althing_core::view::View| {
        let pairs = view.state().stored_pairs().filter(|(key, _)| key.as_ref() != b"\0header");
        pairs.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(records(&before), records(&after));
    reply
}

fn with_sessions(ttl_millis: u64, open: u64, window: u64) -> Stage {
    let mut policy = Policy::default();
    policy.sessions.ttl_millis = ttl_millis;
    policy.sessions.open = open;
    policy.sessions.window = window;
    Stage::running(policy, &manifest("1", &[], &[]))
}

#[test]
fn a_retry_returns_the_first_answer_and_executes_nothing() {
    let mut stage = Stage::new();
    let session = stage.open();
    let steps = [append("k", "1"), Step::AnswerWithContext];
    let first = done(&stage.one(submit(session, 1, &steps)));
    stage.pass(9999);
    let retry = operation(session, 1, &steps);
    assert_eq!(repeated(&without_effect(&mut stage, retry)), first);
    assert_eq!(stage.value("k").unwrap(), "1");
}

#[test]
fn a_retry_in_the_same_batch_returns_the_first_answer() {
    let mut stage = Stage::new();
    let session = stage.open();
    let command = submit(session, 1, &[append("k", "1")]);
    let applied = stage.apply(vec![command.clone(), command]);
    assert_eq!(repeated(&applied.replies[1]), done(&applied.replies[0]));
    assert_eq!(applied.transitions.len(), 1);
}

#[test]
fn rejections_and_traps_are_answers_too() {
    let mut stage = Stage::new();
    let session = stage.open();
    let rejected = [Step::Reject("no".into(), "no".into())];
    let trapped = [Step::Trap(TrapKind::Wasm, "no".into())];
    for (number, steps) in [(1, &rejected), (2, &trapped)] {
        let first = done(&stage.one(submit(session, number, steps)));
        assert!(!matches!(first.outcome, Outcome::Accepted { .. }));
        assert_eq!(repeated(&without_effect(&mut stage, operation(session, number, steps))), first);
    }
}

#[test]
fn the_same_number_for_another_payload_is_refused() {
    let mut stage = Stage::new();
    let session = stage.open();
    done(&stage.one(submit(session, 1, &[set("k", "1")])));
    let other = operation(session, 1, &[set("k", "2")]);
    let mismatch = NotExecuted::Mismatch { number: OperationNumber(1) };
    assert_eq!(refusal(&without_effect(&mut stage, other)), mismatch);
}

#[test]
fn a_session_is_its_actors_alone() {
    let mut stage = Stage::new();
    let session = stage.open();
    done(&stage.one(submit(session, 1, &[])));
    let mut stolen = operation(session, 1, &[]);
    stolen.actor = actor("eve");
    assert_eq!(refusal(&without_effect(&mut stage, stolen)), NotExecuted::NoSession { session });
}

#[test]
fn a_session_that_was_never_opened_is_refused() {
    let mut stage = Stage::new();
    let session = SessionId(99);
    let reply = without_effect(&mut stage, operation(session, 1, &[]));
    assert_eq!(refusal(&reply), NotExecuted::NoSession { session });
    let timeless = without_effect(&mut stage, operation(SessionId(0), 1, &[]));
    assert_eq!(refusal(&timeless), NotExecuted::NoSession { session: SessionId(0) });
}

#[test]
fn a_sessions_id_is_the_sequence_of_its_opening() {
    let mut stage = Stage::new();
    let applied = stage.apply(vec![open(ACTOR), open("eve"), submit(SessionId(2), 1, &[])]);
    assert_eq!(done(&applied.replies[0]).sequence.0, 2);
    assert_eq!(done(&applied.replies[1]).sequence.0, 3);
    done(&applied.replies[2]);
}

#[test]
fn numbers_may_come_in_any_order_unless_one_says_after() {
    let mut stage = Stage::new();
    let session = stage.open();
    done(&stage.one(submit(session, 5, &[])));
    done(&stage.one(submit(session, 3, &[])));
    let mut second = operation(session, 2, &[append("k", "2")]);
    second.after = OperationNumber(1);
    let missed = NotExecuted::OutOfOrder { after: OperationNumber(1) };
    assert_eq!(refusal(&without_effect(&mut stage, second.clone())), missed);
    let applied = stage.apply(vec![submit(session, 1, &[append("k", "1")]), Command::Operation(second)]);
    done(&applied.replies[1]);
    assert_eq!(stage.value("k").unwrap(), "12");
    let mut fourth = operation(session, 7, &[]);
    fourth.acknowledged = OperationNumber(3);
    done(&stage.one(Command::Operation(fourth)));
    let mut eighth = operation(session, 8, &[]);
    eighth.after = OperationNumber(2);
    done(&stage.one(Command::Operation(eighth)));
}

#[test]
fn an_operation_that_comes_after_itself_is_out_of_order() {
    let mut stage = Stage::new();
    let session = stage.open();
    let mut own_tail = operation(session, 4, &[]);
    own_tail.after = OperationNumber(4);
    let missed = NotExecuted::OutOfOrder { after: OperationNumber(4) };
    assert_eq!(refusal(&without_effect(&mut stage, own_tail)), missed);
}

#[test]
fn acknowledged_answers_are_forgotten_and_their_numbers_refused() {
    let mut stage = Stage::new();
    let session = stage.open();
    for number in 1..=3 {
        done(&stage.one(submit(session, number, &[])));
    }
    assert_eq!(stage.system_records("session/answer/"), 3);
    let mut fourth = operation(session, 4, &[]);
    fourth.acknowledged = OperationNumber(2);
    done(&stage.one(Command::Operation(fourth)));
    assert_eq!(stage.system_records("session/answer/"), 2);
    for number in [0, 1, 2].map(OperationNumber) {
        let reply = without_effect(&mut stage, operation(session, number.0, &[]));
        assert_eq!(refusal(&reply), NotExecuted::Acknowledged { number });
    }
    repeated(&without_effect(&mut stage, operation(session, 3, &[])));
}

#[test]
fn an_operation_never_acknowledges_its_own_answer() {
    let mut stage = Stage::new();
    let session = stage.open();
    let mut hasty = operation(session, 2, &[]);
    hasty.acknowledged = OperationNumber(9);
    let first = done(&stage.one(Command::Operation(hasty.clone())));
    assert_eq!(repeated(&without_effect(&mut stage, hasty)), first);
    done(&stage.one(submit(session, 3, &[])));
}

#[test]
fn an_acknowledgement_counts_only_when_its_operation_executes() {
    let mut stage = Stage::new();
    let session = stage.open();
    done(&stage.one(submit(session, 1, &[])));
    let mut refused = operation(session, 3, &[]);
    refused.acknowledged = OperationNumber(1);
    refused.after = OperationNumber(2);
    refusal(&without_effect(&mut stage, refused));
    let mut retried = operation(session, 1, &[]);
    retried.acknowledged = OperationNumber(1);
    repeated(&without_effect(&mut stage, retried));
}

#[test]
fn a_full_window_refuses_until_answers_are_acknowledged() {
    let mut stage = with_sessions(10_000, 10, 2);
    let session = stage.open();
    for number in 1..=2 {
        done(&stage.one(submit(session, number, &[])));
    }
    let full = NotExecuted::WindowFull { answers: 2 };
    assert_eq!(refusal(&without_effect(&mut stage, operation(session, 3, &[]))), full);
    repeated(&without_effect(&mut stage, operation(session, 2, &[])));
    let mut third = operation(session, 3, &[]);
    third.acknowledged = OperationNumber(1);
    done(&stage.one(Command::Operation(third)));
    assert_eq!(refusal(&without_effect(&mut stage, operation(session, 4, &[]))), full);
}

#[test]
fn only_so_many_sessions_are_open() {
    let mut stage = with_sessions(10_000, 2, 2);
    stage.open();
    stage.open();
    assert_eq!(refusal(&stage.one(open("eve"))), NotExecuted::TooManySessions { sessions: 2 });
    stage.pass(20_000);
    stage.open();
}

#[test]
fn an_unused_session_expires_and_is_never_executed_again() {
    let mut stage = with_sessions(10_000, 10, 10);
    stage.millis = 1_000;
    let (idle, busy) = (stage.open(), stage.open());
    let opened = stage.machine.time();
    for session in [idle, busy] {
        done(&stage.one(submit(session, 1, &[append("k", "1")])));
    }
    stage.millis = 9_000;
    done(&stage.one(submit(busy, 2, &[])));
    stage.pass(10_999);
    repeated(&without_effect(&mut stage, operation(idle, 1, &[append("k", "1")])));
    assert!(stage.machine.time() < opened.plus_millis(10_000));
    stage.pass(11_001);
    let expired = NotExecuted::NoSession { session: idle };
    assert_eq!(refusal(&stage.one(submit(idle, 1, &[append("k", "1")]))), expired);
    assert_eq!(refusal(&stage.one(submit(idle, 2, &[]))), expired);
    assert_eq!(stage.machine.view().sessions(), 1);
    assert_eq!(stage.system_records("session/answer/"), 2);
    done(&stage.one(submit(busy, 3, &[])));
    assert_eq!(stage.value("k").unwrap(), "11");
    stage.millis = 12_000;
    done(&stage.one(submit(busy, 4, &[])));
    stage.pass(21_999);
    assert_eq!(stage.machine.view().sessions(), 1);
    stage.pass(22_001);
    for prefix in ["session/answer/", "session/id/", "session/look/"] {
        assert_eq!(stage.system_records(prefix), 0, "{prefix}");
    }
}

#[test]
fn an_expired_session_is_refused_even_before_it_is_taken_away() {
    let mut stage = with_sessions(1000, 65_536, 1);
    stage.apply((0..4100).map(|_| open(ACTOR)).collect());
    stage.millis = 60_000;
    let last = SessionId(stage.machine.sequence().0);
    assert_eq!(refusal(&stage.one(submit(last, 1, &[]))), NotExecuted::NoSession { session: last });
    assert_eq!(stage.machine.view().sessions(), 4, "so many are taken away with one batch");
    stage.pass(60_001);
    assert_eq!(stage.machine.view().sessions(), 0);
}

#[test]
fn expired_sessions_are_taken_away_whole_and_so_many_records_a_batch() {
    let mut stage = with_sessions(1000, 10, 4096);
    stage.apply((0..4).map(|_| open(ACTOR)).collect());
    for session in 2..6u64 {
        stage.apply((1..=2000).map(|number| submit(SessionId(session), number, &[])).collect());
    }
    assert_eq!(stage.system_records("session/answer/"), 8000);
    stage.pass(60_000);
    assert_eq!(stage.machine.view().sessions(), 1, "the third is the last that fits");
    assert_eq!(stage.system_records("session/answer/"), 2000);
    stage.pass(60_000);
    assert_eq!(stage.system_records("session/answer/"), 0);
}

#[test]
fn a_repeated_answer_survives_a_snapshot() {
    let mut stage = Stage::new();
    let session = stage.open();
    let first = done(&stage.one(submit(session, 1, &[append("k", "1")])));
    stage.machine = crate::snapshots::through_a_snapshot(&stage.machine);
    let retry = stage.one(submit(session, 1, &[append("k", "1")]));
    assert_eq!(repeated(&retry), first);
    assert_eq!(accepted(&stage.one(submit(session, 2, &[Step::AnswerWith(crate::stage::b("k"))]))), "1");
}

#[test]
fn actor_and_payload_are_told_apart_in_a_request() {
    let mut stage = Stage::new();
    let session = stage.open();
    let payload = script(&[]);
    let first = Operation { payload: payload.clone(), ..operation(session, 1, &[]) };
    done(&stage.one(Command::Operation(first)));
    let longer = [payload.as_ref(), b"x"].concat().into();
    let other = Operation { payload: longer, ..operation(session, 1, &[]) };
    let mismatch = NotExecuted::Mismatch { number: OperationNumber(1) };
    assert_eq!(refusal(&without_effect(&mut stage, other)), mismatch);
}
