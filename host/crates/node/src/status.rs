//! What a node says of itself and of its replicas.

use crate::{
    archiver::ArchiveStatus,
    bring_back::Awaited,
    community::{Community, Hosted},
    directory::{record::NodeRecord, view::DirectoryView},
    identity::Identity,
    node::Node,
    peer::method,
    refuse,
    scrub::ScrubStatus,
    transfer::TransferStatus,
};
use althing_consensus::{peers::Lane, port::Role};
use althing_core::{
    ids::{CommunityId, Hash, NodeId, ReplicaId, Sequence},
    refusal::{Code, Refusal},
};
use althing_store::port::WalCounters;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a peer may take to say how it is.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A member of a group as its replicas know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The replica.
    pub replica: ReplicaId,
    /// Where it lives.
    pub node: NodeId,
    /// Whether it votes.
    pub voter: bool,
}

/// A replica on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The community.
    pub community: CommunityId,
    /// Its name.
    pub name: String,
    /// The replica.
    pub replica: ReplicaId,
    /// What it is.
    pub role: Role,
    /// Where the leader lives; 0: unknown.
    pub leader_node: NodeId,
    /// The term.
    pub term: u64,
    /// The last index in the log here.
    pub last_index: u64,
    /// The last index known to be committed.
    pub committed_index: u64,
    /// The last index executed here.
    pub applied_index: u64,
    /// The last index in the newest snapshot.
    pub snapshot_index: u64,
    /// The last transition.
    pub sequence: Sequence,
    /// The digest up to it.
    pub digest: Hash,
    /// Keys and values, in bytes.
    pub state_bytes: u64,
    /// How many keys.
    pub state_keys: u64,
    /// The group's members.
    pub members: Vec<MemberStatus>,
    /// Whether they are committed, with no change of them under way.
    pub are_members_settled: bool,
    /// The oldest transition held.
    pub oldest_sequence: Sequence,
    /// Why it stopped, if it did.
    pub fault: Option<String>,
    /// Operations that wait to be proposed.
    pub waiting: u64,
    /// Subscribers at the moment.
    pub subscribers: u64,
    /// The snapshot that it is receiving.
    pub transfer: Option<TransferStatus>,
}

/// This node, and what it knows of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Who it is.
    pub identity: Identity,
    /// The engine's fingerprint.
    pub fingerprint: Hash,
    /// The nodes of the cluster.
    pub nodes: Vec<NodeRecord>,
    /// Those of them that are to leave for good.
    pub leaving: Vec<NodeId>,
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// How long it has been running.
    pub uptime: Duration,
    /// What the scrub of what it stores has found.
    pub scrub: ScrubStatus,
    /// How its archive is, if it has one.
    pub archive: Option<ArchiveStatus>,
}

/// What there is to say of a replica that could not be brought back.
fn failed_status(awaited: &Awaited) -> Option<ReplicaStatus> {
    let Hosted { community, name, replica, .. } = awaited.hosted.clone();
    Some(ReplicaStatus { name, replica, fault: Some(awaited.failed.clone()?), ..stopped(community) })
}

/// A replica of which nothing is known but its community.
pub(crate) fn stopped(community: CommunityId) -> ReplicaStatus {
    ReplicaStatus {
        community,
        name: String::new(),
        replica: ReplicaId(0),
        role: Role::Stopped,
        leader_node: NodeId(0),
        term: 0,
        last_index: 0,
        committed_index: 0,
        applied_index: 0,
        snapshot_index: 0,
        sequence: Sequence(0),
        digest: Hash::default(),
        state_bytes: 0,
        state_keys: 0,
        members: Vec::new(),
        are_members_settled: false,
        oldest_sequence: Sequence(0),
        fault: None,
        waiting: 0,
        subscribers: 0,
        transfer: None,
    }
}

impl Node {
    /// This node, and what it knows of the cluster.
    pub async fn status(&self) -> NodeStatus {
        let communities: Vec<_> = self.communities().values().cloned().collect();
        let mut replicas = Vec::with_capacity(communities.len());
        for community in &communities {
            replicas.push(self.replica_status(community).await);
        }
        replicas.extend(self.awaited().values().filter_map(failed_status));
        NodeStatus {
            identity: self.identity().clone(),
            fingerprint: self.engine().fingerprint(),
            nodes: DirectoryView(&self.directory()).nodes(),
            leaving: self.leaving_nodes(),
            replicas,
            uptime: self.runtime().monotonic().saturating_sub(self.started()),
            scrub: self.scrub().status(),
            archive: self.archive(),
        }
    }

