//! Which snapshots stay, which go, and how far back the log has to reach for those that stay.
//!
//! The newest stays, and the one that a restart falls back to when the newest is found damaged; with it
//! the log from there on. What else stays is the community's policy: a number, an age by the community's
//! own clock, and whatever is pinned here.

use crate::snapshots;
use althing_core::{
    ids::{CommunityId, Sequence},
    policy::RetentionPolicy,
    snapshot::Manifest,
    time::Timestamp,
};
use althing_store::port::{Archive, SnapshotRecord, StoreError};

/// Commits a snapshot whose chunks are stored, and drops those that are beyond the policy.
///
/// # Errors
/// When storage fails, or a chunk is not there.
pub(crate) async fn keep(
    archive: &dyn Archive,
    manifest: &Manifest,
    policy: &RetentionPolicy,
) -> Result<(), StoreError> {
    let record = SnapshotRecord {
        sequence: manifest.sequence,
        log_index: manifest.log_index,
        manifest: manifest.encode(),
    };
    let chunks = manifest.chunks.iter().map(|chunk| chunk.hash).collect();
    archive.put_snapshot(manifest.community, record, chunks).await?;
    archive.retain_snapshots(manifest.community, policy.snapshots).await?;
    if policy.snapshot_age_millis == 0 {
        return Ok(());
    }
    let records = archive.snapshots(manifest.community).await?;
    // One that cannot be read has no age: it goes by number.
    let cut = |record: &SnapshotRecord| {
        let manifest = Manifest::decode(&record.manifest).ok()?;
        Some((manifest.sequence, manifest.time))
    };
    let aged = aged(&records.iter().filter_map(cut).collect::<Vec<_>>(), policy);
    if !aged.is_empty() {
        archive.drop_snapshots(manifest.community, aged).await?;
    }
    Ok(())
}

/// The snapshots, given newest first, that are too old beside the newest.
fn aged(newest_first: &[(Sequence, Timestamp)], policy: &RetentionPolicy) -> Vec<Sequence> {
    let Some((_, newest)) = newest_first.first() else { return Vec::new() };
    let age = |time: Timestamp| newest.millis().saturating_sub(time.millis());
    let old = newest_first.iter().skip(needed(policy));
    old.filter(|(_, time)| age(*time) > policy.snapshot_age_millis).map(|(sequence, _)| *sequence).collect()
}

/// How many of the newest snapshots a restart needs: the newest, and the one that it falls back to, unless
/// the community keeps no more than one.
pub(crate) fn needed(policy: &RetentionPolicy) -> usize {
    policy.snapshots.min(2) as usize
}

/// The oldest transition that a community keeps.
pub(crate) fn oldest_kept(newest: Sequence, policy: &RetentionPolicy) -> Sequence {
    Sequence(newest.0.saturating_sub(policy.transitions) + 1)
}

/// The last log index that a restart can do without, whichever of the newest two snapshots it begins with.
/// While there is only one, it may have to begin with nothing, and needs the whole log.
///
/// # Errors
/// When storage fails.
pub(crate) async fn falls_back_to(
    archive: &dyn Archive,
    community: CommunityId,
    policy: &RetentionPolicy,
) -> Result<u64, StoreError> {
    if needed(policy) < 2 {
        return Ok(u64::MAX);
    }
    let whole = snapshots::whole(archive, community).await?;
    Ok(whole.get(1).map_or(0, |(_, manifest)| manifest.log_index))
}

#[cfg(test)]
mod tests;
