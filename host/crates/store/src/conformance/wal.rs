//! What every [`Wal`] must do.

use super::{Subject, cases};
use crate::port::{StoreError, Wal, WalEntry, WalState};
use althing_core::ids::CommunityId;
use bytes::Bytes;
use std::{
    ops::Range,
    sync::{Arc, Mutex},
};
use tokio::sync::oneshot;

const A: CommunityId = CommunityId(1);
const B: CommunityId = CommunityId(u64::MAX);
const OK: &str = "a healthy store does what it is asked";

/// Runs every case on a store of its own that `make` gives.
pub async fn wal_suite<S: Subject, F: Future<Output = S>>(make: impl Fn() -> F) {
    cases!(make =>
        an_unknown_group_has_nothing,
        what_is_appended_is_readable_at_once_and_stays,
        callbacks_come_in_the_order_of_the_calls,
        a_read_is_bounded_by_bytes_but_gives_one_entry,
        a_truncation_inside_what_was_written_at_once,
        entries_truncated_and_written_anew_are_the_new_ones,
        a_purge_inside_what_was_written_at_once,
        a_purge_beyond_the_end_moves_the_log_on,
        a_lower_purge_changes_nothing,
        a_truncation_below_what_is_purged_empties_the_log,
        votes_are_durable_on_return,
        committed_may_be_older_but_never_newer,
        a_removed_group_is_forgotten_and_may_come_back,
        groups_do_not_mix,
        an_append_that_does_not_follow_is_refused_and_its_caller_told,
        an_append_of_nothing_is_told,
        counters_count_entries_and_no_more_commits_than_calls,
        a_closed_log_refuses_everything,
    );
}

fn body(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

fn entries(range: Range<u64>, text: &str) -> Vec<WalEntry> {
    range.map(|index| WalEntry { index, body: body(&format!("{text} {index}")) }).collect()
}

/// Appends without waiting for durability.
async fn append(
    wal: &dyn Wal,
    group: CommunityId,
    entries: Vec<WalEntry>,
) -> oneshot::Receiver<Result<(), StoreError>> {
    let (told, durable) = oneshot::channel();
    let on_durable = Box::new(move |result| drop(told.send(result)));
    wal.append(group, entries, on_durable).await.expect(OK);
    durable
}

/// Appends, and waits until it is durable.
async fn write(subject: &impl Subject, group: CommunityId, entries: Vec<WalEntry>) {
    let durable = append(&*subject.store().wal, group, entries).await;
    subject.settle().await;
    durable.await.expect("every append is told").expect(OK);
}

async fn read(subject: &impl Subject, group: CommunityId, range: Range<u64>) -> Vec<WalEntry> {
    subject.store().wal.read(group, range, usize::MAX).await.expect(OK)
}

async fn state(subject: &impl Subject, group: CommunityId) -> WalState {
    subject.store().wal.state(group).await.expect(OK)
}

async fn an_unknown_group_has_nothing(subject: &mut impl Subject) {
    assert_eq!(state(subject, A).await, WalState::default());
    assert_eq!(read(subject, A, 0..10).await, []);
    subject.store().wal.truncate(A, 3).await.expect(OK);
    assert_eq!(subject.store().wal.groups().await.expect(OK), []);
}

async fn what_is_appended_is_readable_at_once_and_stays(subject: &mut impl Subject) {
    let durable = append(&*subject.store().wal, A, entries(0..3, "a")).await;
    assert_eq!(read(subject, A, 0..9).await, entries(0..3, "a"));
    assert_eq!(read(subject, A, 1..2).await, entries(1..2, "a"));
    assert_eq!(state(subject, A).await.held, Some((0, 2)));
    subject.settle().await;
    durable.await.expect("every append is told").expect(OK);
    write(subject, A, entries(3..5, "a")).await;
    subject.reopen().await;
    assert_eq!(read(subject, A, 0..9).await, entries(0..5, "a"));
    assert_eq!(read(subject, A, 2..4).await, entries(2..4, "a"));
    assert_eq!(read(subject, A, 4..4).await, []);
    assert_eq!(read(subject, A, 5..u64::MAX).await, []);
    assert_eq!(state(subject, A).await.held, Some((0, 4)));
    write(subject, A, entries(5..6, "a")).await;
    assert_eq!(read(subject, A, 0..u64::MAX).await, entries(0..6, "a"));
}

async fn callbacks_come_in_the_order_of_the_calls(subject: &mut impl Subject) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let (last, done) = oneshot::channel();
    let mut last = Some(last);
    for call in 0..40_u64 {
        let (order, last) = (order.clone(), if call == 39 { last.take() } else { None });
        let on_durable = Box::new(move |result: Result<(), StoreError>| {
            result.expect(OK);
            order.lock().expect("no other panics").push(call);
            let _ = last.map(|last| last.send(()));
        });
        let group = if call % 2 == 0 { A } else { B };
        let entries = entries(call / 2..call / 2 + 1, "x");
        subject.store().wal.append(group, entries, on_durable).await.expect(OK);
    }
    subject.settle().await;
    done.await.expect("every append is told");
    assert_eq!(*order.lock().expect("no other panics"), (0..40).collect::<Vec<_>>());
}

