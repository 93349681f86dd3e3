//! State transfer: what an offered snapshot names and this node lacks comes here, chunk by chunk, from
//! the node that offers it or whoever else has it.
//!
//! Nothing that comes is believed: the manifest is checked before anything is fetched, each chunk before it
//! is stored. What is stored stays, and is not fetched again, whatever breaks off: the connection, this
//! process, the leadership of the node that offers. It is not read again here either: the whole is checked
//! before it is used, and a chunk that the disk has changed meanwhile is fetched then
//! ([`crate::mend::Mender::restore`]). Bytes under way are bounded for all transfers of the node together.

mod givers;
mod progress;
#[cfg(test)]
mod tests;

pub use progress::TransferStatus;

use crate::{
    components::Components,
    execute::Sources,
    peer::ask::Peers,
    refuse,
    snapshots::{applied, storage},
    space::Space,
};
use althing_consensus::{
    port::{SnapshotFetch, SnapshotHandle},
    runtime::Runtime,
};
use althing_core::{
    ids::{CommunityId, Hash, NodeId, Sequence},
    limits,
    program::Fault,
    snapshot::{ChunkRef, Manifest},
};
use althing_store::port::Archive;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
pub(crate) use givers::Givers;
use progress::Progress;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of chunks under way, asked for or not yet stored, of all transfers of a node together.
const ROOM_BYTES: u32 = 32 << 20;
/// Chunks of one transfer under way.
const CHUNKS_AT_ONCE: usize = 64;
/// Writes of one transfer under way: while one waits for its fsync, the next is put together.
const WRITES_AT_ONCE: usize = 2;
/// Hashes that the archive is asked about at a time.
const HASHES_AT_ONCE: usize = 4096;
/// How long one node may take to send one chunk.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the log tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(3);
/// How often the archive is told that what has come is still counted on; it forgets after an hour.
const COUNT_ON_EVERY: Duration = Duration::from_secs(20 * 60);
/// How often it is looked whether all is here: what was, may have gone with its snapshot meanwhile.
const ROUNDS_MAX: usize = 8;

const _: () = assert!(ROOM_BYTES as usize >= limits::PAIR_BYTES_MAX, "there is room for any chunk");

/// The transfers of a node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Transfers {
    inner: Arc<Inner>,
}

struct Inner {
    archive: Arc<dyn Archive>,
    components: Components,
    peers: Peers,
    runtime: Runtime,
    space: Space,
    room: Arc<Semaphore>,
    /// At most one of each community: the last that was offered.
    under_way: Mutex<BTreeMap<CommunityId, Arc<Progress>>>,
}

impl Transfers {
    pub(crate) fn new(
        archive: Arc<dyn Archive>,
        components: Components,
        peers: Peers,
        runtime: Runtime,
        space: Space,
    ) -> Self {
        let room = Arc::new(Semaphore::new(ROOM_BYTES as usize));
        let under_way = Mutex::default();
        Self { inner: Arc::new(Inner { archive, components, peers, runtime, space, room, under_way }) }
    }

    /// What fetches the snapshots that a community's replica here is offered.
    pub(crate) fn receiver(&self, community: CommunityId, sources: Sources) -> Arc<Receiver> {
        Arc::new(Receiver { transfers: self.clone(), community, sources })
    }

    /// What a replica that is at `sequence` is receiving.
    pub(crate) fn status(&self, community: CommunityId, sequence: Sequence) -> Option<TransferStatus> {
        let mut under_way = self.under_way();
        let progress = under_way.get(&community)?;
        let status = progress.status();
        // What is whole stays here while the state is put together, which others do.
        let is_in_use = progress.is_whole() && status.sequence <= sequence;
        if is_in_use {
            under_way.remove(&community);
        }
        (!is_in_use).then_some(status)
    }

    /// Ends what a community is receiving: it goes.
    pub(crate) fn end(&self, community: CommunityId) {
        if let Some(progress) = self.under_way().remove(&community) {
            progress.end();
        }
    }

