//! Moving a replica to another node, and setting how many replicas vote.
//!
//! The directory is told where replicas should be; each group's leader brings its members there, learner
//! first, one vote for another in one joint change ([`crate::reconcile`]). Whoever asks may be broken off:
//! the rest goes on, and asking again waits for the same.

use crate::{
    admin::unexpected,
    directory::{
        program::VOTERS_MAX,
        record::{CommunityRecord, DirectoryOperation, DirectoryResult},
        view::DirectoryView,
    },
    node::Node,
    placing::Room,
    refuse,
    status::{MemberStatus, ReplicaStatus},
};
use althing_core::{
    ids::{NodeId, ReplicaId},
    refusal::{Code, Refusal},
};
use std::cmp::Reverse;

impl Node {
    /// Moves the replica of a community from one node to another, and waits until the fresh one has the old
    /// one's role and the old one is out.
    ///
    /// # Errors
    /// A refusal, and then nothing was changed: [`Code::NoReplica`] when there is none to move;
    /// [`Code::BadMembers`] when the other node has one, is to leave or does not answer, or when the group
    /// would have no quorum; [`Code::MembersChanging`]; [`Code::NoLeader`]. [`Code::TimedOut`] when it was
    /// decided and goes on.
    pub async fn move_replica(
        &self,
        community: &str,
        from: NodeId,
        to: NodeId,
    ) -> Result<ReplicaId, Refusal> {
        let id = self.resolve(community).await?;
        let record = self.record(id)?;
        let fresh = match (record.replica_on(from), record.replica_on(to)) {
            (Some(replica), _) => {
                self.may_move(&record, replica, to).await?;
                self.change_replicas(DirectoryOperation::MoveReplica { community: id, replica, to }).await?
            }
            // Asked again.
            (None, Some(fresh)) => fresh,
            (None, None) => {
                let why = format!("{} has no replica on node {from}", record.name);
                return Err(Refusal::new(Code::NoReplica, why));
            }
        };
        let voter = self.record(id)?.replicas.get(&fresh).is_some_and(|replica| replica.voter);
        let is_done = |leader: &ReplicaStatus| {
            let is_there = |replica, voter| {
                leader.members.iter().any(|member| member.replica == replica && member.voter == voter)
            };
            is_there(fresh, voter) && leader.members.iter().all(|member| member.node != from)
        };
        self.wait_for_members(id, is_done).await?;
        Ok(fresh)
    }

    /// Sets how many replicas of a community vote, and waits until so many do. More go to the nodes with
    /// most room; fewer leave first those that do not answer, then those with least room, never the leader.
    ///
    /// # Errors
    /// As [`Self::move_replica`]; [`Code::BadMembers`] when there are not so many nodes.
    pub async fn set_replicas(&self, community: &str, voters: usize) -> Result<CommunityRecord, Refusal> {
        let id = self.resolve(community).await?;
        let record = self.record(id)?;
        let leader = self.leader_status(id).await.ok_or_else(|| refuse::no_leader(id))?;
        let room = Room::of(&self.directory());
        let (add, remove) = match voters.checked_sub(record.voters()) {
            _ if voters == 0 || voters > VOTERS_MAX => {
                let why = format!("{voters} voters were asked for: 1 to {VOTERS_MAX} are possible");
                return Err(Refusal::new(Code::BadMembers, why));
            }
            Some(more) => (self.takers(&room, &record, more).await?, Vec::new()),
            None => (Vec::new(), self.dispensable(&room, &record, &leader, voters).await?),
        };
        let voters = u32::try_from(voters).unwrap_or(u32::MAX);
        let operation = DirectoryOperation::SetReplicas { community: id, voters, add, remove };
        let record = match self.change_directory(operation).await? {
            DirectoryResult::Community(record) => *record,
            other => return Err(unexpected(&other)),
        };
        self.wait_for_members(id, |leader| are_as_wanted(leader, &record, None)).await?;
        Ok(record)
    }

    /// So many nodes that can take a vote.
    async fn takers(
        &self,
        room: &Room,
        record: &CommunityRecord,
        count: usize,
    ) -> Result<Vec<NodeId>, Refusal> {
        let mut record = record.clone();
        let mut takers = Vec::new();
        while takers.len() < count {
            let Some(node) = self.successor(room, &record, None).await else {
                return Err(Refusal::new(
                    Code::BadMembers,
                    format!(
                        "{count} more nodes are needed for replicas of {}, and {} can take one: join others first, or \
                         promote its learners",
                        record.name,
                        takers.len()
                    ),
                ));
            };
            takers.push(node);
            // So that it is not chosen twice.
            let (fresh, voter) = (record.next_replica, true);
            record.next_replica = fresh.next();
            record.replicas.insert(fresh, crate::ReplicaRecord { node, voter });
        }
        Ok(takers)
    }

