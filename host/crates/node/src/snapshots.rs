//! Snapshots on this node: built from a captured state, restored at start or when one has come.
//!
//! Chunks are stored by content, so what is here already is not written again. How chunks come from
//! peers is [`crate::transfer`]'s.

use crate::{
    archiver::Marks,
    replica::Captured,
    reread::{Reread, reread},
    retention,
    roots::{Root, Roots},
};
use althing_consensus::port::{AppliedState, Position, SnapshotBuilder, SnapshotHandle};
use althing_core::{
    ids::{CommunityId, Hash},
    machine::Machine,
    program::Fault,
    snapshot::{ChunkRef, Cut, Cutter, Manifest, Piece, Restoration, RestoreError},
};
use althing_store::port::{Archive, SnapshotRecord, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Chunks written at a time.
const CHUNKS_AT_ONCE: usize = 16;

/// The cut that the next one starts from, shared by a community's builders. None while one is being made.
pub(crate) type LastCut = Arc<Mutex<Option<Arc<Cut>>>>;

/// Builds one snapshot.
pub(crate) struct Builder {
    pub(crate) captured: Captured,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) fingerprint: Option<Hash>,
    pub(crate) last_cut: LastCut,
    pub(crate) roots: Arc<Roots>,
    pub(crate) archived: Marks,
    /// Known when it is built.
    pub(crate) falls_back_to: u64,
}

