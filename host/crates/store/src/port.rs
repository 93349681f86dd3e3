//! What the rest of the house knows of storage.
//!
//! Two files, two rhythms. The **log** ([`Wal`]) is written on the way to every acknowledgement:
//! one writer, one fsync for whatever all groups of the node have ready. The **archive**
//! ([`Archive`]: snapshots, chunks, components, history, the node's own facts) is written beside
//! it, in order, so that a snapshot is never durable before the history it covers.
//!
//! Every error here is a host fault of the node (disk full, damage, a bug): never an outcome.

use althing_core::ids::{CommunityId, Hash, Sequence};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

/// A store: the two halves, cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// The replicated log of all groups.
    pub wal: Arc<dyn Wal>,
    /// Everything else.
    pub archive: Arc<dyn Archive>,
}

impl Store {
    /// Writes out what is pending and closes both halves.
    pub async fn close(&self) {
        self.archive.close().await;
        self.wal.close().await;
    }

    /// Waits until one of the halves has failed for good, and says why. Pending while all is well:
    /// the node watches it, and ends the process. Nothing here is tried again after a failed fsync,
    /// because the kernel may have dropped the pages that it could not write.
    pub async fn failed(&self) -> StoreError {
        tokio::select! {
            error = self.wal.failed() => error,
            error = self.archive.failed() => error,
        }
    }
}

/// What went wrong with storage.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or SQLite, failed.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was read is not what was written.
    #[error("damaged: {what}")]
    Damaged {
        /// What is damaged, where, and what to do.
        what: String,
    },
    /// A snapshot names a chunk that is not here. Store it, then commit the snapshot again.
    #[error("chunk {hash} is not stored: store it, then commit the snapshot again")]
    MissingChunk {
        /// The chunk.
        hash: Hash,
    },
    /// The store has been closed and accepts nothing more.
    #[error("the store is closed")]
    Closed,
}

/// Called once, when what it was given with is durable, or can never be.
pub type OnDurable = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalEntry {
    /// Its index: consecutive within a group.
    pub index: u64,
    /// Consensus' own bytes.
    pub body: Bytes,
}

/// What a group's log holds, apart from its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalState {
    /// Consensus' vote record.
    pub vote: Option<Bytes>,
    /// Consensus' committed record.
    pub committed: Option<Bytes>,
    /// The last purged entry's index and consensus' record of it.
    pub purged: Option<(u64, Bytes)>,
    /// The first and the last index held; none when the log is empty.
    pub held: Option<(u64, u64)>,
}

/// The replicated logs of all groups of a node, in one file with one fsync stream.
///
/// Calls of one group must not overlap each other except reads; calls take effect in the order in
/// which they are made. What is appended is readable at once, and durable when told.
#[async_trait]
pub trait Wal: Send + Sync {
    /// What a group's log holds.
    async fn state(&self, group: CommunityId) -> Result<WalState, StoreError>;

