//! A community on this node: its group, its state for readers, its proposer and its feed, started
//! and stopped together.

use crate::{
    archiver::Marks,
    components::Components,
    digests::Digests,
    execute::{Executor, Published, Sources, publishable},
    fall_back,
    feed::Feed,
    guests::GuestThreads,
    mend::Mender,
    propose::Proposer,
    query::QueryProgram,
    refuse,
    replica::{Loader, Replica},
    roots::Roots,
    shown::Shown,
    snapshots::LastCut,
    space::Space,
    transfer::Transfers,
};
use althing_consensus::{
    Consensus,
    port::{GroupConfig, GroupHandle, GroupStatus, Role, Timing},
    runtime::{Runtime, Task},
};
use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId},
    policy::Policy,
    program::Fault,
    refusal::Refusal,
    snapshot::Cut,
    view::View,
};
use althing_store::port::Store;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Log entries kept behind a snapshot, so that a replica that lags a little needs no snapshot.
const LOG_KEPT: u64 = 1000;

/// What a node remembers of a community that it hosts, so that it can start it without the
/// directory. Stored as a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hosted {
    pub(crate) community: CommunityId,
    pub(crate) name: String,
    pub(crate) replica: ReplicaId,
    pub(crate) timing: Timing,
    pub(crate) founding_policy: Policy,
    /// The voters it began with, if this replica is one of them.
    pub(crate) founders: BTreeMap<ReplicaId, NodeId>,
    /// Whether this replica has begun the group, or has met it begun.
    pub(crate) founded: bool,
}

/// What communities share on a node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) consensus: Consensus,
    pub(crate) components: Components,
    pub(crate) guests: GuestThreads,
    pub(crate) runtime: Runtime,
    pub(crate) transfers: Transfers,
    pub(crate) mender: Mender,
    pub(crate) log_kept: u64,
    pub(crate) space: Space,
    pub(crate) archived: Marks,
    #[cfg(test)]
    pub(crate) tamper: crate::quarantine::tests::Tamper,
}

impl Shared {
    /// What is kept behind a snapshot when nobody says otherwise.
    pub(crate) const LOG_KEPT: u64 = LOG_KEPT;
}

/// A community on this node.
pub(crate) struct Community {
    pub(crate) hosted: Hosted,
    /// When it was started here, by the runtime's clock.
    pub(crate) started: Duration,
    pub(crate) group: GroupHandle,
    pub(crate) proposer: Proposer,
    pub(crate) feed: Arc<Feed>,
    pub(crate) digests: Arc<Digests>,
    pub(crate) roots: Arc<Roots>,
    last_cut: LastCut,
    /// Why it serves nothing any more, once it was found to differ from the majority.
    quarantined: OnceLock<String>,
    published: Shown<Published>,
    pub(crate) query_program: Mutex<Option<Arc<QueryProgram>>>,
    founded: AtomicBool,
    tasks: Mutex<Vec<Task>>,
}

impl Community {
    /// Starts a replica: restores what is stored, joins its group, lets it catch up.
    ///
    /// # Errors
    /// A fault of this node: storage, damage.
    pub(crate) async fn start(shared: &Shared, hosted: Hosted, sources: Sources) -> Result<Arc<Self>, Fault> {
        let id = hosted.community;
        let loader = match id {
            CommunityId::SYSTEM => Loader::Native,
            #[cfg(test)]
            _ => Loader::Scripted,
            #[cfg(not(test))]
            _ => Loader::Wasm(shared.components.engine().clone()),
        };
        let (machine, applied) = fall_back::begin(shared, &hosted, &sources).await?;
        let replica = Replica::new(machine, loader.clone(), applied);
        let feed = Arc::new(Feed::new(id, shared.store.archive.clone(), replica.view().sequence()));
        let digests = Arc::new(Digests::new(replica.view().sequence(), replica.view().digest()));
        let published = Shown::new(publishable(&replica));
        let snapshot_due = Arc::new(Notify::new());
        let (roots, last_cut) = (Arc::<Roots>::default(), LastCut::default());
        let executor = Executor {
            community: id,
            replica: Some(replica),
            loader,
            archive: shared.store.archive.clone(),
            components: shared.components.clone(),
            guests: shared.guests.clone(),
            feed: feed.clone(),
            digests: digests.clone(),
            published: published.clone(),
            snapshot_due: snapshot_due.clone(),
            last_cut: last_cut.clone(),
            roots: roots.clone(),
            sources: sources.clone(),
            mender: shared.mender.clone(),
            archived: shared.archived.clone(),
            #[cfg(test)]
            tamper: shared.tamper.clone(),
        };
        let config = GroupConfig {
            community: id,
            replica: hosted.replica,
            timing: hosted.timing,
            log_kept: shared.log_kept,
        };
        let receiver = shared.transfers.receiver(id, sources);
        let group = shared.consensus.start(config, Box::new(executor), receiver).await.map_err(|error| {
            Fault::because(format!("the group of community {id} could not be started"), error)
        })?;
        let (proposer, packing) = Proposer::new(group.clone(), published.clone(), shared.runtime.clone());
        let tasks = vec![
            shared.runtime.spawn("propose", packing),
            shared.runtime.spawn("snapshot", cut_snapshots(group.clone(), snapshot_due)),
        ];
        Ok(Arc::new(Self {
            founded: AtomicBool::new(hosted.founded),
            hosted,
            started: shared.runtime.monotonic(),
            group,
            proposer,
            feed,
            digests,
            roots,
            last_cut,
            quarantined: OnceLock::new(),
            published,
            query_program: Mutex::default(),
            tasks: Mutex::new(tasks),
        }))
    }

