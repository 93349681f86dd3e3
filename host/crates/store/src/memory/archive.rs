//! The archive in memory.

use super::journal::{Apply, Journal};
use crate::{
    port::{Archive, ComponentRecord, HistoryRecord, SnapshotRecord, StoreError},
    rules::take_bounded,
};
use althing_core::ids::{CommunityId, Hash, Sequence};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Mutex, MutexGuard},
};

/// Snapshots, chunks, components, history and facts.
pub(super) struct MemoryArchive {
    inner: Mutex<Inner>,
}

struct Inner {
    journal: Journal<Shelves, Change>,
    /// Chunks that somebody counts on and no snapshot names yet. Having no clock, they do not expire.
    pinned: BTreeSet<Hash>,
    closed: bool,
}

#[derive(Clone, Default)]
struct Shelves {
    chunks: BTreeMap<Hash, Bytes>,
    /// Some of the chunks.
    condemned: BTreeSet<Hash>,
    /// Some of the chunks: the disk does not give them back.
    blocked: BTreeSet<Hash>,
    snapshots: BTreeMap<CommunityId, BTreeMap<Sequence, Snapshot>>,
    components: BTreeMap<Hash, Bytes>,
    /// By last sequence.
    history: BTreeMap<CommunityId, BTreeMap<Sequence, HistoryRecord>>,
    facts: BTreeMap<String, Bytes>,
}

#[derive(Clone)]
struct Snapshot {
    record: SnapshotRecord,
    chunks: BTreeSet<Hash>,
    /// Why it stays, if it is pinned.
    pinned: Option<String>,
}

enum Change {
    PutChunks(Vec<(Hash, Bytes)>),
    PutSnapshot(CommunityId, Snapshot),
    DropSnapshots(CommunityId, Vec<Sequence>),
    DropChunks(Vec<Hash>),
    CondemnChunks(Vec<Hash>),
    BlockChunk(Hash),
    PinSnapshot(CommunityId, Sequence, Option<String>),
    DropComponent(Hash),
    PutComponent(Hash, Bytes),
    AppendHistory(CommunityId, Vec<HistoryRecord>),
    PruneHistory(CommunityId, Sequence),
    TruncateHistory(CommunityId, Sequence),
    DropHistory(CommunityId),
    PutFact(String, Bytes),
}

impl MemoryArchive {
    pub(super) fn new() -> Self {
        Self::of(Journal::immediate())
    }

    pub(super) fn unsynced() -> Self {
        Self::of(Journal::unsynced())
    }

    /// What no snapshot names yet belongs to a transfer that goes on.
    fn of(journal: Journal<Shelves, Change>) -> Self {
        let pinned = journal.live().garbage(&BTreeSet::new()).into_iter().collect();
        Self { inner: Mutex::new(Inner { journal, pinned, closed: false }) }
    }

    pub(super) fn sync(&self) {
        self.inner().journal.sync();
    }

    /// Flips a bit of a stored chunk; whether there is one.
    pub(super) fn damage_chunk(&self, hash: Hash) -> bool {
        let mut inner = self.inner();
        let Some(chunk) = inner.shelves().chunks.get(&hash) else { return false };
        let damaged = flipped(chunk);
        inner.write_through(Change::PutChunks(vec![(hash, damaged)]));
        true
    }

    /// From now on a stored chunk cannot be read; whether there is one.
    pub(super) fn block_chunk(&self, hash: Hash) -> bool {
        let mut inner = self.inner();
        let is_here = inner.shelves().chunks.contains_key(&hash);
        if is_here {
            inner.write_through(Change::BlockChunk(hash));
        }
        is_here
    }

    /// Flips a bit of a stored component; whether there is one.
    pub(super) fn damage_component(&self, hash: Hash) -> bool {
        let mut inner = self.inner();
        let Some(component) = inner.shelves().components.get(&hash) else { return false };
        let damaged = flipped(component);
        inner.write_through(Change::PutComponent(hash, damaged));
        true
    }

    pub(super) fn crash(&self, reached: usize) -> Self {
        let mut inner = self.inner();
        inner.closed = true;
        Self::of(inner.journal.after_crash(reached))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the archive")
    }

    fn open(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.inner();
        if inner.closed { Err(StoreError::Closed) } else { Ok(inner) }
    }
}

