//! The stores under test, each with its own way to end.

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

#[path = "../folders/mod.rs"]
mod folders;

use althing_store::{conformance::Subject, memory::MemoryStore, port::Store, sqlite::Settings};
use async_trait::async_trait;
use folders::copied;
use std::time::Duration;
use tempfile::TempDir;

/// Nothing here takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// In memory; ends by a power cut.
pub(crate) struct Memory(pub(crate) MemoryStore);

#[async_trait]
impl Subject for Memory {
    fn store(&self) -> Store {
        self.0.store()
    }

    async fn settle(&self) {
        self.0.sync();
    }

    async fn reopen(&mut self) {
        self.0 = self.0.crash();
    }
}

/// How a store on disk ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// It is closed.
    Closed,
    /// Its process is killed: nobody closes the files, and what is there is there.
    Killed,
}

/// On disk.
pub(crate) struct Disk {
    store: Store,
    directory: TempDir,
    settings: Settings,
    end: End,
}

impl Disk {
    pub(crate) async fn new(end: End, wal_cache_bytes: usize) -> Self {
        let directory = TempDir::new().unwrap();
        let settings = Settings { wal_cache_bytes, ..Settings::default() };
        let store = Store::open_with(directory.path(), settings).await.unwrap();
        Self { store, directory, settings, end }
    }
}

#[async_trait]
impl Subject for Disk {
    fn store(&self) -> Store {
        self.store.clone()
    }

    async fn reopen(&mut self) {
        if let End::Killed = self.end {
            let left = copied(self.directory.path());
            self.store.close().await;
            self.directory = left;
        }
        self.store.close().await;
        self.store = Store::open_with(self.directory.path(), self.settings).await.unwrap();
    }
}
