//! Timers: fire at one place of the history, in order, bounded, once.

use crate::stage::{Stage, accepted, append, b, done, operation, schedule, set, submit};
use althing_core::{
    batch::Command,
    ids::SessionId,
    limits,
    machine::Applied,
    policy::Policy,
    testing::{Step, manifest},
    time::Timestamp,
    transition::{Cause, Outcome, Trap, TrapKind},
};

/// The ids of the timers that fired, in order.
fn fired(applied: &Applied) -> Vec<String> {
    let ids = applied.transitions.iter().filter_map(|transition| match &transition.cause {
        Cause::Timer { id, .. } => Some(String::from_utf8_lossy(id).into_owned()),
        _ => None,
    });
    ids.collect()
}

fn with_timers(steps: &[Step]) -> (Stage, SessionId) {
    let mut stage = Stage::new();
    let session = stage.open();
    accepted(&stage.one(submit(session, 1, steps)));
    (stage, session)
}

#[test]
fn timers_fire_by_time_and_id_before_the_commands_each_with_a_sequence() {
    let (mut stage, session) = with_timers(&[
        schedule("b", 2000, &[append("k", "b")]),
        schedule("c", 1500, &[append("k", "c")]),
        schedule("a", 2000, &[append("k", "a")]),
        schedule("later", 2001, &[append("k", "!")]),
    ]);
    assert_eq!(stage.machine.next_timer(), Some(Timestamp::new(1500, 0)));
    assert_eq!(fired(&stage.pass(1499)), [""; 0]);
    stage.millis = 2000;
    let applied = stage.apply(vec![submit(session, 2, &[append("k", "-")])]);
    assert_eq!(fired(&applied), ["c", "a", "b"]);
    assert_eq!(applied.transitions.len(), 4);
    assert_eq!(stage.value("k").unwrap(), "cab-");
    assert_eq!(stage.machine.next_timer(), Some(Timestamp::new(2001, 0)));
    assert_eq!(fired(&stage.pass(2001)), ["later"]);
    assert_eq!(stage.machine.next_timer(), None);
}

#[test]
fn a_timer_set_again_is_replaced() {
    let (mut stage, session) = with_timers(&[schedule("t", 2000, &[append("k", "old")])]);
    accepted(&stage.one(submit(session, 2, &[schedule("t", 3000, &[append("k", "new")])])));
    assert_eq!(fired(&stage.pass(2999)), [""; 0]);
    assert_eq!(fired(&stage.pass(3000)), ["t"]);
    assert_eq!(stage.value("k").unwrap(), "new");
}

#[test]
fn a_cancelled_timer_does_not_fire() {
    let (mut stage, session) = with_timers(&[schedule("t", 2000, &[])]);
    assert_eq!(accepted(&stage.one(submit(session, 2, &[Step::Cancel(b("t"))]))), "true");
    assert_eq!(accepted(&stage.one(submit(session, 3, &[Step::Cancel(b("t"))]))), "false");
    let both = [schedule("u", 2000, &[]), Step::Cancel(b("u"))];
    assert_eq!(accepted(&stage.one(submit(session, 4, &both))), "true");
    assert_eq!(fired(&stage.pass(5000)), [""; 0]);
}

#[test]
fn a_timer_is_consumed_whatever_comes_of_its_call() {
    let (mut stage, _) = with_timers(&[
        schedule("reject", 2000, &[set("k", "1"), Step::Reject("no".into(), "no".into())]),
        schedule(
            "trap",
            2000,
            &[set("k", "2"), schedule("trap", 9000, &[]), Step::Trap(TrapKind::Wasm, "".into())],
        ),
    ]);
    let applied = stage.pass(2000);
    assert_eq!(fired(&applied), ["reject", "trap"]);
    assert!(matches!(applied.transitions[0].outcome, Outcome::Rejected(_)));
    assert!(matches!(applied.transitions[1].outcome, Outcome::Trapped(_)));
    assert_eq!((stage.value("k"), stage.machine.next_timer()), (None, None));
}

#[test]
fn validators_judge_timers() {
    let forbid = [Step::RejectIfSet(b("x"), "no-x".into())];
    let mut stage = Stage::running(Policy::default(), &manifest("1", &[], &[&forbid]));
    let session = stage.open();
    accepted(&stage.one(submit(session, 1, &[schedule("t", 2000, &[set("x", "1")])])));
    let applied = stage.pass(2000);
    assert!(matches!(&applied.transitions[0].outcome, Outcome::Rejected(no) if no.validator == Some(0)));
    assert_eq!(stage.value("x"), None);
}