impl Inner {
    /// Makes a change that is durable on return, as is everything before it.
    fn write_through(&mut self, change: Change) {
        self.journal.write(change);
        self.journal.sync();
    }

    fn shelves(&self) -> &Shelves {
        self.journal.live()
    }

    /// Whether a snapshot is here, and then with another pin.
    fn pin_snapshot(&mut self, community: CommunityId, sequence: Sequence, pin: Option<String>) -> bool {
        let is_here = self.shelves().snapshot(community, sequence).is_some();
        if is_here {
            self.write_through(Change::PinSnapshot(community, sequence, pin));
        }
        is_here
    }

    fn drop_snapshots(&mut self, community: CommunityId, dropped: Vec<Sequence>) {
        self.write_through(Change::DropSnapshots(community, dropped));
        let garbage = self.shelves().garbage(&self.pinned);
        self.write_through(Change::DropChunks(garbage));
    }
}

fn flipped(body: &[u8]) -> Bytes {
    let mut damaged = body.to_vec();
    if let Some(last) = damaged.last_mut() {
        *last ^= 1;
    }
    damaged.into()
}

impl Shelves {
    fn has_chunk(&self, hash: &Hash) -> bool {
        self.chunks.contains_key(hash) && !self.condemned.contains(hash)
    }

    fn snapshots(&self, community: CommunityId) -> impl DoubleEndedIterator<Item = (Sequence, &Snapshot)> {
        let held = self.snapshots.get(&community);
        held.into_iter().flatten().map(|(sequence, snapshot)| (*sequence, snapshot))
    }

    fn snapshot(&self, community: CommunityId, sequence: Sequence) -> Option<&Snapshot> {
        self.snapshots.get(&community)?.get(&sequence)
    }

    /// All but the newest `keep` and those that are pinned.
    fn beyond(&self, community: CommunityId, keep: usize) -> Vec<Sequence> {
        let old = self.snapshots(community).rev().skip(keep);
        old.filter(|(_, snapshot)| snapshot.pinned.is_none()).map(|(sequence, _)| sequence).collect()
    }

    fn garbage(&self, pinned: &BTreeSet<Hash>) -> Vec<Hash> {
        let snapshots = self.snapshots.values().flat_map(BTreeMap::values);
        let named: BTreeSet<&Hash> = snapshots.flat_map(|snapshot| &snapshot.chunks).chain(pinned).collect();
        self.chunks.keys().filter(|hash| !named.contains(hash)).copied().collect()
    }

    fn append_history(&mut self, community: CommunityId, records: &[HistoryRecord]) {
        let held = self.history.entry(community).or_default();
        for record in records {
            let next = held.range(record.first..).next();
            if next.is_none_or(|(_, next)| next.first > record.last) {
                held.insert(record.last, record.clone());
            }
        }
    }
}

impl Apply<Change> for Shelves {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::PutChunks(chunks) => {
                for (hash, body) in chunks {
                    self.chunks.insert(*hash, body.clone());
                    self.condemned.remove(hash);
                }
            }
            Change::PutSnapshot(community, snapshot) => {
                let held = self.snapshots.entry(*community).or_default();
                let pinned = held.get(&snapshot.record.sequence).and_then(|before| before.pinned.clone());
                held.insert(snapshot.record.sequence, Snapshot { pinned, ..snapshot.clone() });
            }
            Change::PinSnapshot(community, sequence, pin) => {
                let held = self.snapshots.entry(*community).or_default();
                held.entry(*sequence).and_modify(|snapshot| snapshot.pinned = pin.clone());
            }
            Change::DropSnapshots(community, sequences) => {
                let held = self.snapshots.entry(*community).or_default();
                sequences.iter().for_each(|sequence| drop(held.remove(sequence)));
            }
            Change::DropChunks(hashes) => {
                for hash in hashes {
                    self.chunks.remove(hash);
                    self.condemned.remove(hash);
                }
            }
            Change::CondemnChunks(hashes) => {
                let chunks = &self.chunks;
                self.condemned.extend(hashes.iter().filter(|hash| chunks.contains_key(hash)));
            }
            Change::BlockChunk(hash) => drop(self.blocked.insert(*hash)),
            Change::DropComponent(hash) => drop(self.components.remove(hash)),
            Change::PutComponent(hash, body) => drop(self.components.insert(*hash, body.clone())),
            Change::AppendHistory(community, records) => self.append_history(*community, records),
            Change::PruneHistory(community, keep_from) => {
                let held = self.history.entry(*community).or_default();
                *held = held.split_off(keep_from);
            }
            Change::TruncateHistory(community, from) => {
                drop(self.history.entry(*community).or_default().split_off(from));
            }
            Change::DropHistory(community) => drop(self.history.remove(community)),
            Change::PutFact(name, value) => drop(self.facts.insert(name.clone(), value.clone())),
        }
    }
}

