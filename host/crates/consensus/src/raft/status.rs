//! What the node is shown of a group: openraft's metrics in the words of the port, changed only
//! when something changed.

use super::{
    machine::FaultSlot,
    types::{LogId, StoredMembership, Types},
};
use crate::{
    port::{GroupStatus, Member, Role},
    runtime::Runtime,
};
use althing_core::ids::ReplicaId;
use openraft::{
    AsyncRuntime, RaftMetrics, ServerState, async_runtime::WatchReceiver as _,
    type_config::alias::WatchReceiverOf,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::{Notify, watch};

/// Shows the status of a group to whoever asks.
pub(crate) struct StatusBoard {
    shown: watch::Sender<GroupStatus>,
    /// In a simulation every watcher has a channel of its own, because tokio wakes the waiters of
    /// one channel in no fixed order.
    apart: Option<Mutex<Vec<watch::Sender<GroupStatus>>>>,
}

impl StatusBoard {
    pub(crate) fn new(replica: ReplicaId, runtime: &Runtime) -> Self {
        let status = GroupStatus { replica, ..GroupStatus::default() };
        let apart = runtime.is_simulated().then(Mutex::default);
        Self { shown: watch::Sender::new(status), apart }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<GroupStatus> {
        let Some(apart) = &self.apart else { return self.shown.subscribe() };
        let sender = watch::Sender::new(self.shown.borrow().clone());
        let receiver = sender.subscribe();
        let mut watchers = lock(apart);
        watchers.retain(|watcher| !watcher.is_closed());
        watchers.push(sender);
        receiver
    }

    pub(crate) fn now(&self) -> GroupStatus {
        self.shown.borrow().clone()
    }

    /// Shows what `change` makes of the status; it says whether it changed anything.
    pub(crate) fn change(&self, change: impl FnOnce(&mut GroupStatus) -> bool) {
        if !self.shown.send_if_modified(change) {
            return;
        }
        if let Some(apart) = &self.apart {
            let status = self.now();
            for watcher in lock(apart).iter() {
                watcher.send_replace(status.clone());
            }
        }
    }

    /// Shows that the group has stopped.
    pub(crate) fn stop(&self, fault: Option<String>) {
        self.change(|status| {
            status.role = Role::Stopped;
            status.leader = None;
            status.matched.clear();
            if status.fault.is_none() {
                status.fault = fault;
            }
            true
        });
    }
}

fn lock(
    watchers: &Mutex<Vec<watch::Sender<GroupStatus>>>,
) -> MutexGuard<'_, Vec<watch::Sender<GroupStatus>>> {
    watchers.lock().expect("nothing panics while it holds the watchers")
}

/// Shows what is known now.
pub(crate) fn show_now<RT: AsyncRuntime>(
    metrics: &WatchReceiverOf<Types<RT>, RaftMetrics<Types<RT>>>,
    board: &StatusBoard,
) {
    board.change(|status| show(&metrics.borrow_watched(), status, &mut None));
}

/// Keeps a board up to date until the group stops, and tells `cut` of every other snapshot.
pub(crate) async fn keep<RT: AsyncRuntime>(
    mut metrics: WatchReceiverOf<Types<RT>, RaftMetrics<Types<RT>>>,
    board: Arc<StatusBoard>,
    fault: FaultSlot,
    cut: Arc<Notify>,
) {
    let (mut membership, mut snapshot) = (None, None);
    loop {
        let stopped = {
            let metrics = metrics.borrow_and_update();
            board.change(|status| show(&metrics, status, &mut membership));
            if metrics.snapshot != snapshot {
                snapshot = metrics.snapshot;
                cut.notify_one();
            }
            metrics.running_state.as_ref().err().map(ToString::to_string)
        };
        if let Some(why) = stopped {
            return board.stop(Some(fault.get().cloned().unwrap_or(why)));
        }
        if metrics.changed().await.is_err() {
            return board.stop(fault.get().cloned());
        }
    }
}

/// The membership that is shown, to see by its address whether it is another.
type Shown = Option<Arc<StoredMembership>>;

fn show<RT: AsyncRuntime>(
    metrics: &RaftMetrics<Types<RT>>,
    status: &mut GroupStatus,
    membership: &mut Shown,
) -> bool {
    let mut changed = show_members(&metrics.membership_config, status, membership);
    let is_settled = metrics.membership_config.log_id() == metrics.committed_membership_config.log_id();
    changed |= set(&mut status.is_settled, is_settled);
    let role = match metrics.state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    };
    changed |= set(&mut status.role, role);
    changed |= set(&mut status.term, metrics.current_term);
    changed |= set(&mut status.last_index, metrics.last_log_index.unwrap_or(0));
    changed |= set(&mut status.committed_index, index(metrics.local_committed.as_ref()));
    changed |= set(&mut status.applied_index, index(metrics.last_applied.as_ref()));
    changed |= set(&mut status.snapshot_index, index(metrics.snapshot.as_ref()));
    let leader = metrics.current_leader.map(ReplicaId);
    if status.leader.as_ref().map(|(replica, _)| *replica) != leader || changed {
        let leader = leader.and_then(|replica| Some((replica, member(status, replica)?)));
        changed |= set(&mut status.leader, leader);
    }
    changed |= show_matched(metrics, &mut status.matched);
    changed
}

fn show_members(now: &Arc<StoredMembership>, status: &mut GroupStatus, shown: &mut Shown) -> bool {
    if shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, now)) {
        return false;
    }
    *shown = Some(Arc::clone(now));
    let (mut voters, mut learners) = (BTreeMap::new(), BTreeMap::new());
    let configs = now.get_joint_config();
    for (&replica, member) in now.nodes() {
        let votes = configs.iter().any(|config| config.contains(&replica));
        let members = if votes { &mut voters } else { &mut learners };
        members.insert(ReplicaId(replica), member.clone());
    }
    let mut changed = set(&mut status.voters, voters);
    changed |= set(&mut status.learners, learners);
    changed |= set(&mut status.is_joint, configs.len() > 1);
    changed
}

fn show_matched<RT: AsyncRuntime>(
    metrics: &RaftMetrics<Types<RT>>,
    matched: &mut BTreeMap<ReplicaId, u64>,
) -> bool {
    let Some(replication) = &metrics.replication else {
        let had = !matched.is_empty();
        matched.clear();
        return had;
    };
    let others = replication.iter().filter(|(replica, _)| **replica != metrics.id);
    let now = others.map(|(&replica, id)| (ReplicaId(replica), index(id.as_ref())));
    if now.clone().eq(matched.iter().map(|(&replica, &index)| (replica, index))) {
        return false;
    }
    *matched = now.collect();
    true
}

fn member(status: &GroupStatus, replica: ReplicaId) -> Option<Member> {
    status.voters.get(&replica).or_else(|| status.learners.get(&replica)).cloned()
}

fn index(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index)
}

fn set<T: PartialEq>(field: &mut T, value: T) -> bool {
    let changes = *field != value;
    if changes {
        *field = value;
    }
    changes
}