    /// Entries of `range`, ascending, stopping before `bytes_max` bytes are exceeded but with at
    /// least one entry if there is one. Fewer than asked for where the log ends or was purged.
    async fn read(
        &self,
        group: CommunityId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<WalEntry>, StoreError>;

    /// Appends entries with consecutive indices that follow the last. `on_durable` is called
    /// after an fsync covers them, in the order of the calls; with an error if they never will be,
    /// also when this call itself fails.
    async fn append(
        &self,
        group: CommunityId,
        entries: Vec<WalEntry>,
        on_durable: OnDurable,
    ) -> Result<(), StoreError>;

    /// Records the vote; durable on return.
    async fn save_vote(&self, group: CommunityId, vote: Bytes) -> Result<(), StoreError>;

    /// Records what is committed; becomes durable with a later fsync, whenever that is, so what is
    /// read back after a crash may be older, never newer.
    async fn save_committed(&self, group: CommunityId, committed: Option<Bytes>) -> Result<(), StoreError>;

    /// Removes every entry from `from` on; durable on return.
    async fn truncate(&self, group: CommunityId, from: u64) -> Result<(), StoreError>;

    /// Removes every entry up to and including `upto`, and keeps `record` as the last purged one;
    /// durable on return. `upto` may lie beyond the last entry: the log is then empty and goes on
    /// after it. What was purged before stays purged: a lower `upto` changes nothing.
    async fn purge(&self, group: CommunityId, upto: u64, record: Bytes) -> Result<(), StoreError>;

    /// Forgets a group: entries, vote and all.
    async fn remove_group(&self, group: CommunityId) -> Result<(), StoreError>;

    /// The groups that have something here.
    async fn groups(&self) -> Result<Vec<CommunityId>, StoreError>;

    /// How many fsyncs and entries so far: for metrics and tests.
    fn counters(&self) -> WalCounters;

    /// Writes out what is pending and closes the file; further calls fail with
    /// [`StoreError::Closed`].
    async fn close(&self);

    /// Waits until this half has failed for good; see [`Store::failed`].
    async fn failed(&self) -> StoreError {
        std::future::pending().await
    }
}

/// What a WAL has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalCounters {
    /// Commits, each with one fsync.
    pub commits: u64,
    /// Entries appended.
    pub entries: u64,
    /// Bytes of entries appended.
    pub bytes: u64,
}

/// A snapshot that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// The last sequence it holds.
    pub sequence: Sequence,
    /// The last log index it holds.
    pub log_index: u64,
    /// The encoded manifest (`althing_core::snapshot::Manifest`).
    pub manifest: Bytes,
}

/// A component that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentRecord {
    /// Its name by content.
    pub hash: Hash,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Transitions of one batch as history keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRecord {
    /// The first sequence in it.
    pub first: Sequence,
    /// The last sequence in it.
    pub last: Sequence,
    /// The encoded transitions.
    pub body: Bytes,
}