#[async_trait]
impl Archive for MemoryArchive {
    async fn missing_chunks(&self, hashes: &[Hash]) -> Result<Vec<Hash>, StoreError> {
        let mut inner = self.open()?;
        let (here, missing): (Vec<Hash>, Vec<Hash>) =
            hashes.iter().partition(|hash| inner.shelves().has_chunk(hash));
        inner.pinned.extend(here);
        Ok(missing)
    }

    async fn put_chunks(&self, chunks: Vec<(Hash, Bytes)>) -> Result<(), StoreError> {
        let mut inner = self.open()?;
        inner.pinned.extend(chunks.iter().map(|(hash, _)| *hash));
        let held = inner.shelves();
        let new = chunks.into_iter().filter(|(hash, _)| !held.has_chunk(hash)).collect();
        inner.write_through(Change::PutChunks(new));
        Ok(())
    }

    async fn chunk(&self, hash: Hash) -> Result<Option<Bytes>, StoreError> {
        let inner = self.open()?;
        let shelves = inner.shelves();
        if shelves.blocked.contains(&hash) && shelves.has_chunk(&hash) {
            let what = format!("chunk {hash} cannot be read");
            return Err(StoreError::Io { what, source: "the disk gave nothing back".into() });
        }
        Ok(shelves.chunks.get(&hash).filter(|_| shelves.has_chunk(&hash)).cloned())
    }

    async fn stored_chunks(&self, after: Option<Hash>, limit: u32) -> Result<Vec<Hash>, StoreError> {
        let inner = self.open()?;
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let stored = inner.shelves().chunks.range((after, Bound::Unbounded)).map(|(hash, _)| *hash);
        Ok(stored.filter(|hash| inner.shelves().has_chunk(hash)).take(limit as usize).collect())
    }

    async fn condemn_chunks(&self, hashes: Vec<Hash>) -> Result<(), StoreError> {
        self.open()?.write_through(Change::CondemnChunks(hashes));
        Ok(())
    }

    async fn condemned_chunks(&self, limit: u32) -> Result<Vec<Hash>, StoreError> {
        Ok(self.open()?.shelves().condemned.iter().take(limit as usize).copied().collect())
    }

    async fn damaged_snapshots(&self, community: CommunityId) -> Result<BTreeMap<Sequence, u64>, StoreError> {
        let inner = self.open()?;
        let condemned = &inner.shelves().condemned;
        let counted = inner.shelves().snapshots(community);
        let counted =
            counted.map(|(at, snapshot)| (at, snapshot.chunks.intersection(condemned).count() as u64));
        Ok(counted.filter(|&(_, count)| count > 0).collect())
    }

    async fn put_snapshot(
        &self,
        community: CommunityId,
        record: SnapshotRecord,
        chunks: Vec<Hash>,
    ) -> Result<(), StoreError> {
        let mut inner = self.open()?;
        if let Some(hash) = chunks.iter().find(|hash| !inner.shelves().has_chunk(hash)) {
            return Err(StoreError::MissingChunk { hash: *hash });
        }
        let chunks: BTreeSet<Hash> = chunks.into_iter().collect();
        inner.pinned.retain(|hash| !chunks.contains(hash));
        inner.write_through(Change::PutSnapshot(community, Snapshot { record, chunks, pinned: None }));
        Ok(())
    }

    async fn snapshots(&self, community: CommunityId) -> Result<Vec<SnapshotRecord>, StoreError> {
        let inner = self.open()?;
        Ok(inner.shelves().snapshots(community).rev().map(|(_, held)| held.record.clone()).collect())
    }

    async fn pin_snapshot(
        &self,
        community: CommunityId,
        sequence: Sequence,
        note: String,
    ) -> Result<bool, StoreError> {
        Ok(self.open()?.pin_snapshot(community, sequence, Some(note)))
    }

    async fn unpin_snapshot(&self, community: CommunityId, sequence: Sequence) -> Result<bool, StoreError> {
        Ok(self.open()?.pin_snapshot(community, sequence, None))
    }

