//! Snapshots on this node: built from a captured state, restored at start, fetched from a peer.
//!
//! Chunks are stored by content, so what is here already is neither written nor fetched again.

use crate::{
    components::Components,
    peer::{ask::Peers, method},
    refuse,
    replica::Captured,
    roots::{Root, Roots},
};
use althing_consensus::{
    peers::Lane,
    port::{AppliedState, Position, SnapshotBuilder, SnapshotFetch, SnapshotHandle},
};
use althing_core::{
    ids::{CommunityId, Hash, NodeId, Sequence},
    machine::Machine,
    program::Fault,
    snapshot::{ChunkRef, Cut, Cutter, Manifest, Piece, Restoration},
};
use althing_store::port::{Archive, SnapshotRecord, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Chunks written or fetched at a time.
const CHUNKS_AT_ONCE: usize = 16;
/// How long one chunk may take.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// The cut that the next one starts from, shared by a community's builders. None while one is being made.
pub(crate) type LastCut = Arc<Mutex<Option<Arc<Cut>>>>;

/// Builds one snapshot.
pub(crate) struct Builder {
    pub(crate) captured: Captured,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) fingerprint: Option<Hash>,
    pub(crate) last_cut: LastCut,
    pub(crate) roots: Arc<Roots>,
}

#[async_trait]
impl SnapshotBuilder for Builder {
    async fn build(&mut self) -> Result<SnapshotHandle, Fault> {
        let previous = self.last_cut.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stored = match self.store(previous.as_deref()).await {
            // A chunk of the cut before went with its snapshot, when another was installed meanwhile.
            Err(StoreError::MissingChunk { .. }) if previous.is_some() => self.store(None).await,
            stored => stored,
        };
        let (manifest, cut) = stored.map_err(|error| storage("a snapshot", error))?;
        *self.last_cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(cut));
        let view = &self.captured.view;
        let (sequence, digest) = (view.sequence(), view.digest());
        self.roots.push(Root { sequence, digest, root: manifest.state_root });
        let oldest_kept = view.sequence().0.saturating_sub(view.policy().retention.transitions) + 1;
        self.archive
            .prune_history(manifest.community, Sequence(oldest_kept))
            .await
            .map_err(|error| storage("history", error))?;
        Ok(SnapshotHandle { applied: self.captured.applied.clone(), manifest: manifest.encode() })
    }
}

impl Builder {
    /// Stores the chunks that are not in `previous`, then the manifest.
    async fn store(&self, previous: Option<&Cut>) -> Result<(Manifest, Cut), StoreError> {
        let view = &self.captured.view;
        let mut cutter = Cutter::new(view.state().clone(), previous);
        loop {
            let new: Vec<_> = cutter.by_ref().filter_map(fresh).take(CHUNKS_AT_ONCE).collect();
            if new.is_empty() {
                break;
            }
            self.archive.put_chunks(new).await?;
        }
        let cut = cutter.finish();
        let manifest = manifest(&self.captured, cut.chunks(), self.fingerprint);
        keep(&*self.archive, &manifest, view.policy().retention.snapshots).await?;
        Ok((manifest, cut))
    }
}

fn fresh(piece: Piece) -> Option<(Hash, Bytes)> {
    match piece {
        Piece::Kept(_) => None,
        Piece::New(chunk) => Some((chunk.hash, chunk.bytes)),
    }
}

/// What a manifest's opaque log id holds: consensus' record, whole.
#[derive(Serialize, Deserialize)]
pub(crate) struct LogRecord {
    pub(crate) position: Option<Position>,
}

fn manifest(captured: &Captured, chunks: Vec<ChunkRef>, fingerprint: Option<Hash>) -> Manifest {
    let applied = &captured.applied;
    Manifest {
        log_index: applied.position.as_ref().map_or(0, |position| position.index),
        log_id: althing_core::codec::encode(&LogRecord { position: applied.position.clone() }).into(),
        membership: applied.membership.clone().unwrap_or_default(),
        fingerprint,
        ..Manifest::of(&captured.view, chunks)
    }
}

/// How far in the log an encoded manifest's state is.
///
/// # Errors
/// A fault when it cannot be read.
pub(crate) fn applied(manifest: &[u8]) -> Result<AppliedState, Fault> {
    let manifest =
        Manifest::decode(manifest).map_err(|error| Fault::because("a manifest cannot be read", error))?;
    applied_of(&manifest)
}

fn applied_of(manifest: &Manifest) -> Result<AppliedState, Fault> {
    let record: LogRecord = althing_core::codec::decode(&manifest.log_id)
        .map_err(|error| Fault::because("a snapshot's log id cannot be read", error))?;
    let membership = (!manifest.membership.is_empty()).then(|| manifest.membership.clone());
    Ok(AppliedState { position: record.position, membership })
}

/// Commits a snapshot whose chunks are stored, and drops those beyond the retention.
pub(crate) async fn keep(
    archive: &dyn Archive,
    manifest: &Manifest,
    snapshots: u32,
) -> Result<(), StoreError> {
    let record = SnapshotRecord {
        sequence: manifest.sequence,
        log_index: manifest.log_index,
        manifest: manifest.encode(),
    };
    let chunks = manifest.chunks.iter().map(|chunk| chunk.hash).collect();
    archive.put_snapshot(manifest.community, record, chunks).await?;
    archive.retain_snapshots(manifest.community, snapshots).await
}

