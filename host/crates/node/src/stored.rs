//! The snapshots that are stored on this node, for whoever looks after them: list, pin, verify, delete.
//!
//! Each node cuts and keeps its own, so all of this is about the node that is asked.

use crate::{
    node::Node,
    refuse,
    reread::{Reread, reread},
    retention,
};
use althing_core::{
    ids::{CommunityId, Hash, Sequence},
    policy::RetentionPolicy,
    refusal::{Code, Refusal},
    snapshot::Manifest,
    time::Timestamp,
};
use althing_store::port::{SnapshotRecord, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// Longest note of a pin, in bytes.
const NOTE_BYTES_MAX: usize = 256;
/// Most snapshots of a community that are pinned on a node: each holds on to its disk.
const PINNED_MAX: usize = 64;
/// Most damaged chunks that are named.
const NAMED_MAX: usize = 16;

/// A snapshot on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The last sequence in it.
    pub sequence: Sequence,
    /// The last log index in it.
    pub log_index: u64,
    /// What its manifest says; none when that cannot be read.
    pub facts: Option<SnapshotFacts>,
    /// Its note, if it is pinned.
    pub pinned: Option<String>,
    /// Chunks that are known to be damaged, and not mended yet.
    pub damaged_chunks: u64,
}

/// What a manifest says of its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// The community's time of the last batch in it.
    pub time: Timestamp,
    /// The name of its state.
    pub state_root: Hash,
    /// The digest up to its sequence.
    pub digest: Hash,
    /// How many chunks.
    pub chunks: u64,
    /// Their bytes; chunks that several snapshots share are stored once.
    pub bytes: u64,
}

/// What came of reading a snapshot again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedSnapshot {
    /// The last sequence in it.
    pub sequence: Sequence,
    /// Chunks that were read.
    pub chunks: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Chunks that are damaged or missing.
    pub damaged_chunks: u64,
    /// The first of them, at most sixteen.
    pub damaged: Vec<Hash>,
    /// What is wrong with its manifest, if anything.
    pub manifest: Option<String>,
}

impl CheckedSnapshot {
    /// Whether it can be restored.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged_chunks == 0 && self.manifest.is_none()
    }
}

impl Node {
    /// The snapshots of a community on this node, newest first.
    ///
    /// # Errors
    /// There is no such community, or no replica of it here.
    pub async fn list_snapshots(&self, community: &str) -> Result<Vec<StoredSnapshot>, Refusal> {
        let id = self.here(community).await?;
        let archive = &self.shared().store.archive;
        let records = archive.snapshots(id).await.map_err(failed)?;
        let mut pinned = archive.pinned_snapshots(id).await.map_err(failed)?;
        let damaged = archive.damaged_snapshots(id).await.map_err(failed)?;
        let stored = records.into_iter().map(|record| StoredSnapshot {
            sequence: record.sequence,
            log_index: record.log_index,
            facts: Manifest::decode(&record.manifest).ok().map(|manifest| facts(&manifest)),
            pinned: pinned.remove(&record.sequence),
            damaged_chunks: damaged.get(&record.sequence).copied().unwrap_or(0),
        });
        Ok(stored.collect())
    }

    /// Keeps a snapshot on this node until it is unpinned, and notes why.
    ///
    /// # Errors
    /// There is no such snapshot here; the note is too long; too many are pinned.
    pub async fn pin_snapshot(
        &self,
        community: &str,
        sequence: Sequence,
        note: String,
    ) -> Result<(), Refusal> {
        let id = self.here(community).await?;
        if note.len() > NOTE_BYTES_MAX {
            let message = format!("the note has {} bytes, at most {NOTE_BYTES_MAX} are kept", note.len());
            return Err(Refusal::new(Code::BadRequest, message));
        }
        let archive = &self.shared().store.archive;
        let pinned = archive.pinned_snapshots(id).await.map_err(failed)?;
        if pinned.len() >= PINNED_MAX && !pinned.contains_key(&sequence) {
            let message = format!("{PINNED_MAX} snapshots are pinned on this node: unpin one first");
            return Err(Refusal::new(Code::BadRequest, message));
        }
        match archive.pin_snapshot(id, sequence, note).await.map_err(failed)? {
            true => Ok(()),
            false => Err(self.no_snapshot(community, sequence)),
        }
    }

    /// Takes the pin of a snapshot on this node away; from now on the community's policy decides.
    ///
    /// # Errors
    /// There is no such snapshot here.
    pub async fn unpin_snapshot(&self, community: &str, sequence: Sequence) -> Result<(), Refusal> {
        let id = self.here(community).await?;
        match self.shared().store.archive.unpin_snapshot(id, sequence).await.map_err(failed)? {
            true => Ok(()),
            false => Err(self.no_snapshot(community, sequence)),
        }
    }

    /// Drops a snapshot on this node.
    ///
    /// # Errors
    /// There is none; [`Code::SnapshotNeeded`] when it is pinned, or a restart needs it.
    pub async fn delete_snapshot(&self, community: &str, sequence: Sequence) -> Result<(), Refusal> {
        let id = self.here(community).await?;
        let here = self.hosted(id).ok_or_else(|| self.no_replica(id))?;
        let archive = &self.shared().store.archive;
        let records = archive.snapshots(id).await.map_err(failed)?;
        if !records.iter().any(|record| record.sequence == sequence) {
            return Err(self.no_snapshot(community, sequence));
        }
        let damaged = archive.damaged_snapshots(id).await.map_err(failed)?;
        if needed(&records, &damaged, &here.view().policy().retention).contains(&sequence) {
            let message = format!(
                "the snapshot at sequence {sequence} is among those that a restart of node {} begins with or \
                 falls back to: it may go when there are newer ones (`althing snapshot create {community}`)",
                self.id()
            );
            return Err(Refusal::new(Code::SnapshotNeeded, message));
        }
        if archive.drop_snapshots(id, vec![sequence]).await.map_err(failed)?.is_empty() {
            let message = format!(
                "the snapshot at sequence {sequence} is pinned on node {}: `althing snapshot unpin {community} \
                 {sequence}` first",
                self.id()
            );
            return Err(Refusal::new(Code::SnapshotNeeded, message));
        }
        tracing::info!(community = %id, %sequence, "a snapshot was deleted");
        Ok(())
    }

