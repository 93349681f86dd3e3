//! The verbs on the snapshots of the node that answers.

use crate::{answers::hash, door::Door, fields};
use althing_core::{ids::Sequence, refusal::Refusal};
use althing_node::{CheckedSnapshot, StoredSnapshot};
use althing_proto::v1;

/// Cuts one, and waits for it.
pub(crate) async fn create(
    door: &Door,
    request: v1::CreateSnapshotRequest,
) -> Result<v1::CreateSnapshotResponse, Refusal> {
    let sequence = door.node.create_snapshot(&fields::community(request.community)?).await?;
    Ok(v1::CreateSnapshotResponse { sequence: sequence.0 })
}

/// Lists those of a community.
pub(crate) async fn list(
    door: &Door,
    request: v1::ListSnapshotsRequest,
) -> Result<v1::ListSnapshotsResponse, Refusal> {
    let stored = door.node.list_snapshots(&fields::community(request.community)?).await?;
    Ok(v1::ListSnapshotsResponse {
        snapshots: stored.into_iter().map(info).collect(),
        node: door.node.id().0,
    })
}

/// Keeps one.
pub(crate) async fn pin(
    door: &Door,
    request: v1::PinSnapshotRequest,
) -> Result<v1::PinSnapshotResponse, Refusal> {
    let v1::PinSnapshotRequest { community, sequence, note } = request;
    door.node.pin_snapshot(&fields::community(community)?, Sequence(sequence), note).await?;
    Ok(v1::PinSnapshotResponse {})
}

/// Lets the policy decide again.
pub(crate) async fn unpin(
    door: &Door,
    request: v1::UnpinSnapshotRequest,
) -> Result<v1::UnpinSnapshotResponse, Refusal> {
    let community = fields::community(request.community)?;
    door.node.unpin_snapshot(&community, Sequence(request.sequence)).await?;
    Ok(v1::UnpinSnapshotResponse {})
}

/// Drops one.
pub(crate) async fn delete(
    door: &Door,
    request: v1::DeleteSnapshotRequest,
) -> Result<v1::DeleteSnapshotResponse, Refusal> {
    let community = fields::community(request.community)?;
    door.node.delete_snapshot(&community, Sequence(request.sequence)).await?;
    Ok(v1::DeleteSnapshotResponse {})
}

/// Reads one or all again.
pub(crate) async fn verify(
    door: &Door,
    request: v1::VerifySnapshotsRequest,
) -> Result<v1::VerifySnapshotsResponse, Refusal> {
    let community = fields::community(request.community)?;
    let checked = door.node.verify_snapshots(&community, request.sequence.map(Sequence)).await?;
    Ok(v1::VerifySnapshotsResponse {
        snapshots: checked.into_iter().map(check).collect(),
        node: door.node.id().0,
    })
}

fn info(stored: StoredSnapshot) -> v1::SnapshotInfo {
    let known = v1::SnapshotInfo {
        sequence: stored.sequence.0,
        log_index: stored.log_index,
        pinned: stored.pinned.is_some(),
        note: stored.pinned.unwrap_or_default(),
        damaged_chunks: stored.damaged_chunks,
        unreadable: stored.facts.is_none(),
        ..v1::SnapshotInfo::default()
    };
    let Some(facts) = stored.facts else { return known };
    v1::SnapshotInfo {
        time: Some(facts.time.into()),
        state_root: hash(facts.state_root),
        digest: hash(facts.digest),
        chunks: facts.chunks,
        bytes: facts.bytes,
        ..known
    }
}

fn check(checked: CheckedSnapshot) -> v1::SnapshotCheck {
    v1::SnapshotCheck {
        sequence: checked.sequence.0,
        chunks: checked.chunks,
        bytes: checked.bytes,
        damaged_chunks: checked.damaged_chunks,
        damaged: checked.damaged.into_iter().map(hash).collect(),
        manifest_damage: checked.manifest.unwrap_or_default(),
    }
}