    pub(crate) fn id(&self) -> CommunityId {
        self.hosted.community
    }

    /// Whether the group has begun, as far as this replica has to care.
    pub(crate) fn is_founded(&self) -> bool {
        self.founded.load(Ordering::SeqCst)
    }

    pub(crate) fn set_founded(&self) {
        self.founded.store(true, Ordering::SeqCst);
    }

    /// What this node is to remember of it.
    pub(crate) fn remembered(&self) -> Hosted {
        Hosted { founded: self.is_founded(), ..self.hosted.clone() }
    }

    /// What readers see now.
    pub(crate) fn published(&self) -> Published {
        self.published.get()
    }

    /// The newest state.
    pub(crate) fn view(&self) -> View {
        self.published.read(|published| published.view.clone())
    }

    /// The first state, from now on, for which `is_enough` holds.
    pub(crate) async fn wait_for(&self, is_enough: impl Fn(&Published) -> bool) -> View {
        self.published.wait_for(is_enough).await.view
    }

    /// The state that was cut last, unless one is being cut.
    pub(crate) fn last_cut(&self) -> Option<Arc<Cut>> {
        self.last_cut.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What consensus knows.
    pub(crate) fn status(&self) -> GroupStatus {
        let mut status = self.group.status().borrow().clone();
        if let Some(why) = self.quarantined.get() {
            status.role = Role::Stopped;
            status.leader = None;
            status.fault = Some(why.clone());
        }
        status
    }

    /// Whether it was found to differ from the majority.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.quarantined.get().is_some()
    }

    /// From now on it leads, answers and executes nothing.
    pub(crate) fn set_quarantined(&self, why: String) {
        // It is quarantined once; the first reason stays.
        let _ = self.quarantined.set(why);
    }

    /// Whether this replica leads.
    pub(crate) fn leads(&self) -> bool {
        !self.is_quarantined() && self.group.status().borrow().role == Role::Leader
    }

    /// Refuses if the replica has stopped.
    pub(crate) fn must_run(&self) -> Result<(), Refusal> {
        if let Some(why) = self.quarantined.get() {
            return Err(refuse::stopped(self.id(), why));
        }
        let status = self.group.status();
        let status = status.borrow();
        match &status.fault {
            Some(fault) => Err(refuse::stopped(self.id(), fault)),
            None if status.role == Role::Stopped => Err(refuse::stopped(self.id(), "it was shut down")),
            None => Ok(()),
        }
    }

    /// Hands leadership over if it has it, bounded by `timeout`; before a shutdown.
    pub(crate) async fn hand_over(&self, timeout: Duration) {
        if self.leads()
            && self.status().voters.len() > 1
            && !self.group.transfer_leadership(None, timeout).await
        {
            tracing::warn!(community = %self.id(), "nobody took over leadership in time");
        }
    }

    /// Stops the tasks that belong to it. Its group is stopped by whoever runs consensus.
    pub(crate) fn stop_tasks(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            (task.abort)();
        }
    }
}

/// Asks for a snapshot whenever one has fallen due.
async fn cut_snapshots(group: GroupHandle, due: Arc<Notify>) {
    loop {
        due.notified().await;
        if let Err(error) = group.snapshot().await {
            tracing::warn!(community = %group.community(), %error, "a snapshot that is due could not be cut");
        }
    }
}
