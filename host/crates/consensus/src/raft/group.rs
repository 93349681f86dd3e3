//! One group on this node: the port's [`Group`] over openraft's handle.

use super::{
    answers,
    closing::Closing,
    log::Log,
    machine::{self, FaultSlot},
    proposals::Proposals,
    purge::Floor,
    status::StatusBoard,
    types::{Callback, Proposal, Raft, Types},
};
use crate::{
    port::{
        Committed, CommittedEntry, Group, GroupConfig, GroupStatus, Member, MembershipError, ProposeError,
        ReadError, ReadPolicy, SnapshotFetch,
    },
    runtime::{Runtime, Task},
};
use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId},
    program::Fault,
};
use async_trait::async_trait;
use bytes::Bytes;
use openraft::{AsyncRuntime, async_runtime::WatchReceiver as _, errors::Fatal};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// How many longest elections a proposal without a quorum waits before its caller is told.
const ELECTIONS_TO_WAIT: u32 = 3;

/// A group that runs on this node.
pub(crate) struct RaftGroup<RT: AsyncRuntime> {
    pub(super) raft: Raft<RT>,
    /// For reading only: the core writes.
    pub(super) log: Log<RT>,
    pub(super) config: GroupConfig,
    pub(super) node: NodeId,
    pub(super) runtime: Runtime,
    pub(super) fetch: Arc<dyn SnapshotFetch>,
    pub(super) board: Arc<StatusBoard>,
    pub(super) proposals: Arc<Proposals>,
    pub(super) fault: FaultSlot,
    pub(super) floor: Floor,
    /// Whether this replica is changing members.
    pub(super) is_changing: Arc<AtomicBool>,
    pub(super) closing: Closing,
    pub(super) tasks: Mutex<Vec<Task>>,
}

impl<RT: AsyncRuntime> RaftGroup<RT> {
    pub(super) fn raft(&self) -> &Raft<RT> {
        &self.raft
    }

    pub(super) fn replica(&self) -> ReplicaId {
        self.config.replica
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn fetch(&self) -> Arc<dyn SnapshotFetch> {
        Arc::clone(&self.fetch)
    }

    pub(super) fn election_max(&self) -> Duration {
        Duration::from_millis(self.config.timing.election_millis_max)
    }

    fn why_stopped(&self, fatal: &Fatal<Types<RT>>) -> String {
        self.fault.get().cloned().unwrap_or_else(|| fatal.to_string())
    }

    /// Answers the proposals that have waited long while nobody leads this replica to a quorum.
    pub(super) fn give_up_without_quorum(&self) {
        let patience = self.election_max() * ELECTIONS_TO_WAIT;
        let Some(then) = self.runtime.monotonic().checked_sub(patience) else { return };
        if self.proposals.oldest().is_some_and(|oldest| oldest < then) && !self.has_quorum() {
            self.proposals.give_up(then);
        }
    }

    /// Whether this replica leads and was in touch with a quorum lately.
    fn has_quorum(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let is_alone = metrics.membership_config.voter_ids().count() == 1;
        let lease = self.election_max();
        let is_in_touch =
            metrics.last_quorum_acked.is_some_and(|at| openraft::Instant::elapsed(&*at) < lease);
        metrics.state.is_leader() && (is_alone || is_in_touch)
    }
}

#[async_trait]
impl<RT: AsyncRuntime> Group for RaftGroup<RT> {
    fn community(&self) -> CommunityId {
        self.config.community
    }

    fn status(&self) -> watch::Receiver<GroupStatus> {
        self.board.watch()
    }

    async fn propose(
        &self,
        payload: Bytes,
    ) -> Result<oneshot::Receiver<Result<Committed, ProposeError>>, ProposeError> {
        let (pending, receiver) = self.proposals.begin(self.runtime.monotonic());
        let callback = Callback(Box::new(move |result| pending.answer::<RT>(result)));
        // Returns when the proposal stands in the core's queue: that makes the order.
        let queued = self.raft.client_write_ff(Proposal(payload), Some(callback)).await;
        queued.map_err(|fatal| ProposeError::Stopped { why: self.why_stopped(&fatal) })?;
        Ok(receiver)
    }

    async fn read_barrier(&self, policy: ReadPolicy) -> Result<u64, ReadError> {
        let policy = match policy {
            ReadPolicy::ReadIndex => openraft::ReadPolicy::ReadIndex,
            ReadPolicy::Lease => openraft::ReadPolicy::LeaseRead,
        };
        // The core answers within its lease; twice that is for a core that is busy.
        let asked = self.raft.get_read_log_id(policy);
        match self.runtime.timeout(self.election_max() * 2, asked).await {
            None => Err(ReadError::NoQuorum),
            Some(Err(error)) => Err(answers::read(error)),
            Some(Ok((read, _))) => Ok(read.index()),
        }
    }

    async fn wait_applied(&self, index: u64, timeout: Duration) -> bool {
        let mut metrics = self.raft.data_metrics();
        let is_applied =
            metrics.wait_until(|data| data.last_applied.as_ref().is_some_and(|last| last.index >= index));
        matches!(self.runtime.timeout(timeout, is_applied).await, Some(Ok(_)))
    }

    async fn initialize(&self, members: BTreeMap<ReplicaId, Member>) -> Result<(), MembershipError> {
        self.begin(members).await
    }

    async fn add_learner(&self, replica: ReplicaId, member: Member) -> Result<(), MembershipError> {
        self.add(replica, member).await
    }

    async fn change_voters(&self, voters: BTreeSet<ReplicaId>) -> Result<(), MembershipError> {
        self.replace_voters(voters).await
    }

    async fn remove_learner(&self, replica: ReplicaId) -> Result<(), MembershipError> {
        self.remove(replica).await
    }

    async fn transfer_leadership(&self, to: Option<ReplicaId>, timeout: Duration) -> bool {
        self.hand_over(to, timeout).await
    }

    async fn executed(&self, first: u64, last: u64) -> Result<Vec<CommittedEntry>, Fault> {
        let entries = self.log.read(first..last + 1).await;
        let entries =
            entries.map_err(|error| Fault::because("the log of the community cannot be read", error))?;
        Ok(entries.into_iter().map(machine::committed).collect())
    }

    async fn snapshot(&self) -> Result<(), ProposeError> {
        let asked = self.raft.trigger().snapshot().await;
        asked.map_err(|fatal| ProposeError::Stopped { why: self.why_stopped(&fatal) })
    }

    async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(community = %self.config.community, %error, "the group's core ended badly");
        }
        self.closing.close().await;
        self.board.stop(None);
        self.proposals.give_up(Duration::MAX);
        let tasks: Vec<Task> =
            self.tasks.lock().expect("nothing panics while it holds the tasks").drain(..).collect();
        for task in tasks {
            (task.abort)();
            task.ended.await;
        }
    }
}