    /// Reads a snapshot on this node again, or all of a community's, chunk by chunk; newest first. What is
    /// found damaged is mended in the background, as if the scrub had found it.
    ///
    /// # Errors
    /// There is no such snapshot here, or storage fails.
    pub async fn verify_snapshots(
        &self,
        community: &str,
        only: Option<Sequence>,
    ) -> Result<Vec<CheckedSnapshot>, Refusal> {
        let id = self.here(community).await?;
        let archive = &self.shared().store.archive;
        let mut records = archive.snapshots(id).await.map_err(failed)?;
        if let Some(sequence) = only {
            records.retain(|record| record.sequence == sequence);
            if records.is_empty() {
                return Err(self.no_snapshot(community, sequence));
            }
        }
        let mut read = BTreeMap::new();
        let mut checked = Vec::with_capacity(records.len());
        for record in &records {
            checked.push(self.check(record, &mut read).await.map_err(failed)?);
        }
        if checked.iter().any(|checked| !checked.is_whole()) {
            self.scrub().hurry();
            // One that was dropped meanwhile lacks nothing that anybody needs.
            let here = archive.snapshots(id).await.map_err(failed)?;
            let is_here = |sequence| here.iter().any(|record| record.sequence == sequence);
            checked.retain(|checked| is_here(checked.sequence));
        }
        Ok(checked)
    }

    /// Reads a snapshot's chunks, but for those that were read already, and condemns what is damaged.
    async fn check(
        &self,
        record: &SnapshotRecord,
        read: &mut BTreeMap<Hash, Option<u64>>,
    ) -> Result<CheckedSnapshot, StoreError> {
        let mut checked = CheckedSnapshot {
            sequence: record.sequence,
            chunks: 0,
            bytes: 0,
            damaged_chunks: 0,
            damaged: Vec::new(),
            manifest: None,
        };
        let manifest = match Manifest::decode(&record.manifest) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(CheckedSnapshot { manifest: Some(refuse::chain(&error)), ..checked }),
        };
        let mut other_sizes = Vec::new();
        for &chunk in &manifest.chunks {
            let size = match read.get(&chunk.hash) {
                Some(&size) => size,
                None => {
                    let size = self.read_again(chunk.hash).await?;
                    read.insert(chunk.hash, size);
                    size
                }
            };
            checked.chunks += 1;
            checked.bytes += chunk.bytes;
            if size.is_none() {
                checked.damaged_chunks += 1;
                if checked.damaged.len() < NAMED_MAX {
                    checked.damaged.push(chunk.hash);
                }
            }
            other_sizes.extend(size.filter(|&size| size != chunk.bytes).map(|_| chunk.hash));
        }
        checked.manifest = other_sizes.first().map(|hash| {
            format!("it gives {} chunks a size that they do not have, among them {hash}", other_sizes.len())
        });
        Ok(checked)
    }

    /// How many bytes a stored chunk has that is what its name says; one that is not is condemned.
    async fn read_again(&self, hash: Hash) -> Result<Option<u64>, StoreError> {
        let archive = &self.shared().store.archive;
        match reread(&**archive, hash).await? {
            Reread::Sound(bytes) => return Ok(Some(bytes)),
            Reread::Missing => {}
            Reread::Damaged(_) => {
                tracing::error!(chunk = %hash, "a stored chunk is not what was written");
                archive.condemn_chunks(vec![hash]).await?;
            }
            Reread::Unreadable(error) => {
                tracing::error!(chunk = %hash, error = refuse::chain(&error), "a stored chunk cannot be read");
            }
        }
        Ok(None)
    }

    /// The id of a community that has, or is to have, a replica here, whether it runs or not.
    async fn here(&self, community: &str) -> Result<CommunityId, Refusal> {
        let id = self.resolve(community).await?;
        let is_here = self.hosted(id).is_some() || self.awaited().contains_key(&id);
        is_here.then_some(id).ok_or_else(|| self.no_replica(id))
    }

    fn no_snapshot(&self, community: &str, sequence: Sequence) -> Refusal {
        let message = format!(
            "node {} has no snapshot of {community} at sequence {sequence}: `althing snapshot list {community}` \
             lists those of the node that it asks",
            self.id()
        );
        Refusal::new(Code::NoSnapshot, message)
    }
}

/// The newest snapshot, and the newest ones that are whole, as many as a restart needs.
fn needed(
    newest_first: &[SnapshotRecord],
    damaged: &BTreeMap<Sequence, u64>,
    policy: &RetentionPolicy,
) -> BTreeSet<Sequence> {
    let sequences = newest_first.iter().map(|record| record.sequence);
    let whole = sequences.clone().filter(|sequence| !damaged.contains_key(sequence));
    sequences.take(1).chain(whole.take(retention::needed(policy))).collect()
}

fn facts(manifest: &Manifest) -> SnapshotFacts {
    SnapshotFacts {
        time: manifest.time,
        state_root: manifest.state_root,
        digest: manifest.digest,
        chunks: manifest.chunks.len() as u64,
        bytes: manifest.bytes(),
    }
}

fn failed(error: StoreError) -> Refusal {
    refuse::store(&error)
}
