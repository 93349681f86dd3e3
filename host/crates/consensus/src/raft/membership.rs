//! Who belongs to a group, and who leads it.
//!
//! A change of voters takes two entries, through joint consensus. It runs in a task of its own, so
//! that a caller who loses patience does not leave it half-way; if its leader is lost half-way, the
//! next leader finishes it ([`RaftGroup::finish_joint`]).

use super::{answers, group::RaftGroup};
use crate::port::{GroupStatus, Member, MembershipError, Role};
use althing_core::ids::ReplicaId;
use openraft::{
    AsyncRuntime, ChangeMembers,
    async_runtime::WatchReceiver as _,
    errors::{InitializeError, RaftError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;

/// How many longest elections a caller waits for a change.
const ELECTIONS_TO_WAIT: u32 = 10;

/// One change at a time; released when it is done, however it ends.
struct Changing(Arc<AtomicBool>);

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<RT: AsyncRuntime> RaftGroup<RT> {
    pub(super) async fn begin(&self, members: BTreeMap<ReplicaId, Member>) -> Result<(), MembershipError> {
        let members: BTreeMap<u64, Member> =
            members.into_iter().map(|(replica, member)| (replica.0, member)).collect();
        match self.raft.initialize(members).await {
            // Not allowed means that the group has begun.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotInMembers(_))) => {
                let own = self.replica();
                Err(MembershipError::Invalid { why: format!("replica {own}, which begins it, is not in it") })
            }
            Err(RaftError::Fatal(fatal)) => Err(answers::stopped(&fatal)),
        }
    }

    pub(super) async fn add(&self, replica: ReplicaId, member: Member) -> Result<(), MembershipError> {
        let status = self.board.now();
        if leads(&status) && status.learners.get(&replica) == Some(&member) {
            return Ok(());
        }
        if let Some(voter) = status.voters.get(&replica) {
            let why = format!("replica {replica} votes already, on node {}", voter.node);
            return Err(MembershipError::Invalid { why });
        }
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(replica.0, member)]))).await
    }

    pub(super) async fn replace_voters(&self, voters: BTreeSet<ReplicaId>) -> Result<(), MembershipError> {
        if voters.is_empty() {
            return Err(MembershipError::Invalid { why: "a group without voters can do nothing".into() });
        }
        let status = self.board.now();
        if leads(&status) && !status.is_joint && status.voters.keys().eq(voters.iter()) {
            return Ok(());
        }
        let voters = voters.into_iter().map(|replica| replica.0).collect();
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    pub(super) async fn remove(&self, replica: ReplicaId) -> Result<(), MembershipError> {
        let status = self.board.now();
        if leads(&status) && status.voters.contains_key(&replica) {
            let why = format!("replica {replica} votes: change the voters instead");
            return Err(MembershipError::Invalid { why });
        }
        if leads(&status) && !status.learners.contains_key(&replica) {
            return Ok(());
        }
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([replica.0]))).await
    }

    async fn change(&self, change: ChangeMembers<u64, Member>) -> Result<(), MembershipError> {
        let changing = self.begin_change().ok_or(MembershipError::InProgress)?;
        let (sender, receiver) = oneshot::channel();
        let raft = self.raft.clone();
        let _detached = self.runtime.spawn("change of members", async move {
            let changed = raft.change_membership(change, false).await;
            drop(changing);
            let _ = sender.send(changed.map(|_| ()).map_err(answers::membership));
        });
        let bound = self.election_max() * ELECTIONS_TO_WAIT;
        match self.runtime.timeout(bound, receiver).await {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(MembershipError::Unknown { why: "the group is stopping".into() }),
            None => {
                let why = format!("no quorum agreed within {} s, and it still may", bound.as_secs());
                Err(MembershipError::Unknown { why })
            }
        }
    }

    fn begin_change(&self) -> Option<Changing> {
        let was_changing = self.is_changing.swap(true, Ordering::AcqRel);
        (!was_changing).then(|| Changing(Arc::clone(&self.is_changing)))
    }

    /// As a leader, has a change of voters finished that its predecessor began.
    pub(super) fn finish_joint(&self) {
        let status = self.board.now();
        if !leads(&status) || !status.is_joint {
            return;
        }
        let Some(changing) = self.begin_change() else { return };
        let (raft, community) = (self.raft.clone(), self.config.community);
        let _detached = self.runtime.spawn("end of a change of members", async move {
            // Adding nobody leaves the joint configuration for its goal.
            let nobody = ChangeMembers::AddVoterIds(BTreeSet::new());
            if let Err(error) = raft.change_membership(nobody, false).await {
                tracing::info!(%community, %error, "a change of voters is still joint");
            }
            drop(changing);
        });
    }

    pub(super) async fn hand_over(&self, to: Option<ReplicaId>, timeout: Duration) -> bool {
        let status = self.board.now();
        let Some(heir) = to.or_else(|| best_informed(&status)) else { return false };
        if status.leader.as_ref().is_some_and(|(leader, _)| *leader == heir) {
            return true;
        }
        if !leads(&status) || !status.voters.contains_key(&heir) {
            return false;
        }
        let own = status.replica.0;
        let mut metrics = self.raft.server_metrics();
        if self.raft.trigger().transfer_leader(heir.0).await.is_err() {
            return false;
        }
        let led = metrics.wait_until(|server| server.current_leader.is_some_and(|leader| leader != own));
        match self.runtime.timeout(timeout, led).await {
            Some(Ok(server)) => server.current_leader == Some(heir.0),
            _ => false,
        }
    }
}

fn leads(status: &GroupStatus) -> bool {
    status.role == Role::Leader
}

/// The other voter that has most of the log; the first of several.
fn best_informed(status: &GroupStatus) -> Option<ReplicaId> {
    let others = status.voters.keys().filter(|replica| **replica != status.replica);
    others.copied().rev().max_by_key(|replica| status.matched.get(replica).copied())
}
