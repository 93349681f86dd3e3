//! Rebuilding a replica: a fresh one takes its place, on the same node, under an id that was never used.
//!
//! The directory is told ([`DirectoryOperation::RebuildReplica`]); the group's leader takes the old one's
//! vote, its node then forgets its log and state and starts the fresh one, which follows without a vote
//! until it has caught up ([`crate::reconcile`]). Whoever asks may be broken off: the rest goes on.

use crate::{
    directory::record::{CommunityRecord, DirectoryOperation},
    node::Node,
    refuse,
    status::{MemberStatus, ReplicaStatus},
};
use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId, Sequence},
    refusal::{Code, Refusal},
};
use std::{collections::BTreeSet, time::Duration};

/// What to do instead of rebuilding a replica of the system community.
const SYSTEM_REBUILD: &str = "a node lives by its replica of the system community, which is not rebuilt while the \
    node runs. Start the node again instead: where that replica is quarantined, or its log is lost or damaged, the \
    other nodes take it back with a fresh one";
/// How long the fresh replica may take to execute what its group had when it was asked for.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(30);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(50);
/// How long members that are as they should be may take to be committed, as after a change of leader.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    /// Replaces the replica of a node by a fresh one there, and waits until that has caught up and has
    /// the vote that the old one had. Asked again while that is under way, it waits for the same one.
    /// With `only`, nothing is done unless the replica there is still this one.
    ///
    /// # Errors
    /// A refusal; [`Code::TimedOut`] when it was decided and goes on; otherwise as
    /// [`Self::replace_replica`].
    pub async fn rebuild_replica(
        &self,
        community: &str,
        on: NodeId,
        only: Option<ReplicaId>,
    ) -> Result<ReplicaId, Refusal> {
        let id = self.resolve(community).await?;
        if id == CommunityId::SYSTEM {
            return Err(Refusal::new(Code::BadRequest, SYSTEM_REBUILD));
        }
        let leader = self.leader_status(id).await.ok_or_else(|| refuse::no_leader(id))?;
        let fresh = match only {
            Some(replica) => self.replace_replica(id, on, replica).await?,
            None => {
                let mut here = replica_on(&self.record(id)?, on);
                if here.is_err() {
                    // The directory here may lag, as it does after a restart.
                    self.catch_up_with_directory().await;
                    here = replica_on(&self.record(id)?, on);
                }
                let here = here?;
                match self.is_coming(id, on, here, &leader).await? {
                    true => here,
                    false => self.replace_replica(id, on, here).await?,
                }
            }
        };
        self.wait_for_rebuilt(id, on, fresh, leader.sequence).await?;
        Ok(fresh)
    }

    /// Decides that a fresh replica takes the place of this one, and does not wait for it: what a node
    /// calls that finds its own replica beyond repair. Gives the fresh one's id; asked again, the same.
    ///
    /// # Errors
    /// A refusal, and then nothing was changed: [`Code::NoReplica`] when there is no such replica;
    /// [`Code::BadMembers`] when the others have no quorum without it; [`Code::MembersChanging`] when
    /// other members are being changed; [`Code::NoLeader`] when nobody leads the group.
    pub(crate) async fn replace_replica(
        &self,
        community: CommunityId,
        on: NodeId,
        replica: ReplicaId,
    ) -> Result<ReplicaId, Refusal> {
        let record = self.record(community)?;
        // A lower one is that of a directory that lags.
        if replica_on(&record, on)? <= replica {
            self.may_be_missed(&record, on).await?;
            tracing::warn!(%community, node = %on, %replica, "a replica is to be rebuilt");
        }
        let operation = DirectoryOperation::RebuildReplica { community, node: on, replica };
        self.change_replicas(operation).await
    }

    /// Refuses when the group cannot do without the replica of a node.
    async fn may_be_missed(&self, record: &CommunityRecord, on: NodeId) -> Result<(), Refusal> {
        let leader = self.leader_status(record.id).await.ok_or_else(|| refuse::no_leader(record.id))?;
        let (there, others): (Vec<MemberStatus>, Vec<MemberStatus>) =
            leader.members.iter().partition(|member| member.node == on);
        let voting = |members: &[MemberStatus]| -> BTreeSet<ReplicaId> {
            members.iter().filter(|member| member.voter).map(|member| member.replica).collect()
        };
        // Whatever else is being changed, and may wait for a node that is gone, does not need it.
        if leader.are_members_settled && voting(&there).is_empty() {
            return Ok(());
        }
        let wanted: BTreeSet<ReplicaId> = record
            .replicas
            .iter()
            .filter(|(_, replica)| replica.voter && replica.node != on)
            .map(|(&id, _)| id)
            .collect();
        if !leader.are_members_settled || voting(&others) != wanted {
            return Err(Refusal::new(
                Code::MembersChanging,
                format!(
                    "other members of {} are being changed: retry when `althing community show {}` shows them",
                    record.name, record.name
                ),
            ));
        }
        self.rest_has_quorum(record, on, &others, &there).await?;
        if leader.leader_node == on
            && let Err(refusal) = self.transfer_leadership(&record.id.to_string(), None).await
        {
            // It gives its leadership up when it is out.
            tracing::info!(community = %record.id, %refusal, "leadership stays with the replica that is rebuilt");
        }
        Ok(())
    }

    /// Refuses unless enough voters answer, both for the group without this replica and for the change
    /// itself, which the group as it is decides.
    async fn rest_has_quorum(
        &self,
        record: &CommunityRecord,
        on: NodeId,
        others: &[MemberStatus],
        there: &[MemberStatus],
    ) -> Result<(), Refusal> {
        let up = |members: &[MemberStatus]| {
            let voters: Vec<MemberStatus> = members.iter().filter(|member| member.voter).copied().collect();
            async move {
                let asked = voters.iter().map(async |voter| {
                    let told = self.replica_status_on(voter.node, record.id).await;
                    told.is_ok_and(|status| status.replica == voter.replica && status.fault.is_none())
                });
                let told = futures::future::join_all(asked).await;
                (told.iter().filter(|&&is_up| is_up).count(), told.len())
            }
        };
        let ((rest, of), (own, own_of)) = futures::future::join(up(others), up(there)).await;
        if rest > of / 2 && rest + own > (of + own_of) / 2 {
            return Ok(());
        }
        Err(Refusal::new(
            Code::BadMembers,
            format!(
                "without node {on}, {rest} of {of} voters of {} answer, which is no quorum: bring back or add others first",
                record.name
            ),
        )
        .with("up", rest)
        .with("voters", of))
    }

    /// Whether a replica has yet to take its place in its group, and does not fail at it.
    async fn is_coming(
        &self,
        community: CommunityId,
        on: NodeId,
        replica: ReplicaId,
        leader: &ReplicaStatus,
    ) -> Result<bool, Refusal> {
        let voter = self.record(community)?.replicas.get(&replica).is_some_and(|replica| replica.voter);
        let began = self.runtime().monotonic();
        let mut newer = None;
        loop {
            let leader = newer.as_ref().unwrap_or(leader);
            let is_in_place = is_in_place(leader, on, replica, voter);
            if leader.are_members_settled && is_in_place {
                return Ok(false);
            }
            if !is_in_place || self.runtime().monotonic() - began > SETTLE_PATIENCE {
                break;
            }
            self.runtime().sleep(PAUSE).await;
            newer = self.leader_status(community).await.or(newer);
        }
        let told = self.replica_status_on(on, community).await;
        Ok(!told.is_ok_and(|status| status.replica == replica && status.fault.is_some()))
    }

    async fn wait_for_rebuilt(
        &self,
        community: CommunityId,
        on: NodeId,
        fresh: ReplicaId,
        at_least: Sequence,
    ) -> Result<(), Refusal> {
        let voter = self.record(community)?.replicas.get(&fresh).is_some_and(|replica| replica.voter);
        self.wait_for_members(community, |leader| is_in_place(leader, on, fresh, voter)).await?;
        let began = self.runtime().monotonic();
        loop {
            let told = self.replica_status_on(on, community).await;
            let has_caught_up = |status: &ReplicaStatus| {
                status.replica == fresh && status.fault.is_none() && status.sequence >= at_least
            };
            if told.is_ok_and(|status| has_caught_up(&status)) {
                return Ok(());
            }
            if self.runtime().monotonic() - began > CATCH_UP_PATIENCE {
                return Err(Refusal::new(
                    Code::TimedOut,
                    format!(
                        "replica {fresh} on node {on} is a member and has not caught up: it goes on, see `althing status`"
                    ),
                ));
            }
            self.runtime().sleep(PAUSE).await;
        }
    }
}

/// Whether a replica has its role, and no other has its node.
fn is_in_place(leader: &ReplicaStatus, on: NodeId, replica: ReplicaId, voter: bool) -> bool {
    let mut there = leader.members.iter().filter(|member| member.node == on);
    let is_it = there.next().is_some_and(|member| member.replica == replica && member.voter == voter);
    is_it && there.next().is_none()
}

fn replica_on(record: &CommunityRecord, on: NodeId) -> Result<ReplicaId, Refusal> {
    record.replica_on(on).ok_or_else(|| {
        Refusal::new(Code::NoReplica, format!("community {} has no replica on node {on}", record.name))
    })
}
