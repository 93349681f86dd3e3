//! The node: what it holds, how it starts and how it ends. Each verb is in a file of its own.

use crate::{
    archiver::{self, ArchiveOptions, Archiver, Marks},
    bring_back::{self, Awaited},
    community::{Community, Hosted, Shared},
    components::Components,
    directory::view::DirectoryView,
    distrust::{self, Distrust},
    execute::Sources,
    farewell,
    guests::GuestThreads,
    identity::{self, Addresses, Identity},
    import::Staging,
    mend::Mender,
    peer::{ask::Peers, serve::Server},
    quarantine::{self, QuarantinedHere},
    query::Consistency,
    reconcile, refuse,
    scrub::{self, Scrub},
    space::{self, Reserve, Space},
    submit::{LEADER, Outcomes},
    transfer::Transfers,
};
use althing_consensus::{
    Consensus, ConsensusOptions,
    peers::{PeerHandler, PeerTransport},
    port::{Member, Timing},
    runtime::{Runtime, Task},
};
use althing_core::{
    codec,
    ids::{CommunityId, NodeId, ReplicaId},
    policy::Policy,
    program::Fault,
    refusal::{Code, Refusal},
    view::View,
};
use althing_engine::Engine;
use althing_store::port::{Archive, Store, StoreError};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// The fact under which the communities that a node hosts are remembered.
pub(crate) const HOSTED_FACT: &str = "hosted";
/// How long a name that is not known may wait for the directory.
const DIRECTORY_PATIENCE: Duration = Duration::from_secs(2);
/// How long handing leadership over may take at shutdown, for each community.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);

/// What a node is started with.
pub struct NodeOptions {
    /// Who it is.
    pub identity: Identity,
    /// Where it listens.
    pub addresses: Addresses,
    /// Its storage.
    pub store: Store,
    /// What runs guests.
    pub engine: Engine,
    /// Where tasks run.
    pub runtime: Runtime,
    /// How it speaks to peers.
    pub transport: Arc<dyn PeerTransport>,
    /// Threads that execute operations, and as many that answer questions. 0: everything runs in
    /// place, for simulations.
    pub guest_threads: usize,
    /// Log entries kept behind a snapshot; none: the default.
    pub log_kept: Option<u64>,
    /// Room that is kept on its disk; none: nobody looks.
    pub reserve: Option<Reserve>,
    /// Where evidence of a replica that differed is kept; none: in the log only.
    pub evidence: Option<PathBuf>,
    /// Where history is archived; none: nowhere.
    pub archive: Option<ArchiveOptions>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Storage failed.
    #[error("the node's store could not be read")]
    Store(#[source] StoreError),
    /// The host failed.
    #[error("the node could not start")]
    Fault(#[source] Fault),
    /// The node was removed from its cluster.
    #[error(
        "this data directory belongs to node {node}, which has left its cluster for good: start a new node on an \
         empty one, with --join"
    )]
    HasLeft {
        /// Who it was.
        node: NodeId,
    },
}

/// A running node; cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Identity,
    addresses: Addresses,
    shared: Shared,
    askers: GuestThreads,
    peers: Peers,
    system: Arc<Community>,
    communities: Mutex<BTreeMap<CommunityId, Arc<Community>>>,
    /// Communities that were hosted and are not back yet, or cannot come back.
    awaited: Mutex<BTreeMap<CommunityId, Awaited>>,
    /// Believed leaders of communities that are led elsewhere.
    leaders: Mutex<BTreeMap<CommunityId, NodeId>>,
    /// Replicas here that were found to differ.
    quarantined: Mutex<QuarantinedHere>,
    /// Replicas that must never run here again.
    distrust: Mutex<Distrust>,
    evidence: Option<PathBuf>,
    scrub: Scrub,
    archiver: Archiver,
    staging: Staging,
    reconcile_now: Notify,
    stopping: AtomicBool,
    has_left: watch::Sender<bool>,
    tasks: Mutex<Vec<Task>>,
    directory_session: crate::directory_client::Session,
    started: Duration,
}

