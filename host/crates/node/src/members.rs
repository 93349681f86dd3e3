//! Changing a community's replicas: what is wanted goes into the directory, the group's leader makes
//! it so ([`crate::reconcile`]), and the caller waits until it is.

use crate::{
    admin::unexpected,
    directory::{
        record::{CommunityRecord, DirectoryOperation, DirectoryResult},
        view::DirectoryView,
    },
    node::Node,
    peer::method,
    refuse,
    status::ReplicaStatus,
};
use althing_consensus::{peers::Lane, port::Role};
use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId},
    refusal::{Code, Refusal},
};
use std::{collections::BTreeSet, time::Duration};

/// How long a change may take to be made.
const CHANGE_PATIENCE: Duration = Duration::from_secs(30);
/// How long handing leadership over may take.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(50);

impl Node {
    /// Adds a replica that does not vote, and waits until the group knows it.
    ///
    /// # Errors
    /// A refusal; [`Code::TimedOut`] when it was decided but is not done yet.
    pub async fn add_replica(&self, community: &str, on: NodeId) -> Result<ReplicaId, Refusal> {
        let id = self.resolve(community).await?;
        let replica =
            self.change_replicas(DirectoryOperation::AddReplica { community: id, node: on }).await?;
        self.wait_for_members(id, |status| status.members.iter().any(|member| member.replica == replica))
            .await?;
        Ok(replica)
    }

    /// Gives a replica a vote, once it has caught up, and waits for that.
    ///
    /// # Errors
    /// As [`Self::add_replica`].
    pub async fn promote_replica(&self, community: &str, on: NodeId) -> Result<ReplicaId, Refusal> {
        let id = self.resolve(community).await?;
        let replica = self.change_replicas(DirectoryOperation::Promote { community: id, node: on }).await?;
        let votes = |status: &ReplicaStatus| {
            status.members.iter().any(|member| member.replica == replica && member.voter)
        };
        self.wait_for_members(id, votes).await?;
        Ok(replica)
    }

    /// Removes the replica of a node, and waits until the group has let it go.
    ///
    /// # Errors
    /// As [`Self::add_replica`]; [`Code::BadMembers`] when it has the last vote, or when without it
    /// no quorum of the remaining voters would be up.
    pub async fn remove_replica(&self, community: &str, on: NodeId) -> Result<ReplicaId, Refusal> {
        let id = self.resolve(community).await?;
        self.keep_quorum(id, on).await?;
        let replica =
            self.change_replicas(DirectoryOperation::RemoveReplica { community: id, node: on }).await?;
        self.wait_for_members(id, |status| status.members.iter().all(|member| member.replica != replica))
            .await?;
        Ok(replica)
    }

    /// Moves leadership to a node, or to whichever is best informed.
    ///
    /// # Errors
    /// A refusal; [`Code::BadMembers`] when that node has no vote, or does not answer; [`Code::TimedOut`] when nobody took over in time.
    pub async fn transfer_leadership(&self, community: &str, to: Option<NodeId>) -> Result<(), Refusal> {
        let id = self.resolve(community).await?;
        if let Some(here) = self.hosted(id).filter(|here| here.leads()) {
            return self.transfer_from_here(&here, to).await;
        }
        let leader = self.leader_of(id).ok_or_else(|| refuse::no_leader(id))?;
        self.peers().ask(leader, Lane::Control, id, method::TRANSFER, &to, TRANSFER_PATIENCE * 2).await
    }

    pub(crate) async fn transfer_from_here(
        &self,
        here: &crate::community::Community,
        to: Option<NodeId>,
    ) -> Result<(), Refusal> {
        let replica = match to {
            None => None,
            Some(node) => {
                let voters = here.status().voters;
                let voter =
                    voters.into_iter().find(|(_, member)| member.node == node).map(|(replica, _)| replica);
                let voter = voter.ok_or_else(|| {
                    Refusal::new(Code::BadMembers, format!("node {node} has no vote in {}", here.hosted.name))
                })?;
                if voter == here.hosted.replica {
                    return Ok(());
                }
                // Whoever waits for it to lead leads no more itself.
                if !self.is_up(here.id(), voter, node).await {
                    let why = format!("node {node} does not answer, so it cannot lead {}", here.hosted.name);
                    return Err(Refusal::new(Code::BadMembers, why));
                }
                Some(voter)
            }
        };
        if here.group.transfer_leadership(replica, TRANSFER_PATIENCE).await {
            return Ok(());
        }
        Err(Refusal::new(Code::TimedOut, "nobody took over leadership in time: retry later"))
    }