    /// Voters that may go so that this many remain.
    async fn dispensable(
        &self,
        room: &Room,
        record: &CommunityRecord,
        leader: &ReplicaStatus,
        remaining: usize,
    ) -> Result<Vec<ReplicaId>, Refusal> {
        if !are_as_wanted(leader, record, None) {
            return Err(changing(record));
        }
        let mut voters = Vec::new();
        for (&replica, wanted) in record.replicas.iter().filter(|(_, replica)| replica.voter) {
            let is_up = self.is_up(record.id, replica, wanted.node).await;
            let rank = (replica != leader.replica, !is_up, room.replicas_on(wanted.node), replica);
            voters.push((Reverse(rank), replica, is_up));
        }
        voters.sort();
        let gone = voters.len().saturating_sub(remaining);
        let up = voters[gone..].iter().filter(|(_, _, is_up)| *is_up).count();
        let all_up = voters.iter().filter(|(_, _, is_up)| *is_up).count();
        if up <= remaining / 2 || all_up <= voters.len() / 2 {
            return Err(no_quorum(record, up, remaining));
        }
        let gone: Vec<ReplicaId> = voters[..gone].iter().map(|(_, replica, _)| *replica).collect();
        for &replica in &gone {
            self.must_have_begun(record, replica).await?;
        }
        Ok(gone)
    }

    /// Refuses when a replica cannot be moved to a node without risking the quorum.
    async fn may_move(
        &self,
        record: &CommunityRecord,
        replica: ReplicaId,
        to: NodeId,
    ) -> Result<(), Refusal> {
        let leader = self.leader_status(record.id).await.ok_or_else(|| refuse::no_leader(record.id))?;
        if !may_be_changed(&leader, record, replica) {
            return Err(changing(record));
        }
        if DirectoryView(&self.directory()).node(to).is_none() {
            let why = format!("there is no node {to}: see `althing node list`");
            return Err(Refusal::new(Code::NoNode, why));
        }
        if !self.answers(to).await {
            let why = format!("node {to} does not answer, so it cannot take a replica of {}", record.name);
            return Err(Refusal::new(Code::BadMembers, why));
        }
        match has_no_vote(&leader, replica) {
            true => Ok(()),
            false => self.may_go(record, replica, 1).await,
        }
    }

    /// Refuses unless enough voters answer when this replica goes and so many fresh ones, which have just
    /// answered, come in its place: for the group as it will be, and for the change itself, which the group
    /// as it is decides.
    pub(crate) async fn may_go(
        &self,
        record: &CommunityRecord,
        replica: ReplicaId,
        successors: usize,
    ) -> Result<(), Refusal> {
        if !record.replicas.get(&replica).is_some_and(|replica| replica.voter) {
            return Ok(());
        }
        self.must_have_begun(record, replica).await?;
        let voters = record.replicas.iter().filter(|(_, wanted)| wanted.voter);
        let asked = voters.map(async |(&voter, wanted)| {
            (voter == replica, self.is_up(record.id, voter, wanted.node).await)
        });
        let told = futures::future::join_all(asked).await;
        let (all_up, rest) = (told.iter().filter(|(_, is_up)| *is_up).count(), told.len() - 1);
        let up = told.iter().filter(|(is_it, is_up)| *is_up && !is_it).count();
        if up + successors > (rest + successors) / 2 && all_up > told.len() / 2 {
            return Ok(());
        }
        Err(no_quorum(record, up, rest))
    }

    /// Refuses while a founder's node has yet to begin it: the others may need its vote until it is out, and
    /// gone from the directory it would never begin. Any other has begun before it got its vote.
    pub(crate) async fn must_have_begun(
        &self,
        record: &CommunityRecord,
        replica: ReplicaId,
    ) -> Result<(), Refusal> {
        let founder = record.replicas.get(&replica).filter(|_| record.founders.contains_key(&replica));
        let Some(wanted) = founder else { return Ok(()) };
        match self.replica_status_on(wanted.node, record.id).await {
            Err(refusal) if matches!(refusal.code, Code::NoReplica | Code::ReplicaStopped) => {
                Err(changing(record))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a group's members are settled and as the directory has them, whatever there is of `except`.
pub(crate) fn are_as_wanted(
    leader: &ReplicaStatus,
    record: &CommunityRecord,
    except: Option<ReplicaId>,
) -> bool {
    let mut members: Vec<(ReplicaId, bool)> =
        leader.members.iter().map(|member| (member.replica, member.voter)).collect();
    members.sort_unstable();
    let members = members.into_iter().filter(|(replica, _)| Some(*replica) != except);
    let wanted = record.replicas.iter().map(|(&id, replica)| (id, replica.voter));
    leader.are_members_settled && members.eq(wanted.filter(|(replica, _)| Some(*replica) != except))
}

/// Whether it may be decided where else a replica is to be: its group is as the directory has it, or others
/// can do without it, and with it wait for ever if its node is gone.
pub(crate) fn may_be_changed(leader: &ReplicaStatus, record: &CommunityRecord, replica: ReplicaId) -> bool {
    are_as_wanted(leader, record, Some(replica)) || has_no_vote(leader, replica)
}

/// Whether a replica has no vote in its group, whatever the directory says: nobody misses it.
pub(crate) fn has_no_vote(leader: &ReplicaStatus, replica: ReplicaId) -> bool {
    let is_missed = |member: &MemberStatus| member.replica == replica && member.voter;
    leader.are_members_settled && !leader.members.iter().any(is_missed)
}

pub(crate) fn changing(record: &CommunityRecord) -> Refusal {
    Refusal::new(
        Code::MembersChanging,
        format!("members of {} are being changed: retry when `althing status` shows them all", record.name),
    )
}

fn no_quorum(record: &CommunityRecord, up: usize, rest: usize) -> Refusal {
    Refusal::new(
        Code::BadMembers,
        format!(
            "of the other {rest} voters of {}, {up} answer, which would be no quorum: bring back or add others first",
            record.name
        ),
    )
    .with("up", up)
    .with("voters", rest)
}