    /// From now on this is what its community receives.
    fn begin(&self, progress: &Arc<Progress>) -> UnderWay {
        if let Some(before) = self.under_way().insert(progress.community, progress.clone()) {
            before.end();
        }
        metrics::gauge!("althing_transfers_open").increment(1.0);
        UnderWay { transfers: self.clone(), progress: progress.clone(), outcome: "broken-off" }
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<CommunityId, Arc<Progress>>> {
        self.inner.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transfer while somebody works on it. Counted when dropped.
struct UnderWay {
    transfers: Transfers,
    progress: Arc<Progress>,
    outcome: &'static str,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        metrics::gauge!("althing_transfers_open").decrement(1.0);
        metrics::counter!("althing_transfers_total", "outcome" => self.outcome).increment(1);
        let mut under_way = self.transfers.under_way();
        let is_last =
            under_way.get(&self.progress.community).is_some_and(|last| Arc::ptr_eq(last, &self.progress));
        if is_last && !self.progress.is_whole() {
            under_way.remove(&self.progress.community);
        }
    }
}

/// Fetches the snapshots that one replica is offered.
pub(crate) struct Receiver {
    transfers: Transfers,
    community: CommunityId,
    sources: Sources,
}

#[async_trait]
impl SnapshotFetch for Receiver {
    #[tracing::instrument(name = "receive", level = "info", skip_all, fields(community = %self.community, %from))]
    async fn fetch(&self, from: NodeId, offered: &SnapshotHandle) -> Result<(), Fault> {
        let manifest = self.read(from, offered).inspect_err(refused)?;
        let progress = Arc::new(Progress::new(from, &manifest));
        let mut under_way = self.transfers.begin(&progress);
        let transfer = Transfer {
            node: &self.transfers.inner,
            givers: Givers::new(from, (self.sources)()),
            failed: OnceLock::new(),
            manifest,
            progress,
        };
        let brought = tokio::select! {
            biased;
            () = transfer.progress.ended() => {
                under_way.outcome = "superseded";
                return Err(Fault::new("another snapshot was offered meanwhile, or the replica goes"));
            }
            brought = transfer.run() => brought,
            stopped = transfer.watch() => stopped,
        };
        under_way.outcome = if brought.is_ok() { "completed" } else { "failed" };
        brought.inspect_err(refused)
    }
}

fn refused(fault: &Fault) {
    let why = refuse::chain(fault);
    tracing::warn!(why, "a snapshot has not come: what came of it is kept for the next that is offered");
}

impl Receiver {
    /// The manifest, if it is of what was offered, and to this community.
    fn read(&self, from: NodeId, offered: &SnapshotHandle) -> Result<Manifest, Fault> {
        let manifest = Manifest::decode(&offered.manifest).map_err(|error| {
            Fault::because(format!("node {from} offers a snapshot whose manifest is refused"), error)
        })?;
        if manifest.community != self.community {
            let other = manifest.community;
            return Err(Fault::new(format!("node {from} offers a snapshot of community {other}")));
        }
        if applied(&manifest)? != offered.applied {
            let what =
                format!("node {from} offers a snapshot of another place in the log than its manifest's");
            return Err(Fault::new(what));
        }
        Ok(manifest)
    }
}

/// One transfer at work.
struct Transfer<'a> {
    node: &'a Inner,
    givers: Givers,
    manifest: Manifest,
    progress: Arc<Progress>,
    /// The first chunk that nobody gave.
    failed: OnceLock<String>,
}

/// A chunk that is what its name says, and the room that it takes.
struct Fetched {
    hash: Hash,
    bytes: Bytes,
    room: OwnedSemaphorePermit,
}

impl Transfer<'_> {
    /// Brings chunks, and components beside them: compiling one may take as long.
    async fn run(&self) -> Result<(), Fault> {
        let components = self.hold_components().map(Ok);
        futures::future::try_join(self.bring_all(), components).await?;
        self.progress.set_whole();
        Ok(())
    }

    async fn bring_all(&self) -> Result<(), Fault> {
        let began = self.node.runtime.monotonic();
        let mut brought = 0;
        for round in 0..ROUNDS_MAX {
            let missing = self.missing().await?;
            self.progress.lacks(&missing);
            let status = self.progress.status();
            if round == 0 {
                tracing::info!(sequence = %status.sequence, chunks = status.chunks, chunks_here = status.chunks_here,
                    bytes = status.bytes, bytes_here = status.bytes_here, "a snapshot begins to come");
                self.must_fit(status.bytes - status.bytes_here)?;
            }
            if missing.is_empty() {
                let seconds = (self.node.runtime.monotonic() - began).as_secs_f64();
                tracing::info!(sequence = %status.sequence, brought, seconds, "a snapshot is here");
                return Ok(());
            }
            brought += missing.iter().map(|chunk| chunk.bytes).sum::<u64>();
            self.bring(missing).await?;
        }
        Err(Fault::new("chunks of it that were stored are gone again and again: is the disk sound?"))
    }