    pub(crate) async fn change_replicas(&self, operation: DirectoryOperation) -> Result<ReplicaId, Refusal> {
        match self.change_directory(operation).await? {
            DirectoryResult::Replica(replica) => Ok(replica),
            other => Err(unexpected(&other)),
        }
    }

    /// Refuses to remove a voter if fewer than a quorum of the remaining ones would answer.
    async fn keep_quorum(&self, community: CommunityId, without: NodeId) -> Result<(), Refusal> {
        let record = self.record(community)?;
        if let Some(replica) = record.replica_on(without).filter(|replica| record.replicas[replica].voter) {
            self.must_have_begun(&record, replica).await?;
        }
        let rest: Vec<NodeId> = record
            .replicas
            .values()
            .filter(|replica| replica.voter && replica.node != without)
            .map(|replica| replica.node)
            .collect();
        let asked = rest.iter().map(|&node| self.replica_status_on(node, community));
        let told = futures::future::join_all(asked).await;
        let up = told.iter().flatten().filter(|status| status.fault.is_none()).count();
        let quorum = rest.len() / 2 + 1;
        if up >= quorum || !record.replicas.values().any(|replica| replica.voter && replica.node == without) {
            return Ok(());
        }
        Err(Refusal::new(
            Code::BadMembers,
            format!(
                "without node {without}, {up} of {} voters of {} would answer, {quorum} must: bring back or add others first",
                rest.len(),
                record.name
            ),
        ))
    }

    pub(crate) async fn wait_for_members(
        &self,
        community: CommunityId,
        is_done: impl Fn(&ReplicaStatus) -> bool,
    ) -> Result<(), Refusal> {
        let began = self.runtime().monotonic();
        loop {
            if let Some(status) = self.leader_status(community).await
                && status.are_members_settled
                && is_done(&status)
            {
                return Ok(());
            }
            if self.runtime().monotonic() - began > CHANGE_PATIENCE {
                return Err(Refusal::new(
                    Code::TimedOut,
                    format!(
                        "the change of members was decided and is not made after {} s: it goes on, see `althing status`",
                        CHANGE_PATIENCE.as_secs()
                    ),
                ));
            }
            self.runtime().sleep(PAUSE).await;
        }
    }

    /// What the leader says of its replica; none when there is no leader to ask.
    pub(crate) async fn leader_status(&self, community: CommunityId) -> Option<ReplicaStatus> {
        if let Some(here) = self.hosted(community).filter(|here| here.leads()) {
            return Some(self.replica_status(&here).await);
        }
        let record = self.record(community).ok()?;
        let mut nodes: BTreeSet<NodeId> = record.replicas.values().map(|replica| replica.node).collect();
        // One that is to go may still lead.
        nodes.extend(self.leader_of(community));
        let mut told = self.statuses_on(&nodes, community).await;
        // A replica that was let go while it was away hears of no leader; the others know theirs.
        let named = told.iter().map(|status| status.leader_node);
        let named = named.filter(|node| *node != NodeId::default() && !nodes.contains(node)).collect();
        told.extend(self.statuses_on(&named, community).await);
        // One that was deposed and has not heard of it may still say that it leads.
        told.into_iter().filter(|status| status.role == Role::Leader).max_by_key(|status| status.term)
    }

    /// What nodes say of their replicas, those that answer.
    async fn statuses_on(&self, nodes: &BTreeSet<NodeId>, community: CommunityId) -> Vec<ReplicaStatus> {
        let asked = nodes.iter().map(|&node| self.replica_status_on(node, community));
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }

    /// Whether a node answers for this replica, and it runs.
    pub(crate) async fn is_up(&self, community: CommunityId, replica: ReplicaId, on: NodeId) -> bool {
        let told = self.replica_status_on(on, community).await;
        told.is_ok_and(|status| status.replica == replica && status.fault.is_none())
    }

    pub(crate) fn record(&self, community: CommunityId) -> Result<CommunityRecord, Refusal> {
        DirectoryView(&self.directory()).community(community).ok_or_else(|| self.no_replica(community))
    }
}