async fn a_read_is_bounded_by_bytes_but_gives_one_entry(subject: &mut impl Subject) {
    let ten_bytes = |index| WalEntry { index, body: Bytes::from(vec![b'x'; 10]) };
    write(subject, A, (0..4).map(ten_bytes).collect()).await;
    write(subject, A, (4..8).map(ten_bytes).collect()).await;
    for _ in 0..2 {
        let wal = subject.store().wal;
        for (bytes_max, expected) in [(0, 1), (9, 1), (10, 1), (19, 1), (20, 2), (50, 5), (79, 7), (80, 8)] {
            let entries = wal.read(A, 0..8, bytes_max).await.expect(OK);
            assert_eq!(entries, (0..expected).map(ten_bytes).collect::<Vec<_>>(), "{bytes_max} bytes");
        }
        subject.reopen().await;
    }
}

async fn a_truncation_inside_what_was_written_at_once(subject: &mut impl Subject) {
    write(subject, A, entries(1..10, "a")).await;
    write(subject, A, entries(10..12, "a")).await;
    subject.store().wal.truncate(A, 6).await.expect(OK);
    for _ in 0..2 {
        assert_eq!(state(subject, A).await.held, Some((1, 5)));
        assert_eq!(read(subject, A, 0..99).await, entries(1..6, "a"));
        subject.reopen().await;
    }
    subject.store().wal.truncate(A, 1).await.expect(OK);
    for _ in 0..2 {
        assert_eq!(state(subject, A).await.held, None);
        subject.reopen().await;
    }
    write(subject, A, entries(1..2, "b")).await;
    subject.reopen().await;
    assert_eq!(read(subject, A, 0..99).await, entries(1..2, "b"));
}

async fn entries_truncated_and_written_anew_are_the_new_ones(subject: &mut impl Subject) {
    write(subject, A, entries(1..10, "old")).await;
    let unwritten = append(&*subject.store().wal, A, entries(10..14, "old")).await;
    subject.store().wal.truncate(A, 12).await.expect(OK);
    unwritten.await.expect("every append is told").expect(OK);
    subject.store().wal.truncate(A, 4).await.expect(OK);
    write(subject, A, entries(4..8, "new")).await;
    for _ in 0..2 {
        let expected = [entries(1..4, "old"), entries(4..8, "new")].concat();
        assert_eq!(read(subject, A, 0..99).await, expected);
        subject.reopen().await;
    }
}

async fn a_purge_inside_what_was_written_at_once(subject: &mut impl Subject) {
    write(subject, A, entries(1..10, "a")).await;
    write(subject, A, entries(10..15, "a")).await;
    for (upto, record) in [(4, "four"), (11, "eleven")] {
        subject.store().wal.purge(A, upto, body(record)).await.expect(OK);
        for _ in 0..2 {
            let state = state(subject, A).await;
            assert_eq!((state.held, state.purged), (Some((upto + 1, 14)), Some((upto, body(record)))));
            assert_eq!(read(subject, A, 0..99).await, entries(upto + 1..15, "a"));
            assert_eq!(read(subject, A, 1..upto + 1).await, []);
            subject.reopen().await;
        }
    }
}

