//! The log in memory.

use super::journal::{Apply, Journal};
use crate::port::{OnDurable, StoreError, Wal, WalCounters, WalEntry, WalState};
use crate::rules::{check_follows, take_bounded};
use althing_core::ids::CommunityId;
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, MutexGuard},
};
use tokio::sync::Notify;

/// The logs of all groups.
pub(super) struct MemoryWal {
    inner: Mutex<Inner>,
    /// Somebody waits for an fsync.
    written: Notify,
}

struct Inner {
    journal: Journal<Logs, Change>,
    waiting: Vec<OnDurable>,
    counters: WalCounters,
    closed: bool,
}

#[derive(Clone, Default)]
struct Logs(BTreeMap<CommunityId, Log>);

#[derive(Clone, Default)]
struct Log {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
    entries: BTreeMap<u64, Bytes>,
}

enum Change {
    Append(CommunityId, Vec<WalEntry>),
    Vote(CommunityId, Bytes),
    Committed(CommunityId, Option<Bytes>),
    Truncate(CommunityId, u64),
    Purge(CommunityId, u64, Bytes),
    Remove(CommunityId),
}

impl MemoryWal {
    pub(super) fn new() -> Self {
        Self::of(Journal::immediate())
    }

    pub(super) fn unsynced() -> Self {
        Self::of(Journal::unsynced())
    }

    fn of(journal: Journal<Logs, Change>) -> Self {
        let counters = WalCounters::default();
        let inner = Inner { journal, waiting: Vec::new(), counters, closed: false };
        Self { inner: Mutex::new(inner), written: Notify::new() }
    }

    pub(super) fn sync(&self) {
        let waiting = self.inner().sync();
        waiting.into_iter().for_each(|on_durable| on_durable(Ok(())));
    }

    pub(super) fn crash(&self, reached: usize) -> Self {
        let (left, waiting) = {
            let mut inner = self.inner();
            inner.closed = true;
            (Self::of(inner.journal.after_crash(reached)), std::mem::take(&mut inner.waiting))
        };
        waiting.into_iter().for_each(|on_durable| on_durable(Err(StoreError::Closed)));
        left
    }

    pub(super) async fn written(&self) {
        self.written.notified().await;
    }

    /// An empty log of the same kind.
    pub(super) fn begun_again(&self) -> Self {
        if self.inner().journal.is_immediate() { Self::new() } else { Self::unsynced() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the log")
    }

    fn open(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.inner();
        if inner.closed { Err(StoreError::Closed) } else { Ok(inner) }
    }

    /// Makes a change that is durable on return, as is everything before it.
    fn write_through(&self, change: Change) -> Result<(), StoreError> {
        let waiting = {
            let mut inner = self.open()?;
            inner.journal.write(change);
            if inner.journal.is_immediate() {
                inner.counters.commits += 1;
            }
            inner.sync()
        };
        waiting.into_iter().for_each(|on_durable| on_durable(Ok(())));
        Ok(())
    }
}

impl Inner {
    fn append(&mut self, group: CommunityId, entries: Vec<WalEntry>) -> Result<(), StoreError> {
        let log = self.journal.live().0.get(&group);
        check_follows(group, log.and_then(Log::last_or_purged), &entries)?;
        self.counters.entries += entries.len() as u64;
        self.counters.bytes += entries.iter().map(|entry| entry.body.len() as u64).sum::<u64>();
        self.counters.commits += u64::from(self.journal.is_immediate());
        self.journal.write(Change::Append(group, entries));
        Ok(())
    }

    fn sync(&mut self) -> Vec<OnDurable> {
        self.counters.commits += u64::from(self.journal.sync());
        std::mem::take(&mut self.waiting)
    }
}

impl Log {
    fn is_empty(&self) -> bool {
        self.vote.is_none() && self.committed.is_none() && self.purged.is_none() && self.entries.is_empty()
    }