/// Snapshots, chunks, components, history and the node's own facts, in one file.
///
/// Writes take effect, and become durable, in the order in which they are made, so a snapshot is
/// never durable before the history appended before it.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Which of these chunks are not here. Those that are stay, whatever is retained meanwhile, until
    /// the next snapshot that names them is committed, or for an hour. So does, after the store was
    /// opened again, whatever no snapshot names: its transfer goes on.
    async fn missing_chunks(&self, hashes: &[Hash]) -> Result<Vec<Hash>, StoreError>;

    /// Stores chunks by their hashes; chunks that are here already are left alone, condemned ones are
    /// replaced. The caller has verified the hashes. They stay as [`Archive::missing_chunks`] says.
    async fn put_chunks(&self, chunks: Vec<(Hash, Bytes)>) -> Result<(), StoreError>;

    /// Chunks that are stored, ascending by hash, from behind `after` on, at most `limit`; without those
    /// that are condemned.
    async fn stored_chunks(&self, after: Option<Hash>, limit: u32) -> Result<Vec<Hash>, StoreError>;

    /// From now on these chunks count as missing, for everybody, until they are stored again: their bytes
    /// were found not to be what their hashes say. Snapshots that name them stay. Those that are not
    /// stored are left alone. Durable on return.
    async fn condemn_chunks(&self, hashes: Vec<Hash>) -> Result<(), StoreError>;

    /// Chunks that are condemned, ascending, at most `limit`.
    async fn condemned_chunks(&self, limit: u32) -> Result<Vec<Hash>, StoreError>;

    /// The snapshots of a community that name condemned chunks, and how many each. No others.
    async fn damaged_snapshots(&self, community: CommunityId) -> Result<BTreeMap<Sequence, u64>, StoreError>;

    /// A chunk's bytes.
    async fn chunk(&self, hash: Hash) -> Result<Option<Bytes>, StoreError>;

    /// Commits a snapshot whose chunks are all here; in one transaction, durable on return. The
    /// same sequence again replaces it. Fails with [`StoreError::MissingChunk`], and changes nothing,
    /// if a chunk is not here.
    async fn put_snapshot(
        &self,
        community: CommunityId,
        record: SnapshotRecord,
        chunks: Vec<Hash>,
    ) -> Result<(), StoreError>;

    /// A community's snapshots, newest first.
    async fn snapshots(&self, community: CommunityId) -> Result<Vec<SnapshotRecord>, StoreError>;

    /// Pins a snapshot, so that it stays until it is unpinned, and notes why; a note that was there is
    /// replaced. Whether there is such a snapshot. Durable on return.
    async fn pin_snapshot(
        &self,
        community: CommunityId,
        sequence: Sequence,
        note: String,
    ) -> Result<bool, StoreError>;

    /// Takes a pin away, if there is one. Whether there is such a snapshot. Durable on return.
    async fn unpin_snapshot(&self, community: CommunityId, sequence: Sequence) -> Result<bool, StoreError>;

    /// The snapshots of a community that are pinned, each with its note.
    async fn pinned_snapshots(
        &self,
        community: CommunityId,
    ) -> Result<BTreeMap<Sequence, String>, StoreError>;

    /// Drops these snapshots, but for those that are pinned, and collects the chunks that no snapshot of
    /// any community names. Which were dropped. Durable on return.
    async fn drop_snapshots(
        &self,
        community: CommunityId,
        sequences: Vec<Sequence>,
    ) -> Result<BTreeSet<Sequence>, StoreError>;

    /// Keeps the newest `keep` snapshots of a community and those that are pinned, drops the others, and
    /// collects the chunks that no snapshot of any community names.
    async fn retain_snapshots(&self, community: CommunityId, keep: u32) -> Result<(), StoreError>;

    /// Stores a component; durable on return.
    async fn put_component(&self, hash: Hash, body: Bytes) -> Result<(), StoreError>;

    /// A component's bytes.
    async fn component(&self, hash: Hash) -> Result<Option<Bytes>, StoreError>;

    /// Forgets a component, so that it can be stored anew. Durable on return.
    async fn drop_component(&self, hash: Hash) -> Result<(), StoreError>;

    /// The components that are here.
    async fn components(&self) -> Result<Vec<ComponentRecord>, StoreError>;

    /// Appends history; becomes durable soon, in order. Records follow each other without gaps,
    /// except after a snapshot was installed; a record that overlaps one that is here is left alone.
    async fn append_history(
        &self,
        community: CommunityId,
        records: Vec<HistoryRecord>,
    ) -> Result<(), StoreError>;

    /// Records that hold sequences from `from` on, ascending, stopping before `bytes_max` bytes are
    /// exceeded but with at least one if there is one.
    async fn history(
        &self,
        community: CommunityId,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<HistoryRecord>, StoreError>;

    /// The first and the last sequence of the newest gapless run of history; none when empty.
    async fn history_held(&self, community: CommunityId) -> Result<Option<(Sequence, Sequence)>, StoreError>;

    /// Drops records that end before `keep_from`.
    async fn prune_history(&self, community: CommunityId, keep_from: Sequence) -> Result<(), StoreError>;

    /// Drops history from `from` on: what was executed beyond the durable commit before a crash. A
    /// record that holds sequences on both sides goes as a whole.
    async fn truncate_history(&self, community: CommunityId, from: Sequence) -> Result<(), StoreError>;

    /// Forgets a community: snapshots, pinned or not, history, and chunks nobody else names.
    async fn remove_community(&self, community: CommunityId) -> Result<(), StoreError>;

    /// A fact of the node itself (identity, address book).
    async fn fact(&self, name: &str) -> Result<Option<Bytes>, StoreError>;

    /// Sets a fact of the node itself; durable on return.
    async fn put_fact(&self, name: &str, value: Bytes) -> Result<(), StoreError>;

    /// Makes everything written so far durable.
    async fn flush(&self) -> Result<(), StoreError>;

    /// Flushes and closes; further calls fail with [`StoreError::Closed`].
    async fn close(&self);

    /// Waits until this half has failed for good; see [`Store::failed`].
    async fn failed(&self) -> StoreError {
        std::future::pending().await
    }
}
