//! What a power cut takes from the store in memory, and what it leaves.

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

use althing_core::ids::{CommunityId, Sequence};
use althing_store::{
    memory::MemoryStore,
    port::{HistoryRecord, OnDurable, StoreError, WalEntry},
};
use bytes::Bytes;
use futures::executor::block_on;
use std::sync::{Arc, Mutex};

const GROUP: CommunityId = CommunityId(1);

type Told = Arc<Mutex<Vec<Result<(), StoreError>>>>;

fn tell(told: &Told) -> OnDurable {
    let told = told.clone();
    Box::new(move |result| told.lock().unwrap().push(result))
}

fn entry(index: u64) -> Vec<WalEntry> {
    vec![WalEntry { index, body: Bytes::from(index.to_string()) }]
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_tells_who_waits() {
    let (memory, told) = (MemoryStore::with_crash_semantics(), Told::default());
    let wal = memory.store().wal;
    block_on(wal.append(GROUP, entry(1), tell(&told))).unwrap();
    assert_eq!(told.lock().unwrap().len(), 0);
    memory.sync();
    assert!(matches!(told.lock().unwrap()[..], [Ok(())]));
    block_on(wal.append(GROUP, entry(2), tell(&told))).unwrap();
    assert_eq!(block_on(wal.state(GROUP)).unwrap().held, Some((1, 2)), "readable at once");

    let left = memory.crash();

    assert!(matches!(told.lock().unwrap()[..], [Ok(()), Err(StoreError::Closed)]));
    assert!(matches!(block_on(wal.state(GROUP)), Err(StoreError::Closed)));
    let wal = left.store().wal;
    assert_eq!(block_on(wal.read(GROUP, 0..9, 99)).unwrap(), entry(1));
    block_on(wal.append(GROUP, entry(2), tell(&told))).unwrap();
    assert_eq!(told.lock().unwrap().len(), 2, "the store that is left is of the same kind");
}

#[test]
fn a_vote_takes_everything_before_it_to_the_disk() {
    let (memory, told) = (MemoryStore::with_crash_semantics(), Told::default());
    let wal = memory.store().wal;
    block_on(wal.append(GROUP, entry(1), tell(&told))).unwrap();
    block_on(wal.save_committed(GROUP, Some(Bytes::from_static(b"before")))).unwrap();
    block_on(wal.save_vote(GROUP, Bytes::from_static(b"vote"))).unwrap();
    assert!(matches!(told.lock().unwrap()[..], [Ok(())]));
    block_on(wal.save_committed(GROUP, Some(Bytes::from_static(b"after")))).unwrap();

    let state = block_on(memory.crash().store().wal.state(GROUP)).unwrap();

    assert_eq!((state.held, state.vote), (Some((1, 1)), Some(Bytes::from_static(b"vote"))));
    assert_eq!(state.committed, Some(Bytes::from_static(b"before")));
}

#[test]
fn history_is_synced_before_what_follows_it() {
    let memory = MemoryStore::with_crash_semantics();
    let archive = memory.store().archive;
    let record = |sequence| HistoryRecord {
        first: Sequence(sequence),
        last: Sequence(sequence),
        body: Bytes::from_static(b"transitions"),
    };
    block_on(archive.append_history(GROUP, vec![record(1)])).unwrap();
    block_on(archive.put_fact("name", Bytes::new())).unwrap();
    block_on(archive.append_history(GROUP, vec![record(2)])).unwrap();
    assert_eq!(block_on(archive.history_held(GROUP)).unwrap(), Some((Sequence(1), Sequence(2))));

    let archive = memory.crash().store().archive;

    assert_eq!(block_on(archive.history_held(GROUP)).unwrap(), Some((Sequence(1), Sequence(1))));
}

#[test]
fn without_crash_semantics_a_crash_takes_nothing() {
    let (memory, told) = (MemoryStore::new(), Told::default());
    block_on(memory.store().wal.append(GROUP, entry(1), tell(&told))).unwrap();
    assert!(matches!(told.lock().unwrap()[..], [Ok(())]));
    assert_eq!(block_on(memory.crash().store().wal.state(GROUP)).unwrap().held, Some((1, 1)));
}

#[test]
fn a_power_cut_amid_writing_keeps_a_prefix_of_what_was_not_synced() {
    for reached in 0..=4 {
        let (memory, told) = (MemoryStore::with_crash_semantics(), Told::default());
        let wal = memory.store().wal;
        for index in 1..=3 {
            block_on(wal.append(GROUP, entry(index), tell(&told))).unwrap();
        }
        let left = memory.crash_amid(reached, 0).store().wal;
        let held = block_on(left.state(GROUP)).unwrap().held;
        let last = reached.min(3) as u64;
        assert_eq!(held, (last > 0).then_some((1, last)));
        assert!(told.lock().unwrap().iter().all(Result::is_err), "nobody was told that it is durable");
    }
}

#[test]
fn an_imagined_disk_is_told_when_somebody_waits_for_it() {
    let (memory, told) = (MemoryStore::with_crash_semantics(), Told::default());
    let wal = memory.store().wal;
    block_on(wal.append(GROUP, entry(1), tell(&told))).unwrap();
    block_on(memory.written());
    memory.sync();
    assert!(matches!(told.lock().unwrap()[..], [Ok(())]));
}