    fn last_or_purged(&self) -> Option<u64> {
        let last = self.entries.last_key_value().map(|(index, _)| *index);
        last.or(self.purged.as_ref().map(|(index, _)| *index))
    }
}

impl Apply<Change> for Logs {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Append(group, entries) => {
                let entries = entries.iter().map(|entry| (entry.index, entry.body.clone()));
                self.log(*group).entries.extend(entries);
            }
            Change::Vote(group, vote) => self.log(*group).vote = Some(vote.clone()),
            Change::Committed(group, committed) => self.log(*group).committed = committed.clone(),
            Change::Truncate(group, from) => drop(self.log(*group).entries.split_off(from)),
            Change::Purge(group, upto, record) => {
                let log = self.log(*group);
                if log.purged.as_ref().is_some_and(|(purged, _)| purged >= upto) {
                    return;
                }
                log.entries = log.entries.split_off(&upto.saturating_add(1));
                log.purged = Some((*upto, record.clone()));
            }
            Change::Remove(group) => drop(self.0.remove(group)),
        }
    }
}

impl Logs {
    fn log(&mut self, group: CommunityId) -> &mut Log {
        self.0.entry(group).or_default()
    }
}

#[async_trait]
impl Wal for MemoryWal {
    async fn state(&self, group: CommunityId) -> Result<WalState, StoreError> {
        let inner = self.open()?;
        let Some(log) = inner.journal.live().0.get(&group) else { return Ok(WalState::default()) };
        let first = log.entries.first_key_value().map(|(index, _)| *index);
        let last = log.entries.last_key_value().map(|(index, _)| *index);
        Ok(WalState {
            vote: log.vote.clone(),
            committed: log.committed.clone(),
            purged: log.purged.clone(),
            held: first.zip(last),
        })
    }

    async fn read(
        &self,
        group: CommunityId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<WalEntry>, StoreError> {
        let inner = self.open()?;
        let Some(log) = inner.journal.live().0.get(&group) else { return Ok(Vec::new()) };
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let entries = log.entries.range(range);
        let entries = entries.map(|(index, body)| WalEntry { index: *index, body: body.clone() });
        Ok(take_bounded(entries, bytes_max, |entry| entry.body.len()))
    }

    async fn append(
        &self,
        group: CommunityId,
        entries: Vec<WalEntry>,
        on_durable: OnDurable,
    ) -> Result<(), StoreError> {
        let appended = self.open().and_then(|mut inner| inner.append(group, entries).map(|()| inner));
        match appended {
            Ok(inner) if inner.journal.is_immediate() => {
                drop(inner);
                on_durable(Ok(()));
                Ok(())
            }
            Ok(mut inner) => {
                inner.waiting.push(on_durable);
                self.written.notify_one();
                Ok(())
            }
            Err(error) => {
                on_durable(Err(StoreError::Closed));
                Err(error)
            }
        }
    }

    async fn save_vote(&self, group: CommunityId, vote: Bytes) -> Result<(), StoreError> {
        self.write_through(Change::Vote(group, vote))
    }

    async fn save_committed(&self, group: CommunityId, committed: Option<Bytes>) -> Result<(), StoreError> {
        self.open()?.journal.write(Change::Committed(group, committed));
        Ok(())
    }

    async fn truncate(&self, group: CommunityId, from: u64) -> Result<(), StoreError> {
        self.write_through(Change::Truncate(group, from))
    }

    async fn purge(&self, group: CommunityId, upto: u64, record: Bytes) -> Result<(), StoreError> {
        self.write_through(Change::Purge(group, upto, record))
    }

    async fn remove_group(&self, group: CommunityId) -> Result<(), StoreError> {
        self.write_through(Change::Remove(group))
    }

    async fn groups(&self) -> Result<Vec<CommunityId>, StoreError> {
        let inner = self.open()?;
        let logs = inner.journal.live().0.iter();
        Ok(logs.filter(|(_, log)| !log.is_empty()).map(|(group, _)| *group).collect())
    }

    fn counters(&self) -> WalCounters {
        self.inner().counters
    }

    async fn close(&self) {
        self.sync();
        self.inner().closed = true;
    }
}