async fn a_purge_beyond_the_end_moves_the_log_on(subject: &mut impl Subject) {
    write(subject, A, entries(1..4, "a")).await;
    subject.store().wal.purge(A, 100, body("far")).await.expect(OK);
    for _ in 0..2 {
        let state = state(subject, A).await;
        assert_eq!((state.held, state.purged), (None, Some((100, body("far")))));
        subject.reopen().await;
    }
    write(subject, A, entries(101..103, "b")).await;
    subject.reopen().await;
    assert_eq!(read(subject, A, 0..u64::MAX).await, entries(101..103, "b"));
    subject.store().wal.purge(A, 102, body("end")).await.expect(OK);
    write(subject, A, entries(103..104, "c")).await;
    subject.reopen().await;
    assert_eq!(read(subject, A, 0..u64::MAX).await, entries(103..104, "c"));
}

async fn a_lower_purge_changes_nothing(subject: &mut impl Subject) {
    write(subject, A, entries(1..10, "a")).await;
    subject.store().wal.purge(A, 5, body("five")).await.expect(OK);
    for (upto, record) in [(5, "again"), (3, "lower")] {
        subject.store().wal.purge(A, upto, body(record)).await.expect(OK);
        for _ in 0..2 {
            let state = state(subject, A).await;
            assert_eq!((state.held, state.purged), (Some((6, 9)), Some((5, body("five")))));
            subject.reopen().await;
        }
    }
}

async fn a_truncation_below_what_is_purged_empties_the_log(subject: &mut impl Subject) {
    write(subject, A, entries(1..10, "a")).await;
    subject.store().wal.purge(A, 5, body("five")).await.expect(OK);
    subject.store().wal.truncate(A, 3).await.expect(OK);
    for _ in 0..2 {
        assert_eq!(state(subject, A).await.held, None);
        assert_eq!(read(subject, A, 0..99).await, []);
        subject.reopen().await;
    }
    write(subject, A, entries(6..8, "b")).await;
    for _ in 0..2 {
        assert_eq!(read(subject, A, 0..99).await, entries(6..8, "b"));
        subject.reopen().await;
    }
}

async fn votes_are_durable_on_return(subject: &mut impl Subject) {
    for vote in ["first", "second", ""] {
        subject.store().wal.save_vote(A, body(vote)).await.expect(OK);
        subject.reopen().await;
        assert_eq!(state(subject, A).await, WalState { vote: Some(body(vote)), ..WalState::default() });
    }
    assert_eq!(subject.store().wal.groups().await.expect(OK), [A]);
}

async fn committed_may_be_older_but_never_newer(subject: &mut impl Subject) {
    let wal = subject.store().wal;
    write(subject, A, entries(1..2, "a")).await;
    wal.save_committed(A, Some(body("one"))).await.expect(OK);
    assert_eq!(state(subject, A).await.committed, Some(body("one")));
    wal.save_vote(B, body("an fsync for any group")).await.expect(OK);
    wal.save_committed(A, Some(body("two"))).await.expect(OK);
    assert_eq!(state(subject, A).await.committed, Some(body("two")));
    subject.reopen().await;
    let found = state(subject, A).await.committed;
    assert!([Some(body("one")), Some(body("two"))].contains(&found), "{found:?}");
    let wal = subject.store().wal;
    wal.save_committed(A, None).await.expect(OK);
    wal.save_vote(A, body("vote")).await.expect(OK);
    subject.reopen().await;
    assert_eq!(state(subject, A).await.committed, None);
}

async fn a_removed_group_is_forgotten_and_may_come_back(subject: &mut impl Subject) {
    let wal = subject.store().wal;
    for group in [A, B] {
        write(subject, group, entries(1..5, "old")).await;
        wal.save_vote(group, body("vote")).await.expect(OK);
        wal.save_committed(group, Some(body("committed"))).await.expect(OK);
        wal.purge(group, 2, body("purged")).await.expect(OK);
    }
    wal.remove_group(A).await.expect(OK);
    for _ in 0..2 {
        assert_eq!(state(subject, A).await, WalState::default());
        assert_eq!(read(subject, A, 0..9).await, []);
        assert_eq!(subject.store().wal.groups().await.expect(OK), [B]);
        assert_eq!(read(subject, B, 0..9).await, entries(3..5, "old"));
        subject.reopen().await;
    }
    write(subject, A, entries(0..2, "new")).await;
    subject.reopen().await;
    assert_eq!(read(subject, A, 0..9).await, entries(0..2, "new"));
    assert_eq!(state(subject, A).await.vote, None);
}