#[test]
fn a_timer_that_sets_itself_anew_fires_once_a_batch_even_if_it_is_due_at_once() {
    let inner = [append("k", "2")];
    let (mut stage, _) = with_timers(&[schedule("t", 1500, &[append("k", "1"), schedule("t", 1, &inner)])]);
    assert_eq!(fired(&stage.pass(2000)), ["t"]);
    assert_eq!(stage.value("k").unwrap(), "1");
    assert_eq!(stage.machine.next_timer(), Some(Timestamp::new(1, 0)));
    assert_eq!(fired(&stage.pass(2000)), ["t"]);
    assert_eq!(stage.value("k").unwrap(), "12");
}

#[test]
fn a_timer_cancelled_or_moved_by_one_that_fires_before_it_does_not_fire() {
    let (mut stage, _) = with_timers(&[
        schedule("a", 2000, &[Step::Cancel(b("b")), schedule("c", 3000, &[append("k", "moved")])]),
        schedule("b", 2000, &[append("k", "b")]),
        schedule("c", 2000, &[append("k", "c")]),
    ]);
    assert_eq!(fired(&stage.pass(2000)), ["a"]);
    assert_eq!(fired(&stage.pass(3000)), ["c"]);
    assert_eq!(stage.value("k").unwrap(), "moved");
}

#[test]
fn only_so_many_timers_fire_in_one_batch_and_the_others_in_the_next() {
    let mut stage = Stage::new();
    let session = stage.open();
    let max = limits::TIMERS_PER_BATCH_MAX;
    let all: Vec<_> = (0..max + 5).map(|n| schedule(&format!("{n:04}"), 2000, &[])).collect();
    for (number, part) in all.chunks(200).enumerate() {
        accepted(&stage.one(submit(session, number as u64 + 1, part)));
    }
    assert_eq!(fired(&stage.pass(2000)).len(), max as usize);
    assert_eq!(fired(&stage.pass(2000)), ["0256", "0257", "0258", "0259", "0260"]);
}

#[test]
fn timers_wait_when_the_batchs_fuel_is_used_up() {
    let mut policy = Policy::default();
    policy.quotas.operation_fuel = 10;
    policy.quotas.batch_fuel = 15;
    let mut stage = Stage::running(policy, &manifest("1", &[], &[]));
    let session = stage.open();
    let burn = [Step::Burn(9)];
    let set = [schedule("a", 2000, &burn), schedule("b", 2000, &burn), schedule("c", 2000, &burn)];
    accepted(&stage.one(submit(session, 1, &set)));
    assert_eq!(fired(&stage.pass(2000)), ["a"]);
    assert_eq!(fired(&stage.pass(2000)), ["b"]);
    assert_eq!(fired(&stage.pass(2000)), ["c"]);
}

#[test]
fn the_communitys_quota_of_timers_counts_all_of_them_and_never_hinders_fewer() {
    let mut policy = Policy::default();
    policy.quotas.timers = 2;
    let mut stage = Stage::running(policy, &manifest("1", &[], &[]));
    let session = stage.open();
    let two = [schedule("a", 2000, &[schedule("a", 9000, &[])]), schedule("b", 2000, &[])];
    accepted(&stage.one(submit(session, 1, &two)));
    let outcome = done(&stage.one(submit(session, 2, &[schedule("c", 2000, &[])]))).outcome;
    let message = "quota timers: 3 asked, 2 allowed".into();
    assert_eq!(outcome, Outcome::Trapped(Trap { kind: TrapKind::Quota, message, validator: None }));
    accepted(&stage.one(submit(session, 3, &[Step::Cancel(b("b")), schedule("c", 2000, &[])])));
    accepted(&stage.one(submit(session, 4, &[schedule("c", 3000, &[])])));
    let mut tighter = stage.machine.policy().clone();
    tighter.quotas.timers = 0;
    done(&stage.one(Command::SetPolicy(Box::new(tighter))));
    assert_eq!(
        accepted(&stage.one(Command::Operation(operation(session, 5, &[Step::Cancel(b("c"))])))),
        "true"
    );
    let applied = stage.pass(2000);
    assert_eq!(fired(&applied), ["a"]);
    assert!(matches!(applied.transitions[0].outcome, Outcome::Trapped(_)), "it set itself anew");
    assert_eq!(stage.machine.view().timers(), 0);
}

#[test]
fn what_a_timer_was_set_to_is_in_the_history() {
    let mut stage = Stage::new();
    let session = stage.open();
    let applied = stage.apply(vec![submit(session, 1, &[schedule("t", 2000, &[]), Step::Cancel(b("u"))])]);
    let changes: Vec<_> =
        applied.transitions[0].timers.iter().map(|change| (&change.id[..], change.set.is_some())).collect();
    assert_eq!(changes, [(b"t".as_slice(), true), (b"u".as_slice(), false)]);
}
