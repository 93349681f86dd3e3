//! openraft's own suite for storage, on our log and a machine that only remembers.

use super::{
    closing,
    log::Log,
    machine::{FaultSlot, Machine},
    purge::Floor,
    types::Types,
};
use crate::port::{
    AppliedState, CommittedEntry, EntryPayload, Replies, SnapshotBuilder, SnapshotHandle, StateMachine,
};
use althing_core::{ids::CommunityId, program::Fault};
use althing_store::port::Store;
use async_trait::async_trait;
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use openraft_rt_tokio::TokioRuntime;
use std::sync::{Arc, Mutex};

type Production = Types<TokioRuntime>;

/// Remembers what was applied last, and snapshots with nothing in them.
#[derive(Default)]
pub(super) struct Rememberer {
    applied: AppliedState,
    newest: Arc<Mutex<Option<SnapshotHandle>>>,
}

struct Capture {
    applied: AppliedState,
    newest: Arc<Mutex<Option<SnapshotHandle>>>,
}

#[async_trait]
impl SnapshotBuilder for Capture {
    async fn build(&mut self) -> Result<SnapshotHandle, Fault> {
        let built = SnapshotHandle { applied: self.applied.clone(), manifest: "empty".into() };
        *self.newest.lock().unwrap() = Some(built.clone());
        Ok(built)
    }
}

#[async_trait]
impl StateMachine for Rememberer {
    async fn applied(&mut self) -> Result<AppliedState, Fault> {
        Ok(self.applied.clone())
    }

    async fn apply(&mut self, entries: Vec<CommittedEntry>) -> Result<Vec<Replies>, Fault> {
        let replies = entries.iter().map(|_| Replies::default()).collect();
        for entry in entries {
            self.applied.position = Some(entry.position);
            if let EntryPayload::Membership(record) = entry.payload {
                self.applied.membership = Some(record);
            }
        }
        Ok(replies)
    }

    async fn capture(&mut self) -> Result<Box<dyn SnapshotBuilder>, Fault> {
        Ok(Box::new(Capture { applied: self.applied.clone(), newest: Arc::clone(&self.newest) }))
    }

    async fn install(&mut self, snapshot: SnapshotHandle) -> Result<(), Fault> {
        self.applied = snapshot.applied.clone();
        *self.newest.lock().unwrap() = Some(snapshot);
        Ok(())
    }

    async fn snapshot(&mut self) -> Result<Option<SnapshotHandle>, Fault> {
        Ok(self.newest.lock().unwrap().clone())
    }
}

fn parts(store: &Store) -> (Log<TokioRuntime>, Machine<TokioRuntime>) {
    let (life, _) = closing::life();
    let (fault, floor) = (FaultSlot::default(), Floor::default());
    let machine = Machine::new(Box::<Rememberer>::default(), fault, floor, life);
    (Log::new(CommunityId(7), Arc::clone(&store.wal)), machine)
}

struct InMemory;

impl StoreBuilder<Production, Log<TokioRuntime>, Machine<TokioRuntime>> for InMemory {
    async fn build(
        &self,
    ) -> Result<((), Log<TokioRuntime>, Machine<TokioRuntime>), StorageError<Production>> {
        let (log, machine) = parts(&Store::memory());
        Ok(((), log, machine))
    }
}

struct OnDisk;

impl StoreBuilder<Production, Log<TokioRuntime>, Machine<TokioRuntime>, tempfile::TempDir> for OnDisk {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, Log<TokioRuntime>, Machine<TokioRuntime>), StorageError<Production>> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let (log, machine) = parts(&store);
        Ok((folder, log, machine))
    }
}

#[tokio::test]
async fn the_log_in_memory_is_what_openraft_wants() {
    Suite::test_all(InMemory).await.unwrap();
}

#[tokio::test]
async fn the_log_on_disk_is_what_openraft_wants() {
    Suite::test_all(OnDisk).await.unwrap();
}