async fn groups_do_not_mix(subject: &mut impl Subject) {
    let wal = subject.store().wal;
    let mut waiting = Vec::new();
    for index in 0..30 {
        for group in 0..10 {
            let entries = entries(index..index + 1, &format!("group {group}"));
            waiting.push(append(&*wal, CommunityId(group), entries).await);
        }
    }
    wal.truncate(CommunityId(3), 10).await.expect(OK);
    wal.purge(CommunityId(4), 20, body("p")).await.expect(OK);
    subject.settle().await;
    for durable in waiting {
        durable.await.expect("every append is told").expect(OK);
    }
    for _ in 0..2 {
        for group in 0..10 {
            let range = match group {
                3 => 0..10,
                4 => 21..30,
                _ => 0..30,
            };
            let expected = entries(range, &format!("group {group}"));
            assert_eq!(read(subject, CommunityId(group), 0..99).await, expected);
        }
        subject.reopen().await;
    }
}

async fn an_append_that_does_not_follow_is_refused_and_its_caller_told(subject: &mut impl Subject) {
    write(subject, A, entries(1..4, "a")).await;
    let gap = [entries(4..5, "a"), entries(6..7, "a")].concat();
    for wrong in [entries(3..5, "a"), entries(5..6, "a"), gap] {
        let (told, durable) = oneshot::channel();
        let on_durable = Box::new(move |result| drop(told.send(result)));
        assert!(subject.store().wal.append(A, wrong, on_durable).await.is_err());
        durable.await.expect("every append is told").expect_err("nothing was appended");
    }
    subject.settle().await;
    for _ in 0..2 {
        assert_eq!(read(subject, A, 0..9).await, entries(1..4, "a"));
        subject.reopen().await;
    }
}

async fn an_append_of_nothing_is_told(subject: &mut impl Subject) {
    write(subject, A, Vec::new()).await;
    assert_eq!(state(subject, A).await, WalState::default());
}

async fn counters_count_entries_and_no_more_commits_than_calls(subject: &mut impl Subject) {
    let wal = subject.store().wal;
    assert_eq!(wal.counters().entries, 0);
    let mut waiting = Vec::new();
    for index in 0..50 {
        let entry = WalEntry { index, body: Bytes::from_static(b"four") };
        waiting.push(append(&*wal, A, vec![entry]).await);
        wal.save_committed(A, Some(body("c"))).await.expect(OK);
    }
    subject.settle().await;
    for durable in waiting {
        durable.await.expect("every append is told").expect(OK);
    }
    let counters = wal.counters();
    assert_eq!((counters.entries, counters.bytes), (50, 200));
    assert!((1..=50).contains(&counters.commits), "{counters:?}");
}

async fn a_closed_log_refuses_everything(subject: &mut impl Subject) {
    write(subject, A, entries(1..4, "a")).await;
    let wal = subject.store().wal;
    wal.save_committed(A, Some(body("last"))).await.expect(OK);
    wal.close().await;
    wal.close().await;
    let (told, durable) = oneshot::channel();
    let on_durable = Box::new(move |result| drop(told.send(result)));
    assert!(matches!(wal.append(A, entries(4..5, "a"), on_durable).await, Err(StoreError::Closed)));
    assert!(matches!(durable.await.expect("every append is told"), Err(StoreError::Closed)));
    assert!(matches!(wal.state(A).await, Err(StoreError::Closed)));
    assert!(matches!(wal.read(A, 1..2, 9).await, Err(StoreError::Closed)));
    assert!(matches!(wal.save_vote(A, body("v")).await, Err(StoreError::Closed)));
    assert!(matches!(wal.save_committed(A, None).await, Err(StoreError::Closed)));
    assert!(matches!(wal.truncate(A, 1).await, Err(StoreError::Closed)));
    assert!(matches!(wal.purge(A, 1, body("p")).await, Err(StoreError::Closed)));
    assert!(matches!(wal.remove_group(A).await, Err(StoreError::Closed)));
    assert!(matches!(wal.groups().await, Err(StoreError::Closed)));
    subject.reopen().await;
    assert_eq!(read(subject, A, 0..9).await, entries(1..4, "a"));
    assert_eq!(state(subject, A).await.committed, Some(body("last")));
}