    /// Tells how far it is, and holds on to what has come, until the transfer ends.
    async fn watch(&self) -> Result<(), Fault> {
        let mut counted_on = self.node.runtime.monotonic();
        loop {
            self.node.runtime.sleep(TELL_EVERY).await;
            let status = self.progress.status();
            tracing::info!(sequence = %status.sequence, chunks = status.chunks, chunks_here = status.chunks_here,
                bytes = status.bytes, bytes_here = status.bytes_here, percent = status.percent(), "a snapshot is coming");
            if self.node.runtime.monotonic() - counted_on > COUNT_ON_EVERY {
                self.missing().await?;
                counted_on = self.node.runtime.monotonic();
            }
        }
    }

    /// Which chunks are not here. Those that are stay for now.
    async fn missing(&self) -> Result<Vec<ChunkRef>, Fault> {
        let mut missing = BTreeSet::new();
        let hashes: Vec<Hash> = self.manifest.chunks.iter().map(|chunk| chunk.hash).collect();
        for hashes in hashes.chunks(HASHES_AT_ONCE) {
            let of_these = self.node.archive.missing_chunks(hashes).await;
            missing.extend(of_these.map_err(|error| storage("chunks", error))?);
        }
        let chunks = self.manifest.chunks.iter();
        Ok(chunks.filter(|chunk| missing.contains(&chunk.hash)).copied().collect())
    }

    /// Refuses what the disk has no room for: it would end the node half-way.
    fn must_fit(&self, bytes: u64) -> Result<(), Fault> {
        match self.node.space.left() {
            Some(left) if left < bytes => Err(Fault::new(format!(
                "{} MiB have to come, and the disk has room for {} MiB beyond what is kept free: make room on it",
                bytes >> 20,
                left >> 20
            ))),
            _ => Ok(()),
        }
    }

    /// Fetches chunks and stores them, both at the same time. When one cannot be had, those under way
    /// still come, and no others.
    async fn bring(&self, missing: Vec<ChunkRef>) -> Result<(), Fault> {
        futures::stream::iter(missing)
            .take_while(|_| futures::future::ready(self.failed.get().is_none()))
            .map(|chunk| self.fetch(chunk))
            .buffer_unordered(CHUNKS_AT_ONCE)
            .filter_map(futures::future::ready)
            .ready_chunks(CHUNKS_AT_ONCE)
            .map(|fetched| self.store(fetched))
            .buffer_unordered(WRITES_AT_ONCE)
            .try_for_each(futures::future::ok)
            .await?;
        match self.failed.get() {
            None => Ok(()),
            Some(why) => Err(Fault::new(why.clone())),
        }
    }

    async fn store(&self, fetched: Vec<Fetched>) -> Result<(), Fault> {
        let count = fetched.len() as u64;
        let bytes = fetched.iter().map(|fetched| fetched.bytes.len() as u64).sum();
        let mut rooms = Vec::with_capacity(fetched.len());
        let mut chunks = Vec::with_capacity(fetched.len());
        for Fetched { hash, bytes, room } in fetched {
            chunks.push((hash, bytes));
            rooms.push(room);
        }
        self.node.archive.put_chunks(chunks).await.map_err(|error| storage("chunks", error))?;
        self.progress.has_stored(count, bytes);
        Ok(())
    }

    /// Asks one node after the other until one sends the chunk; none when nobody does.
    async fn fetch(&self, chunk: ChunkRef) -> Option<Fetched> {
        let room = u32::try_from(chunk.bytes).unwrap_or(ROOM_BYTES).min(ROOM_BYTES);
        let room = self.node.room.clone().acquire_many_owned(room).await.expect("it is never closed");
        let community = self.manifest.community;
        let is_it = |bytes: &[u8]| chunk.names(bytes);
        let peers = &self.node.peers;
        if let Some((bytes, _)) = self.givers.fetch(peers, community, chunk.hash, CHUNK_TIMEOUT, is_it).await
        {
            return Some(Fetched { hash: chunk.hash, bytes, room });
        }
        // The first that fails says why; the others would say the same.
        let told = self.givers.told();
        let _ = self.failed.set(format!("no node gives chunk {} ({told})", chunk.hash));
        None
    }

    async fn hold_components(&self) {
        for component in self.manifest.program.iter().flat_map(|program| program.components()) {
            // Native programs have no components; what no peer has now is waited for before it runs.
            if let Err(refusal) = self.node.components.hold(component, &self.givers.nodes()).await {
                tracing::debug!(%component, %refusal, "a snapshot's component did not come along");
            }
        }
    }
}