    async fn pinned_snapshots(
        &self,
        community: CommunityId,
    ) -> Result<BTreeMap<Sequence, String>, StoreError> {
        let inner = self.open()?;
        let held = inner.shelves().snapshots(community);
        Ok(held.filter_map(|(sequence, snapshot)| Some((sequence, snapshot.pinned.clone()?))).collect())
    }

    async fn drop_snapshots(
        &self,
        community: CommunityId,
        sequences: Vec<Sequence>,
    ) -> Result<BTreeSet<Sequence>, StoreError> {
        let mut inner = self.open()?;
        let may_go = inner.shelves().beyond(community, 0);
        let dropped: BTreeSet<Sequence> =
            sequences.into_iter().filter(|sequence| may_go.contains(sequence)).collect();
        inner.drop_snapshots(community, dropped.iter().copied().collect());
        Ok(dropped)
    }

    async fn retain_snapshots(&self, community: CommunityId, keep: u32) -> Result<(), StoreError> {
        let mut inner = self.open()?;
        let dropped = inner.shelves().beyond(community, keep as usize);
        inner.drop_snapshots(community, dropped);
        Ok(())
    }

    async fn put_component(&self, hash: Hash, body: Bytes) -> Result<(), StoreError> {
        self.open()?.write_through(Change::PutComponent(hash, body));
        Ok(())
    }

    async fn drop_component(&self, hash: Hash) -> Result<(), StoreError> {
        self.open()?.write_through(Change::DropComponent(hash));
        Ok(())
    }

    async fn component(&self, hash: Hash) -> Result<Option<Bytes>, StoreError> {
        Ok(self.open()?.shelves().components.get(&hash).cloned())
    }

    async fn components(&self) -> Result<Vec<ComponentRecord>, StoreError> {
        let inner = self.open()?;
        let held = inner.shelves().components.iter();
        Ok(held.map(|(hash, body)| ComponentRecord { hash: *hash, bytes: body.len() as u64 }).collect())
    }

    async fn append_history(
        &self,
        community: CommunityId,
        records: Vec<HistoryRecord>,
    ) -> Result<(), StoreError> {
        self.open()?.journal.write(Change::AppendHistory(community, records));
        Ok(())
    }

    async fn history(
        &self,
        community: CommunityId,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<HistoryRecord>, StoreError> {
        let inner = self.open()?;
        let held = inner.shelves().history.get(&community);
        let records = held.into_iter().flat_map(|held| held.range(from..)).map(|(_, record)| record.clone());
        Ok(take_bounded(records, bytes_max, |record| record.body.len()))
    }

    async fn history_held(&self, community: CommunityId) -> Result<Option<(Sequence, Sequence)>, StoreError> {
        let inner = self.open()?;
        let Some(held) = inner.shelves().history.get(&community) else { return Ok(None) };
        let Some((last, newest)) = held.last_key_value() else { return Ok(None) };
        let mut first = newest.first;
        for (_, record) in held.iter().rev().skip(1) {
            if record.last.next() != first {
                break;
            }
            first = record.first;
        }
        Ok(Some((first, *last)))
    }

    async fn prune_history(&self, community: CommunityId, keep_from: Sequence) -> Result<(), StoreError> {
        self.open()?.write_through(Change::PruneHistory(community, keep_from));
        Ok(())
    }

    async fn truncate_history(&self, community: CommunityId, from: Sequence) -> Result<(), StoreError> {
        self.open()?.write_through(Change::TruncateHistory(community, from));
        Ok(())
    }

    async fn remove_community(&self, community: CommunityId) -> Result<(), StoreError> {
        let mut inner = self.open()?;
        let all = inner.shelves().snapshots(community).map(|(sequence, _)| sequence).collect();
        inner.drop_snapshots(community, all);
        inner.write_through(Change::DropHistory(community));
        Ok(())
    }

    async fn fact(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.open()?.shelves().facts.get(name).cloned())
    }

    async fn put_fact(&self, name: &str, value: Bytes) -> Result<(), StoreError> {
        self.open()?.write_through(Change::PutFact(name.to_owned(), value));
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.open()?.journal.sync();
        Ok(())
    }

    async fn close(&self) {
        let mut inner = self.inner();
        inner.journal.sync();
        inner.closed = true;
    }
}