    /// The replica of a community on this node.
    ///
    /// # Errors
    /// There is none.
    pub async fn local_replica(&self, community: &str) -> Result<ReplicaStatus, Refusal> {
        let id = self.resolve(community).await?;
        let here = self.hosted(id).ok_or_else(|| self.no_replica(id))?;
        Ok(self.replica_status(&here).await)
    }

    /// Cuts a snapshot of the replica on this node and waits for it; the last sequence in it.
    ///
    /// # Errors
    /// There is no replica here, or it has stopped.
    pub async fn create_snapshot(&self, community: &str) -> Result<Sequence, Refusal> {
        let id = self.resolve(community).await?;
        let here = self.hosted(id).ok_or_else(|| self.no_replica(id))?;
        let published = here.published();
        here.group.snapshot().await.map_err(|error| refuse::propose(id, error))?;
        let mut status = here.group.status();
        let cut = status.wait_for(|status| status.snapshot_index >= published.applied_index);
        match self.runtime().timeout(TIMEOUT * 30, cut).await {
            Some(_) => Ok(published.view.sequence()),
            None => Err(Refusal::new(
                Code::TimedOut,
                "the snapshot takes longer than expected: see `althing status`",
            )),
        }
    }

    /// Whether this node serves: it knows a leader of the system community or has heard of its cluster.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.is_stopping() && self.may_follow_directory() && crate::presence::is_known(self)
    }

    /// What the WAL has done since the start.
    #[must_use]
    pub fn wal_counters(&self) -> WalCounters {
        self.shared().store.wal.counters()
    }

    pub(crate) async fn replica_status(&self, here: &Community) -> ReplicaStatus {
        let status = here.status();
        let view = here.view();
        let member = |voter| {
            move |(&replica, member): (&ReplicaId, &althing_consensus::port::Member)| MemberStatus {
                replica,
                node: member.node,
                voter,
            }
        };
        ReplicaStatus {
            community: here.id(),
            name: here.hosted.name.clone(),
            replica: here.hosted.replica,
            role: status.role,
            leader_node: status.leader.as_ref().map_or(NodeId(0), |(_, member)| member.node),
            term: status.term,
            last_index: status.last_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            sequence: view.sequence(),
            digest: view.digest(),
            state_bytes: view.state().bytes(),
            state_keys: view.state().len() as u64,
            members: status
                .voters
                .iter()
                .map(member(true))
                .chain(status.learners.iter().map(member(false)))
                .collect(),
            are_members_settled: status.is_settled && !status.is_joint,
            oldest_sequence: here.feed.oldest().await.unwrap_or_default(),
            fault: status.fault,
            waiting: here.proposer.waiting() as u64,
            subscribers: here.feed.followers() as u64,
            transfer: self.shared().transfers.status(here.id(), view.sequence()),
        }
    }

    /// The replica of a community here, also one that could not be brought back.
    ///
    /// # Errors
    /// [`Code::NoReplica`] when there is none; [`Code::ReplicaStopped`] while it is being brought back.
    pub(crate) async fn own_status(&self, community: CommunityId) -> Result<ReplicaStatus, Refusal> {
        if let Some(here) = self.hosted(community) {
            return Ok(self.replica_status(&here).await);
        }
        match self.awaited().get(&community) {
            None => Err(self.no_replica(community)),
            Some(awaited) => failed_status(awaited)
                .ok_or_else(|| refuse::stopped(community, "it is being brought back after a restart")),
        }
    }

    /// The replica of a community on a node, as that node says.
    pub(crate) async fn replica_status_on(
        &self,
        node: NodeId,
        community: CommunityId,
    ) -> Result<ReplicaStatus, Refusal> {
        if node == self.id() {
            return self.own_status(community).await;
        }
        self.peers().ask(node, Lane::Control, community, method::STATUS, &(), TIMEOUT).await
    }
}
