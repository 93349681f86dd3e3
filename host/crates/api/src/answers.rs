//! What the node says of itself, its communities and programs, as messages.

use althing_core::{
    batch::ProgramManifest,
    ids::{Hash, NodeId},
};
use althing_node::{
    ArchiveStatus, Archived, CommunityRecord, ComponentInfo, MemberStatus, Node, NodeRecord, NodeStatus,
    ProgramInfo, ReplicaStatus, Role, ScrubStatus, Timing, TransferStatus,
};
use althing_proto::v1;
use bytes::Bytes;

/// A hash as a field.
pub(crate) fn hash(hash: Hash) -> Bytes {
    Bytes::copy_from_slice(&hash.0)
}

/// A community as the directory has it.
pub(crate) fn community(node: &Node, record: CommunityRecord) -> v1::CommunityInfo {
    let voters_wanted = u32::try_from(node.voters_wanted(&record)).unwrap_or(u32::MAX);
    let replicas = record.replicas.iter().map(|(id, replica)| v1::ReplicaInfo {
        replica: id.0,
        node: replica.node.0,
        voter: replica.voter,
    });
    v1::CommunityInfo {
        id: record.id.0,
        replicas: replicas.collect(),
        name: record.name,
        origin: node.origin(record.id).map(Into::into),
        timing: timing(record.timing).to_owned(),
        voters_wanted,
    }
}

/// A patience's name, if it has one.
fn timing(timing: Timing) -> &'static str {
    match timing {
        Timing::LAN => "lan",
        Timing::WAN => "wan",
        _ => "",
    }
}

/// A replica as its node has it.
pub(crate) fn replica(status: ReplicaStatus) -> v1::ReplicaStatus {
    v1::ReplicaStatus {
        community: status.community.0,
        name: status.name,
        replica: status.replica.0,
        role: role(status.role).to_owned(),
        leader_node: status.leader_node.0,
        term: status.term,
        last_index: status.last_index,
        committed_index: status.committed_index,
        applied_index: status.applied_index,
        snapshot_index: status.snapshot_index,
        sequence: status.sequence.0,
        digest: hash(status.digest),
        state_bytes: status.state_bytes,
        state_keys: status.state_keys,
        members: status.members.into_iter().map(member).collect(),
        oldest_sequence: status.oldest_sequence.0,
        fault: status.fault.unwrap_or_default(),
        waiting: status.waiting,
        subscribers: status.subscribers,
        transfer: status.transfer.map(transfer),
    }
}

fn transfer(status: TransferStatus) -> v1::TransferStatus {
    v1::TransferStatus {
        from: status.from.0,
        sequence: status.sequence.0,
        chunks: status.chunks,
        chunks_here: status.chunks_here,
        bytes: status.bytes,
        bytes_here: status.bytes_here,
    }
}

/// A role's name.
pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        Role::Stopped => "stopped",
    }
}

fn member(MemberStatus { replica, node, voter }: MemberStatus) -> v1::ReplicaInfo {
    v1::ReplicaInfo { replica: replica.0, node: node.0, voter }
}

/// A component as it describes itself.
pub(crate) fn component(
    ComponentInfo { hash: name, bytes, description }: ComponentInfo,
) -> v1::ComponentInfo {
    v1::ComponentInfo {
        hash: hash(name),
        bytes,
        kind: description.kind,
        name: description.name,
        version: description.version,
        scope: description.scope,
        config_schema: description.config,
        operation_schema: description.operations,
        query_schema: description.queries,
        result_schema: description.results,
        answer_schema: description.answers,
        event_schema: description.events,
    }
}

/// A program; `reducer` is its reducer, where that is known.
pub(crate) fn program(manifest: ProgramManifest, reducer: Option<ComponentInfo>) -> v1::ProgramInfo {
    let name = hash(manifest.hash());
    let validators = manifest.validators.into_iter().map(|validator| v1::ValidatorSpec {
        component: hash(validator.component),
        config: validator.config,
    });
    v1::ProgramInfo {
        hash: name,
        reducer: reducer.map(component),
        validators: validators.collect(),
        config: manifest.config,
    }
}

/// The programs that became a community's law, oldest first.
pub(crate) fn versions(info: &ProgramInfo) -> Vec<v1::ProgramVersion> {
    let version = |&(sequence, name): &(althing_core::ids::Sequence, Hash)| v1::ProgramVersion {
        sequence: sequence.0,
        hash: hash(name),
    };
    info.versions.iter().map(version).collect()
}

/// The node, and what it knows of the cluster.
pub(crate) fn status(status: NodeStatus) -> v1::StatusResponse {
    v1::StatusResponse {
        cluster: Bytes::copy_from_slice(&status.identity.cluster.0),
        node: status.identity.node.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint: hash(status.fingerprint),
        nodes: status.nodes.into_iter().map(|record| node(record, &status.leaving)).collect(),
        replicas: status.replicas.into_iter().map(replica).collect(),
        uptime_millis: u64::try_from(status.uptime.as_millis()).unwrap_or(u64::MAX),
        scrub: Some(scrub(status.scrub)),
        archive: status.archive.map(archive),
    }
}

fn archive(ArchiveStatus { place, communities }: ArchiveStatus) -> v1::ArchiveInfo {
    v1::ArchiveInfo { place, communities: communities.into_iter().map(archived).collect() }
}

fn archived(archived: Archived) -> v1::ArchivedInfo {
    v1::ArchivedInfo {
        community: archived.community.0,
        name: archived.name,
        archived: archived.archived.0,
        lag: archived.lag,
        segments: archived.segments,
        bytes: archived.bytes,
        missing: archived.missing,
        failures: archived.failures,
        trouble: archived.trouble.unwrap_or_default(),
    }
}

fn scrub(ScrubStatus { rounds, bytes, found, mended, damaged }: ScrubStatus) -> v1::ScrubInfo {
    v1::ScrubInfo { rounds, bytes, found, mended, damaged }
}

fn node(record: NodeRecord, leaving: &[NodeId]) -> v1::NodeInfo {
    let NodeRecord { node, peer_address, api_address, seen_millis } = record;
    let is_leaving = leaving.contains(&node);
    v1::NodeInfo { node: node.0, peer_address, api_address, last_seen_millis: seen_millis, is_leaving }
}