impl Node {
    /// Starts a node: the system community from what is stored, then, in the background, every
    /// community it hosted and whatever the directory says.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: NodeOptions) -> Result<Self, StartError> {
        let identity = options.identity.clone();
        farewell::must_not_have_left(&*options.store.archive, identity.node).await?;
        let (shared, askers, peers) = shared(&options).map_err(StartError::Fault)?;
        let known = identity::remembered_nodes(&*options.store.archive).await.map_err(StartError::Store)?;
        for record in &known {
            peers.set_address(record.node, &record.peer_address);
        }
        peers.set_address(identity.node, &options.addresses.peer);
        let archive = &*options.store.archive;
        let mut quarantined = quarantine::remembered(archive, &identity).await.map_err(StartError::Store)?;
        let distrust = Distrust::remembered(archive).await.map_err(StartError::Store)?;
        must_be_trusted(&identity, &quarantined, &distrust).map_err(StartError::Fault)?;
        // If there is one, it is of a replica from which this node has come back.
        quarantined.remove(&CommunityId::SYSTEM);
        let others = known.iter().map(|record| record.node).filter(|&node| node != identity.node);
        let system = Community::start(&shared, system_hosted(&identity), always(others.collect())).await;
        let system = system.map_err(StartError::Fault)?;
        let reserve = options.reserve;
        let is_simulated = options.guest_threads == 0;
        let archiver = Archiver::new(options.archive, shared.archived.clone(), is_simulated);
        let archiver = archiver.map_err(StartError::Fault)?;
        let staging = Staging::remembered(&*options.store.archive, options.runtime.monotonic()).await;
        let staging = staging.map_err(StartError::Store)?;
        let inner = Inner {
            directory_session: crate::directory_client::Session::default(),
            communities: Mutex::new(BTreeMap::from([(CommunityId::SYSTEM, system.clone())])),
            awaited: Mutex::default(),
            leaders: Mutex::default(),
            quarantined: Mutex::new(quarantined),
            distrust: Mutex::new(distrust),
            evidence: options.evidence,
            scrub: Scrub::default(),
            archiver,
            staging,
            reconcile_now: Notify::new(),
            stopping: AtomicBool::new(false),
            has_left: watch::Sender::new(false),
            tasks: Mutex::default(),
            started: options.runtime.monotonic(),
            addresses: options.addresses,
            identity,
            shared,
            askers,
            peers,
            system,
        };
        let node = Self { inner: Arc::new(inner) };
        let hosted = remembered_hosted(&*node.shared().store.archive).await.map_err(StartError::Store)?;
        let awaited = |hosted: Hosted| (hosted.community, Awaited { hosted, failed: None });
        node.awaited().extend(hosted.into_iter().map(awaited));
        node.set_to_work(reserve);
        Ok(node)
    }

    /// Begins everything that a node does by itself, until it is shut down.
    fn set_to_work(&self, reserve: Option<Reserve>) {
        let runtime = self.runtime();
        let mut tasks = vec![
            runtime.spawn("bring back", bring_back::run(self.clone())),
            runtime.spawn("reconcile", reconcile::run(self.clone())),
            runtime.spawn("presence", crate::presence::run(self.clone())),
            runtime.spawn("compare", crate::compare::run(self.clone())),
            runtime.spawn("scrub", scrub::run(self.clone())),
            runtime.spawn("retire", crate::retire::run(self.clone())),
            runtime.spawn("farewell", farewell::run(self.clone())),
            runtime.spawn("distrust", distrust::run(self.clone())),
            runtime.spawn("recheck", crate::recheck::run(self.clone())),
            runtime.spawn("archive", archiver::run(self.clone())),
            runtime.spawn("keep", crate::keep::run(self.clone())),
            runtime.spawn("backfill", crate::backfill::run(self.clone())),
        ];
        if let Some(reserve) = reserve {
            tasks.push(runtime.spawn("space", space::run(self.clone(), reserve)));
        }
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
    }

    /// What peers ask this node, methods `node/…`.
    #[must_use]
    pub fn peer_handler(&self) -> Arc<dyn PeerHandler> {
        Arc::new(Server::new(self.clone()))
    }

    /// What peers ask its consensus groups, methods `raft/…`.
    #[must_use]
    pub fn consensus_handler(&self) -> Arc<dyn PeerHandler> {
        self.inner.shared.consensus.handler()
    }

    /// Stops in order: refuses new requests, hands leadership over, stops the groups, writes out
    /// what is pending.
    pub async fn shutdown(&self) {
        if self.inner.stopping.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return;
        }
        let communities: Vec<_> = self.communities().values().cloned().collect();
        futures::future::join_all(communities.iter().map(|community| community.hand_over(HAND_OVER_TIMEOUT)))
            .await;
        let tasks: Vec<_> =
            self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        for task in tasks {
            (task.abort)();
            task.ended.await;
        }
        self.inner.shared.consensus.shutdown().await;
        // Some may have come since.
        for community in self.communities().values() {
            community.stop_tasks();
        }
        self.inner.shared.store.wal.close().await;
        self.inner.shared.store.archive.close().await;
    }

    /// Whether it is shutting down.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Waits until the node has left its cluster for good: there is nothing left for it to do. Pending
    /// while it has not.
    pub async fn left(&self) {
        // The sender lives as long as the node.
        let _ = self.inner.has_left.subscribe().wait_for(|has_left| *has_left).await;
    }

    pub(crate) fn set_left(&self) {
        self.inner.has_left.send_replace(true);
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.inner.identity.node
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.inner.addresses
    }

    /// Where its tasks run.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.inner.shared.runtime
    }

    /// What runs guests.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.inner.shared.components.engine()
    }

    pub(crate) fn started(&self) -> Duration {
        self.inner.started
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    pub(crate) fn components(&self) -> &Components {
        &self.inner.shared.components
    }

    pub(crate) fn askers(&self) -> &GuestThreads {
        &self.inner.askers
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    pub(crate) fn system(&self) -> &Arc<Community> {
        &self.inner.system
    }

    pub(crate) fn directory_session(&self) -> &crate::directory_client::Session {
        &self.inner.directory_session
    }

    pub(crate) fn scrub(&self) -> &Scrub {
        &self.inner.scrub
    }

    pub(crate) fn archiver(&self) -> &Archiver {
        &self.inner.archiver
    }

    pub(crate) fn staging(&self) -> &Staging {
        &self.inner.staging
    }

    pub(crate) fn reconcile_now(&self) -> &Notify {
        &self.inner.reconcile_now
    }

    /// The directory as this node knows it.
    pub(crate) fn directory(&self) -> View {
        self.inner.system.view()
    }

    pub(crate) fn communities(&self) -> MutexGuard<'_, BTreeMap<CommunityId, Arc<Community>>> {
        self.inner.communities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The communities that were hosted and are not back yet, or cannot come back.
    pub(crate) fn awaited(&self) -> MutexGuard<'_, BTreeMap<CommunityId, Awaited>> {
        self.inner.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn quarantined_here(&self) -> MutexGuard<'_, QuarantinedHere> {
        self.inner.quarantined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn distrust(&self) -> MutexGuard<'_, Distrust> {
        self.inner.distrust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn evidence_folder(&self) -> Option<&Path> {
        self.inner.evidence.as_deref()
    }

    /// The community on this node, if it has a replica.
    pub(crate) fn hosted(&self, community: CommunityId) -> Option<Arc<Community>> {
        self.communities().get(&community).cloned()
    }

    /// The id of a community by name or decimal id.
    ///
    /// # Errors
    /// There is none, as far as this node knows; or the node is shutting down.
    pub(crate) fn find(&self, name: &str) -> Result<CommunityId, Refusal> {
        if self.is_stopping() {
            return Err(refuse::shutting_down());
        }
        let record = DirectoryView(&self.directory()).find(name);
        let known = record.map(|record| record.id);
        let hosted =
            || self.communities().values().find(|here| here.hosted.name == name).map(|here| here.id());
        known.or_else(hosted).ok_or_else(|| refuse::no_community(name))
    }

    /// As [`Self::find`]; but before it says that there is none, it catches up with the directory.
    ///
    /// # Errors
    /// There is none; or there is none as far as this node knows, and the directory cannot be asked.
    pub(crate) async fn resolve(&self, name: &str) -> Result<CommunityId, Refusal> {
        match self.find(name) {
            Err(refusal) if refusal.code == Code::NoCommunity => match self.catch_up_with_directory().await {
                true => self.find(name),
                false => Err(refusal),
            },
            found => found,
        }
    }

    /// Brings the directory here up to now; false when that cannot be done in time.
    pub(crate) async fn catch_up_with_directory(&self) -> bool {
        let directory = self.view_at(self.system(), Consistency::Linearizable);
        matches!(self.runtime().timeout(DIRECTORY_PATIENCE, directory).await, Some(Ok(_)))
    }

    /// The community itself, if it exists as far as this node knows.
    pub(crate) fn find_id(&self, community: CommunityId) -> Option<CommunityId> {
        let known = DirectoryView(&self.directory()).community(community).map(|record| record.id);
        known.or_else(|| self.hosted(community).map(|here| here.id()))
    }

    /// The nodes that have, or should have, a replica of a community.
    pub(crate) fn sources(&self, community: CommunityId) -> Vec<NodeId> {
        let directory = self.directory();
        let view = DirectoryView(&directory);
        let replicas = view.community(community).map(|record| record.replicas).unwrap_or_default();
        let members: Vec<NodeId> = replicas.values().map(|replica| replica.node).collect();
        let others: Vec<NodeId> =
            view.nodes().iter().map(|record| record.node).filter(|node| !members.contains(node)).collect();
        members.into_iter().chain(others).collect()
    }

    /// [`Self::sources`] without this node, for a task that outlives the call. Weak, because the
    /// node owns the task.
    pub(crate) fn sources_of(&self, community: CommunityId) -> Sources {
        let inner = Arc::downgrade(&self.inner);
        Arc::new(move || match inner.upgrade() {
            Some(inner) => {
                let node = Node { inner };
                node.sources(community).into_iter().filter(|&source| source != node.id()).collect()
            }
            None => Vec::new(),
        })
    }

    /// Who leads a community, as far as this node knows; never itself.
    pub(crate) fn leader_of(&self, community: CommunityId) -> Option<NodeId> {
        // A replica that has stopped knows nothing, and a node without one asks around.
        let running = self.hosted(community).filter(|here| here.must_run().is_ok());
        if let Some(running) = running {
            let told = running.status().leader.map(|(_, member)| member.node);
            let leader = told.or_else(|| self.leaders().get(&community).copied());
            return leader.filter(|&leader| leader != self.id());
        }
        let believed = self.leaders().get(&community).copied();
        believed
            .filter(|&leader| leader != self.id())
            .or_else(|| self.sources(community).into_iter().find(|&node| node != self.id()))
    }

    /// A node was asked to lead: remember it, or whom it named.
    pub(crate) fn note_leader(&self, community: CommunityId, asked: NodeId, outcomes: &Outcomes) {
        let hint = outcomes.iter().find_map(|outcome| outcome.as_ref().err()?.data.get(LEADER)?.parse().ok());
        let leader = hint.map_or(asked, NodeId);
        if leader == NodeId(0) {
            self.forget_leader(community, asked);
        } else {
            self.leaders().insert(community, leader);
        }
    }

    /// A node did not answer, or does not know who leads: ask the next one next time.
    pub(crate) fn forget_leader(&self, community: CommunityId, asked: NodeId) {
        let me = self.id();
        let candidates: Vec<NodeId> =
            self.sources(community).into_iter().filter(|&node| node != me).collect();
        let place = candidates.iter().position(|&node| node == asked).map_or(0, |place| place + 1);
        let next = candidates.get(place % candidates.len().max(1)).copied();
        match next {
            Some(next) => self.leaders().insert(community, next),
            None => self.leaders().remove(&community),
        };
    }

    fn leaders(&self) -> MutexGuard<'_, BTreeMap<CommunityId, NodeId>> {
        self.inner.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what this node hosts.
    pub(crate) async fn remember_hosted(&self) -> Result<(), StoreError> {
        let mut hosted: BTreeMap<CommunityId, Hosted> =
            self.awaited().iter().map(|(&id, awaited)| (id, awaited.hosted.clone())).collect();
        for community in self.communities().values().filter(|here| here.id() != CommunityId::SYSTEM) {
            hosted.insert(community.id(), community.remembered());
        }
        let hosted: Vec<Hosted> = hosted.into_values().collect();
        self.inner.shared.store.archive.put_fact(HOSTED_FACT, codec::encode(&hosted).into()).await
    }

    /// This node as a member of a group.
    pub(crate) fn member(&self) -> Member {
        Member { node: self.id(), address: self.inner.addresses.peer.clone() }
    }
}

/// What a node remembers that it hosts, but for the system community.
pub(crate) async fn remembered_hosted(archive: &dyn Archive) -> Result<Vec<Hosted>, StoreError> {
    let record = archive.fact(HOSTED_FACT).await?;
    // What cannot be read is learned again from the directory.
    Ok(record.and_then(|record| codec::decode(&record).ok()).unwrap_or_default())
}

/// Refuses to run as a replica of the system community that must not: the node has to be taken back
/// first ([`Identity::come_back`]).
fn must_be_trusted(
    identity: &Identity,
    quarantined: &QuarantinedHere,
    distrust: &Distrust,
) -> Result<(), Fault> {
    let replica = identity.system_replica;
    let quarantined = quarantined.get(&CommunityId::SYSTEM).filter(|found| found.replica == replica);
    let distrusted = distrust.of(CommunityId::SYSTEM, replica);
    match quarantined.map(|found| &found.why).or(distrusted.map(|found| &found.why)) {
        Some(why) => Err(Fault::new(format!("the replica of the system community here must not run: {why}"))),
        None => Ok(()),
    }
}

fn shared(options: &NodeOptions) -> Result<(Shared, GuestThreads, Peers), Fault> {
    let pool = |name| match options.guest_threads {
        0 => Ok(GuestThreads::in_place()),
        threads => GuestThreads::pool(name, threads),
    };
    let compilers = match options.guest_threads {
        0 => GuestThreads::in_place(),
        _ => GuestThreads::pool("compile", 1)?,
    };
    let peers = Peers::new(options.transport.clone());
    let components = Components::new(
        options.store.archive.clone(),
        options.engine.clone(),
        compilers,
        peers.clone(),
        options.runtime.clone(),
    );
    let consensus = Consensus::new(ConsensusOptions {
        node: options.identity.node,
        wal: options.store.wal.clone(),
        transport: options.transport.clone(),
        runtime: options.runtime.clone(),
    });
    let space = Space::default();
    let transfers = Transfers::new(
        options.store.archive.clone(),
        components.clone(),
        peers.clone(),
        options.runtime.clone(),
        space.clone(),
    );
    let mender = Mender::new(options.store.archive.clone(), peers.clone());
    let shared = Shared {
        mender,
        store: options.store.clone(),
        consensus,
        components,
        guests: pool("guest")?,
        runtime: options.runtime.clone(),
        transfers,
        log_kept: options.log_kept.unwrap_or(Shared::LOG_KEPT),
        space,
        archived: Marks::new(options.archive.is_some()),
        #[cfg(test)]
        tamper: crate::quarantine::tests::Tamper::default(),
    };
    Ok((shared, pool("ask")?, peers))
}

/// The system community as every node hosts it.
fn system_hosted(identity: &Identity) -> Hosted {
    let founders = match identity.is_founder() {
        true => BTreeMap::from([(ReplicaId(1), NodeId(1))]),
        false => BTreeMap::new(),
    };
    Hosted {
        community: CommunityId::SYSTEM,
        name: "system".to_owned(),
        replica: identity.system_replica,
        timing: Timing::LAN,
        founding_policy: Policy::default(),
        founders,
        founded: !identity.is_founder(),
    }
}

/// The system community's sources are the nodes that were known at the start: its directory names the
/// others, and is what has to come.
fn always(nodes: Vec<NodeId>) -> Sources {
    Arc::new(move || nodes.clone())
}