#[async_trait]
impl SnapshotBuilder for Builder {
    async fn build(&mut self) -> Result<SnapshotHandle, Fault> {
        let previous = self.last_cut.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stored = match self.store(previous.as_deref()).await {
            // A chunk of the cut before went with its snapshot, when another was installed meanwhile; or it
            // was found damaged, and is stored anew now.
            Err(StoreError::MissingChunk { .. }) if previous.is_some() => self.store(None).await,
            stored => stored,
        };
        let (manifest, cut) = stored.map_err(|error| storage("a snapshot", error))?;
        let policy = &self.captured.view.policy().retention;
        self.falls_back_to = retention::falls_back_to(&*self.archive, manifest.community, policy)
            .await
            .map_err(|error| storage("the snapshots", error))?;
        *self.last_cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(cut));
        let view = &self.captured.view;
        let (sequence, digest) = (view.sequence(), view.digest());
        self.roots.push(Root { sequence, digest, time: view.time(), root: manifest.state_root });
        let oldest_kept = retention::oldest_kept(view.sequence(), &view.policy().retention);
        // What is in no durable segment of the archive stays.
        let keep_from = self.archived.keep_from(manifest.community, oldest_kept);
        self.archive
            .prune_history(manifest.community, keep_from)
            .await
            .map_err(|error| storage("history", error))?;
        Ok(SnapshotHandle { applied: self.captured.applied.clone(), manifest: manifest.encode() })
    }

    fn falls_back_to(&self) -> u64 {
        self.falls_back_to
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
        retention::keep(&*self.archive, &manifest, &view.policy().retention).await?;
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

/// How far in the log a manifest's state is.
///
/// # Errors
/// A fault when it cannot be read.
pub(crate) fn applied(manifest: &Manifest) -> Result<AppliedState, Fault> {
    let record: LogRecord = althing_core::codec::decode(&manifest.log_id)
        .map_err(|error| Fault::because("a snapshot's log id cannot be read", error))?;
    let membership = (!manifest.membership.is_empty()).then(|| manifest.membership.clone());
    Ok(AppliedState { position: record.position, membership })
}

/// The snapshots that are stored, newest first, but for those of which the store says something else than
/// their manifests: they have a hash, what is written beside them has none, and the log is purged by it.
///
/// # Errors
/// When storage fails.
pub(crate) async fn stored(
    archive: &dyn Archive,
    community: CommunityId,
) -> Result<Vec<SnapshotRecord>, StoreError> {
    let mut records = archive.snapshots(community).await?;
    records.retain(|record| {
        // One that cannot be read is told by whoever wants to restore it.
        let is_another = is_another(record, community);
        if is_another {
            tracing::error!(%community, sequence = %record.sequence, "a snapshot is not the one that the archive says: it counts as none");
        }
        !is_another
    });
    Ok(records)
}

/// Whether a record's manifest can be read, and is of something else than the record says.
pub(crate) fn is_another(record: &SnapshotRecord, community: CommunityId) -> bool {
    let said = (community, record.sequence, record.log_index);
    let manifest = Manifest::decode(&record.manifest);
    manifest.is_ok_and(|manifest| (manifest.community, manifest.sequence, manifest.log_index) != said)
}

/// The newest snapshot that is whole, as far as is known.
///
/// # Errors
/// When storage fails.
pub(crate) async fn newest(
    archive: &dyn Archive,
    community: CommunityId,
) -> Result<Option<(SnapshotRecord, Manifest)>, StoreError> {
    Ok(whole(archive, community).await?.into_iter().next())
}

/// The snapshots that are whole, as far as is known, newest first.
///
/// # Errors
/// When storage fails.
pub(crate) async fn whole(
    archive: &dyn Archive,
    community: CommunityId,
) -> Result<Vec<(SnapshotRecord, Manifest)>, StoreError> {
    let damaged = archive.damaged_snapshots(community).await?;
    let records = stored(archive, community).await?.into_iter();
    let whole = records.filter(|record| !damaged.contains_key(&record.sequence));
    let read = |record: SnapshotRecord| Some((Manifest::decode(&record.manifest).ok()?, record));
    Ok(whole.filter_map(read).map(|(manifest, record)| (record, manifest)).collect())
}

/// Why a snapshot was not restored.
#[derive(Debug)]
pub(crate) enum NotRestored {
    /// What is stored is not what was written: another snapshot may do.
    Damaged(Fault),
    /// It must not be used here, and none like it.
    Refused(Fault),
}

impl From<NotRestored> for Fault {
    fn from(why: NotRestored) -> Self {
        match why {
            NotRestored::Damaged(fault) | NotRestored::Refused(fault) => fault,
        }
    }
}

/// The community that a stored snapshot holds, verified chunk by chunk and as a whole. Chunks that are
/// found damaged are condemned, all of them; sound ones never, whatever the manifest says of them.
///
/// # Errors
/// [`NotRestored`], which says what is damaged.
pub(crate) async fn restore(
    archive: &dyn Archive,
    manifest: &[u8],
    engine: Hash,
) -> Result<(Machine, AppliedState), NotRestored> {
    let manifest = Manifest::decode(manifest)
        .map_err(|error| NotRestored::Damaged(Fault::because("a manifest cannot be read", error)))?;
    let machine = machine(archive, &manifest, engine).await?;
    let applied = applied(&manifest).map_err(NotRestored::Damaged)?;
    Ok((machine, applied))
}

/// As [`restore`], of a manifest that need not say how far in a log its state is.
///
/// # Errors
/// As [`restore`].
pub(crate) async fn machine(
    archive: &dyn Archive,
    manifest: &Manifest,
    engine: Hash,
) -> Result<Machine, NotRestored> {
    same_engine(manifest, engine).map_err(NotRestored::Refused)?;
    let mut restoration = Restoration::default();
    for (place, &chunk) in manifest.chunks.iter().enumerate() {
        let bytes = archive.chunk(chunk.hash).await;
        let bytes = bytes.map_err(|error| NotRestored::Refused(storage("a chunk", error)))?;
        match bytes.map(|bytes| restoration.add(chunk, &bytes)) {
            Some(Ok(())) => {}
            None | Some(Err(RestoreError::WrongBytes { .. })) => {
                return Err(condemned(archive, manifest, place).await);
            }
            Some(Err(error)) => {
                return Err(NotRestored::Damaged(Fault::because("a snapshot cannot be restored", error)));
            }
        }
    }
    let machine = Machine::restore(restoration.finish())
        .map_err(|error| NotRestored::Damaged(Fault::because("a snapshot cannot be restored", error)))?;
    manifest.check(&machine.view()).map_err(|error| {
        NotRestored::Damaged(Fault::because("a snapshot is not what its manifest says", error))
    })?;
    Ok(machine)
}

/// Why a snapshot cannot be restored from one chunk on. Every chunk from there on that is not what its name
/// says is condemned; one that has another size than the manifest says is left alone, for it may be sound and
/// others name it.
async fn condemned(archive: &dyn Archive, manifest: &Manifest, from: usize) -> NotRestored {
    let (mut damaged, mut missing, mut other_size) = (BTreeSet::new(), BTreeSet::new(), None);
    for &chunk in &manifest.chunks[from..] {
        match reread(archive, chunk.hash).await {
            Ok(Reread::Sound(bytes)) if bytes == chunk.bytes => {}
            Ok(Reread::Sound(bytes)) => drop(other_size.get_or_insert((chunk, bytes))),
            Ok(Reread::Damaged(_)) => drop(damaged.insert(chunk.hash)),
            Ok(Reread::Missing) => drop(missing.insert(chunk.hash)),
            Ok(Reread::Unreadable(error)) | Err(error) => {
                return NotRestored::Refused(storage("a chunk", error));
            }
        }
    }
    if let Err(error) = archive.condemn_chunks(damaged.iter().copied().collect()).await {
        return NotRestored::Refused(storage("damaged chunks", error));
    }
    let (sequence, chunks) = (manifest.sequence, manifest.chunks.len());
    let what = match (damaged.union(&missing).next(), other_size) {
        (Some(first), _) => format!(
            "{} of {chunks} chunks of the snapshot at sequence {sequence} are damaged or missing, among them {first}",
            damaged.len() + missing.len(),
        ),
        (None, Some((ChunkRef { hash, bytes }, stored))) => format!(
            "the manifest of the snapshot at sequence {sequence} gives chunk {hash} a size of {bytes} bytes, and it has \
             {stored}"
        ),
        (None, None) => format!("chunks of the snapshot at sequence {sequence} were missing a moment ago"),
    };
    NotRestored::Damaged(Fault::new(what))
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

/// An error of storage as a fault.
pub(crate) fn storage(what: &str, error: StoreError) -> Fault {
    Fault::because(format!("storage failed at {what}"), error)
}
