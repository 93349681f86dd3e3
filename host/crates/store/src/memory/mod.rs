//! The store without a disk: the same promises as SQLite's, kept in maps.
//!
//! It has no threads, timers or runtime, and never really waits, so it lives inside the
//! deterministic simulation. It can play a power cut: [`MemoryStore::crash`] is what the disk would
//! have kept. By default everything is durable at once; [`MemoryStore::with_crash_semantics`] leaves
//! appends unsynced until [`MemoryStore::sync`], or until a call that promises to be durable.

mod archive;
mod journal;
mod wal;

use crate::port::Store;
use althing_core::ids::Hash;
use archive::MemoryArchive;
use std::sync::Arc;
use wal::MemoryWal;

impl Store {
    /// A store in memory in which everything is durable at once, for as long as it lives.
    #[must_use]
    pub fn memory() -> Self {
        MemoryStore::new().store()
    }
}

/// A handle on a store in memory, to do with it what a disk does by itself.
#[derive(Clone)]
pub struct MemoryStore {
    wal: Arc<MemoryWal>,
    archive: Arc<MemoryArchive>,
}

impl MemoryStore {
    /// An empty store in which everything is durable at once.
    #[must_use]
    pub fn new() -> Self {
        Self { wal: Arc::new(MemoryWal::new()), archive: Arc::new(MemoryArchive::new()) }
    }

    /// An empty store whose appends (of the log and of history) are durable only after
    /// [`MemoryStore::sync`], or a call that is durable on return.
    #[must_use]
    pub fn with_crash_semantics() -> Self {
        Self { wal: Arc::new(MemoryWal::unsynced()), archive: Arc::new(MemoryArchive::unsynced()) }
    }

    /// The store to hand to whoever wants one.
    #[must_use]
    pub fn store(&self) -> Store {
        Store { wal: self.wal.clone(), archive: self.archive.clone() }
    }

    /// What an fsync does: all that was written so far is durable, and its callers are told.
    pub fn sync(&self) {
        self.archive.sync();
        self.wal.sync();
    }

    /// Waits until somebody waits for [`MemoryStore::sync`] who came after the last such wait.
    pub async fn written(&self) {
        self.wal.written().await;
    }

    /// Flips a bit of a stored chunk; whether there is one.
    #[must_use]
    pub fn damage_chunk(&self, hash: Hash) -> bool {
        self.archive.damage_chunk(hash)
    }

    /// From now on a stored chunk cannot be read, as if its sectors had failed; whether there is one.
    #[must_use]
    pub fn block_chunk(&self, hash: Hash) -> bool {
        self.archive.block_chunk(hash)
    }

    /// Flips a bit of a stored component; whether there is one.
    #[must_use]
    pub fn damage_component(&self, hash: Hash) -> bool {
        self.archive.damage_component(hash)
    }

    /// What a power cut leaves: a new store with what was durable, of the same kind. This one is
    /// closed, and those who still wait for durability are told that it will not come.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.crash_amid(0, 0)
    }

    /// A power cut while the disk is at work: of what was not synced, the first so many changes of the
    /// log and of the archive have come to the disk all the same; each is a transaction, never half.
    #[must_use]
    pub fn crash_amid(&self, wal: usize, archive: usize) -> Self {
        Self { wal: Arc::new(self.wal.crash(wal)), archive: Arc::new(self.archive.crash(archive)) }
    }

    /// As [`MemoryStore::crash`], but the log is lost, and a new one begins: as `sqlite::Remains` leaves
    /// a directory.
    #[must_use]
    pub fn lose_log(&self) -> Self {
        let left = self.crash();
        Self { wal: Arc::new(left.wal.begun_again()), archive: left.archive }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}