/// The newest snapshot that can be restored, and the community it holds; none when there is none.
/// One that is damaged is told of and passed over.
///
/// # Errors
/// When storage fails, or every snapshot there is is damaged.
pub(crate) async fn newest(
    archive: &dyn Archive,
    community: CommunityId,
    engine: Hash,
) -> Result<Option<(Machine, AppliedState)>, Fault> {
    let records = archive.snapshots(community).await.map_err(|error| storage("snapshots", error))?;
    let mut damage = None;
    for record in records {
        match restore(archive, &record.manifest, engine).await {
            Ok(restored) => return Ok(Some(restored)),
            Err(fault) => {
                tracing::error!(%community, sequence = %record.sequence, fault = refuse::chain(&fault), "a snapshot is damaged");
                damage = Some(fault);
            }
        }
    }
    damage.map_or(Ok(None), Err)
}

/// The community that a stored snapshot holds, verified chunk by chunk and as a whole.
///
/// # Errors
/// A fault that says what is damaged.
pub(crate) async fn restore(
    archive: &dyn Archive,
    manifest: &[u8],
    engine: Hash,
) -> Result<(Machine, AppliedState), Fault> {
    let manifest =
        Manifest::decode(manifest).map_err(|error| Fault::because("a manifest cannot be read", error))?;
    same_engine(&manifest, engine)?;
    let mut restoration = Restoration::default();
    for &chunk in &manifest.chunks {
        let bytes = archive.chunk(chunk.hash).await.map_err(|error| storage("a chunk", error))?;
        let bytes =
            bytes.ok_or_else(|| Fault::new(format!("chunk {} of a snapshot is missing", chunk.hash)))?;
        restoration
            .add(chunk, &bytes)
            .map_err(|error| Fault::because("a snapshot cannot be restored", error))?;
    }
    let machine = Machine::restore(restoration.finish())
        .map_err(|error| Fault::because("a snapshot cannot be restored", error))?;
    manifest
        .check(&machine.view())
        .map_err(|error| Fault::because("a snapshot is not what its manifest says", error))?;
    Ok((machine, applied_of(&manifest)?))
}

/// Refuses a state that another engine has made: what this one would make of the next operations
/// may differ (promise P11).
fn same_engine(manifest: &Manifest, engine: Hash) -> Result<(), Fault> {
    match manifest.fingerprint {
        Some(made_by) if made_by != engine => Err(Fault::new(format!(
            "the snapshot at sequence {} was made by the engine {made_by}, this build has {engine}: \
             start the build that made it",
            manifest.sequence
        ))),
        _ => Ok(()),
    }
}

/// Fetches what a snapshot names.
pub(crate) struct Fetcher {
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) components: Components,
    pub(crate) peers: Peers,
}

#[async_trait]
impl SnapshotFetch for Fetcher {
    async fn fetch(&self, from: NodeId, manifest: Bytes) -> Result<(), Fault> {
        let manifest = Manifest::decode(&manifest).map_err(|error| {
            Fault::because(format!("node {from} sent a manifest that cannot be read"), error)
        })?;
        let wanted: Vec<Hash> = manifest.chunks.iter().map(|chunk| chunk.hash).collect();
        let missing = self.archive.missing_chunks(&wanted).await.map_err(|error| storage("chunks", error))?;
        let missing: BTreeSet<Hash> = missing.into_iter().collect();
        tracing::info!(community = %manifest.community, sequence = %manifest.sequence, from = %from,
            chunks = wanted.len(), missing = missing.len(), "fetching a snapshot");
        let references: Vec<ChunkRef> =
            manifest.chunks.iter().filter(|chunk| missing.contains(&chunk.hash)).copied().collect();
        futures::stream::iter(references)
            .map(|chunk| self.fetch_chunk(from, manifest.community, chunk))
            .buffered(CHUNKS_AT_ONCE)
            .try_chunks(CHUNKS_AT_ONCE)
            .map_err(|error| error.1)
            .try_for_each(|chunks| async move {
                self.archive.put_chunks(chunks).await.map_err(|error| storage("chunks", error))
            })
            .await?;
        for component in manifest.program.iter().flat_map(|program| program.components()) {
            // Native programs have no components; what no peer has now is waited for before it runs.
            if let Err(refusal) = self.components.hold(component, &[from]).await {
                tracing::debug!(%component, %refusal, "a snapshot's component did not come along");
            }
        }
        Ok(())
    }
}

impl Fetcher {
    async fn fetch_chunk(
        &self,
        from: NodeId,
        community: CommunityId,
        chunk: ChunkRef,
    ) -> Result<(Hash, Bytes), Fault> {
        let bytes: Bytes = self
            .peers
            .ask(from, Lane::Bulk, community, method::CHUNK, &chunk.hash, CHUNK_TIMEOUT)
            .await
            .map_err(|refusal| {
                Fault::because(format!("chunk {} did not come from node {from}", chunk.hash), refusal)
            })?;
        if chunk.names(&bytes) {
            return Ok((chunk.hash, bytes));
        }
        Err(Fault::new(format!("node {from} sent other bytes for chunk {}", chunk.hash)))
    }
}

fn storage(what: &str, error: StoreError) -> Fault {
    Fault::because(format!("storage failed at {what}"), error)
}
