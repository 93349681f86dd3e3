//! What the tests of groups need: a state machine that writes down what it executed, the disk it
//! restarts from, and a cluster of nodes in a simulated network.

use althing_consensus::{
    Consensus, ConsensusOptions,
    memory::MemoryNetwork,
    peers::Handlers,
    port::{
        AppliedState, CommittedEntry, EntryPayload, GroupConfig, GroupHandle, GroupStatus, Member,
        ProposeError, Replies, Role, SnapshotBuilder, SnapshotFetch, SnapshotHandle, StateMachine, Timing,
    },
    runtime::Runtime,
};
use althing_core::{
    codec,
    ids::{CommunityId, NodeId, ReplicaId},
    program::Fault,
};
use althing_store::memory::MemoryStore;
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a replica has executed, as everybody may look at it.
pub(crate) type Book = Arc<Mutex<Vec<Bytes>>>;

/// What a replica's machine keeps over a restart.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    newest: Arc<Mutex<Option<SnapshotHandle>>>,
    /// What the machine says that its log has to reach back to, if it says anything.
    pub(crate) falls_back_to: Arc<Mutex<Option<u64>>>,
}

/// Writes down what it executes. Its snapshot is all of it, in the manifest.
pub(crate) struct Scribe {
    applied: AppliedState,
    book: Book,
    disk: Disk,
}

impl Scribe {
    /// Restored from a disk, written into a book.
    pub(crate) fn restore(disk: &Disk, book: &Book) -> Self {
        let mut scribe =
            Self { applied: AppliedState::default(), book: Arc::clone(book), disk: disk.clone() };
        scribe.book.lock().unwrap().clear();
        let newest = disk.newest.lock().unwrap().clone();
        if let Some(snapshot) = newest {
            scribe.take_over(&snapshot);
        }
        scribe
    }

    fn take_over(&mut self, snapshot: &SnapshotHandle) {
        self.applied = snapshot.applied.clone();
        *self.book.lock().unwrap() = codec::decode(&snapshot.manifest).unwrap();
    }
}

struct Copying {
    snapshot: SnapshotHandle,
    disk: Disk,
}

#[async_trait]
impl SnapshotBuilder for Copying {
    async fn build(&mut self) -> Result<SnapshotHandle, Fault> {
        *self.disk.newest.lock().unwrap() = Some(self.snapshot.clone());
        Ok(self.snapshot.clone())
    }

    fn falls_back_to(&self) -> u64 {
        self.disk.falls_back_to.lock().unwrap().unwrap_or(u64::MAX)
    }
}

#[async_trait]
impl StateMachine for Scribe {
    async fn applied(&mut self) -> Result<AppliedState, Fault> {
        Ok(self.applied.clone())
    }

    async fn apply(&mut self, entries: Vec<CommittedEntry>) -> Result<Vec<Replies>, Fault> {
        let mut replies = Vec::new();
        for entry in entries {
            let before = self.applied.position.as_ref().map(|position| position.index);
            assert!(before.is_none_or(|before| entry.position.index == before + 1), "entries have no gaps");
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Proposal(payload) if payload == "fail" => {
                    return Err(Fault::because("the machine cannot go on", "a bad word"));
                }
                EntryPayload::Proposal(payload) if payload == "wait for ever" => {
                    self.book.lock().unwrap().push(payload);
                    std::future::pending::<()>().await;
                }
                EntryPayload::Proposal(payload) => self.book.lock().unwrap().push(payload),
                EntryPayload::Membership(record) => self.applied.membership = Some(record),
            }
            self.applied.position = Some(entry.position);
            replies.push(Replies::default());
        }
        Ok(replies)
    }

    async fn capture(&mut self) -> Result<Box<dyn SnapshotBuilder>, Fault> {
        let manifest = codec::encode(&*self.book.lock().unwrap()).into();
        let snapshot = SnapshotHandle { applied: self.applied.clone(), manifest };
        Ok(Box::new(Copying { snapshot, disk: self.disk.clone() }))
    }

    async fn install(&mut self, snapshot: SnapshotHandle) -> Result<(), Fault> {
        self.take_over(&snapshot);
        *self.disk.newest.lock().unwrap() = Some(snapshot);
        Ok(())
    }

    async fn snapshot(&mut self) -> Result<Option<SnapshotHandle>, Fault> {
        Ok(self.disk.newest.lock().unwrap().clone())
    }
}

/// Fetches snapshots, which have nothing to fetch; takes its time, counts, and fails when told to.
pub(crate) struct Fetching {
    pub(crate) runtime: Runtime,
    pub(crate) takes: Duration,
    pub(crate) count: AtomicU64,
    pub(crate) is_failing: AtomicBool,
}

#[async_trait]
impl SnapshotFetch for Fetching {
    async fn fetch(&self, _from: NodeId, _offered: &SnapshotHandle) -> Result<(), Fault> {
        self.runtime.sleep(self.takes).await;
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.is_failing.load(Ordering::Relaxed) {
            return Err(Fault::new("a chunk could not be fetched"));
        }
        Ok(())
    }
}

/// One node of a simulated cluster, with all that survives its restarts.
pub(crate) struct Node {
    pub(crate) consensus: Consensus,
    pub(crate) fetching: Arc<Fetching>,
    store: MemoryStore,
    pub(crate) disks: BTreeMap<CommunityId, Disk>,
    books: BTreeMap<CommunityId, Book>,
}

/// Nodes in a simulated network. The replica on node 3 has the id 3.
pub(crate) struct Cluster {
    pub(crate) runtime: Runtime,
    pub(crate) network: MemoryNetwork,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) log_kept: u64,
    pub(crate) fetch_takes: Duration,
}

pub(crate) const FIRST: CommunityId = CommunityId(1);

pub(crate) fn nodes(numbers: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    numbers.into_iter().map(NodeId).collect()
}

pub(crate) fn member(node: NodeId) -> Member {
    Member { node, address: MemoryNetwork::address(node) }
}

impl Cluster {
    pub(crate) fn new(runtime: &Runtime) -> Self {
        Self {
            runtime: runtime.clone(),
            network: MemoryNetwork::new(runtime.clone()),
            nodes: BTreeMap::new(),
            log_kept: 20,
            fetch_takes: Duration::from_millis(10),
        }
    }

    /// A cluster of nodes 1, 2, … with one group that has begun on all of them.
    pub(crate) async fn of(count: u64, runtime: &Runtime) -> Self {
        let mut cluster = Self::new(runtime);
        for node in nodes(1..=count) {
            cluster.add_node(node);
        }
        cluster.begin_group(FIRST, &nodes(1..=count)).await;
        cluster
    }

    pub(crate) fn add_node(&mut self, node: NodeId) {
        let fetching = Arc::new(Fetching {
            runtime: self.runtime.clone(),
            takes: self.fetch_takes,
            count: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        });
        let store = MemoryStore::with_crash_semantics();
        let consensus = self.run(node, &store);
        let (disks, books) = (BTreeMap::new(), BTreeMap::new());
        self.nodes.insert(node, Node { consensus, fetching, store, disks, books });
    }

    fn run(&self, node: NodeId, store: &MemoryStore) -> Consensus {
        let consensus = Consensus::new(ConsensusOptions {
            node,
            wal: store.store().wal,
            transport: self.network.transport(node),
            runtime: self.runtime.clone(),
        });
        let handlers = Handlers::new().with(Consensus::METHODS, consensus.handler());
        self.network.serve(node, handlers);
        // The disk: fsyncs take up to six milliseconds.
        let (disk, runtime) = (store.clone(), self.runtime.clone());
        let alive = Arc::downgrade(&store.store().wal);
        let _detached = self.runtime.spawn("disk", async move {
            while alive.strong_count() > 0 {
                runtime.sleep(Duration::from_micros(runtime.random() % 6000)).await;
                disk.sync();
            }
        });
        consensus
    }

    pub(crate) async fn start_group(&mut self, community: CommunityId, node: NodeId) -> GroupHandle {
        let log_kept = self.log_kept;
        let node_state = self.nodes.get_mut(&node).unwrap();
        let disk = node_state.disks.entry(community).or_default();
        let book = node_state.books.entry(community).or_default();
        let machine = Box::new(Scribe::restore(disk, book));
        let (fetch, consensus) = (node_state.fetching.clone(), node_state.consensus.clone());
        let replica = ReplicaId(node.0);
        let config = GroupConfig { community, replica, timing: Timing::LAN, log_kept };
        consensus.start(config, machine, fetch).await.unwrap()
    }

    pub(crate) async fn begin_group(&mut self, community: CommunityId, on: &[NodeId]) {
        for node in on {
            self.start_group(community, *node).await;
        }
        let members = on.iter().map(|node| (ReplicaId(node.0), member(*node))).collect();
        self.group(community, on[0]).initialize(members).await.unwrap();
    }

    pub(crate) fn group(&self, community: CommunityId, node: NodeId) -> GroupHandle {
        self.nodes[&node].consensus.group(community).expect("the group runs")
    }

    pub(crate) fn status(&self, community: CommunityId, node: NodeId) -> GroupStatus {
        self.group(community, node).status().borrow().clone()
    }

    pub(crate) fn book(&self, community: CommunityId, node: NodeId) -> Vec<Bytes> {
        self.nodes[&node].books[&community].lock().unwrap().clone()
    }

    /// How many machines of a node have not been dropped.
    pub(crate) fn machines_alive(&self, node: NodeId) -> usize {
        self.nodes[&node].disks.values().map(|disk| Arc::strong_count(&disk.newest) - 1).sum()
    }

    /// The power of a node fails: what was not synced is lost.
    pub(crate) async fn crash(&mut self, node: NodeId) {
        self.network.stop(node);
        let state = self.nodes.get_mut(&node).unwrap();
        state.store = state.store.crash();
        state.consensus.shutdown().await;
    }

    /// A crashed node comes back, with its groups.
    pub(crate) async fn restart(&mut self, node: NodeId) {
        let store = self.nodes[&node].store.clone();
        let consensus = self.run(node, &store);
        self.nodes.get_mut(&node).unwrap().consensus = consensus;
        let communities: Vec<_> = self.nodes[&node].disks.keys().copied().collect();
        for community in communities {
            self.start_group(community, node).await;
        }
    }

    /// Waits until something is so; fails after a virtual minute.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let begin = self.runtime.monotonic();
        while !is_so(self) {
            let waited = self.runtime.monotonic() - begin;
            assert!(waited < Duration::from_secs(60), "waited in vain: {what}");
            self.runtime.sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets time pass, and sees that something is so all the while.
    pub(crate) async fn during(&self, time: Duration, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = self.runtime.monotonic() + time;
        while self.runtime.monotonic() < end {
            assert!(is_so(self), "no longer so: {what}");
            self.runtime.sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has the leader cut a snapshot, and waits until its log begins behind `index`.
    pub(crate) async fn compact(&self, community: CommunityId, index: u64) {
        let leader = self.leader(community).await;
        self.group(community, leader).snapshot().await.unwrap();
        let begin = self.runtime.monotonic();
        loop {
            if self.purged(community, leader).await.is_some_and(|upto| upto >= index) {
                return;
            }
            assert!(self.runtime.monotonic() - begin < Duration::from_secs(60), "the log is not compacted");
            self.runtime.sleep(Duration::from_millis(5)).await;
        }
    }

    /// The last index that a replica's log has let go.
    pub(crate) async fn purged(&self, community: CommunityId, node: NodeId) -> Option<u64> {
        let state = self.nodes[&node].store.store().wal.state(community).await.unwrap();
        state.purged.map(|(upto, _)| upto)
    }

    /// Who leads, if it is one node in the newest term and it is reachable.
    pub(crate) fn leader_now(&self, community: CommunityId) -> Option<NodeId> {
        let leads = |node: &NodeId| {
            let group = self.nodes[node].consensus.group(community)?;
            let status = group.status().borrow().clone();
            (status.role == Role::Leader).then_some(status.term)
        };
        self.nodes.keys().filter_map(|node| Some((leads(node)?, *node))).max().map(|(_, node)| node)
    }

    pub(crate) async fn leader(&self, community: CommunityId) -> NodeId {
        self.until("somebody leads", |cluster| cluster.leader_now(community).is_some()).await;
        self.leader_now(community).unwrap()
    }

    /// Proposes at one node and waits for what becomes of it.
    pub(crate) async fn propose_at(
        &self,
        community: CommunityId,
        node: NodeId,
        payload: impl Into<Bytes>,
    ) -> Result<u64, ProposeError> {
        let answer = self.group(community, node).propose(payload.into()).await?;
        answer.await.expect("every proposal is answered").map(|committed| committed.index)
    }

    /// Proposes until it is certainly executed; the payload may then stand in the log more than once.
    pub(crate) async fn propose(&self, community: CommunityId, payload: &str) {
        loop {
            let leader = self.leader(community).await;
            if self.propose_at(community, leader, payload.to_owned()).await.is_ok() {
                return;
            }
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until every running replica of a group has executed the same, and returns it.
    pub(crate) async fn agree(&self, community: CommunityId, on: &[NodeId]) -> Vec<Bytes> {
        let leader = self.leader(community).await;
        let is_equal = |cluster: &Self| {
            let applied = |node: NodeId| cluster.status(community, node).applied_index;
            on.iter().all(|node| applied(*node) >= cluster.status(community, leader).committed_index)
        };
        self.until("all replicas have executed everything", is_equal).await;
        let book = self.book(community, leader);
        for node in on {
            assert_eq!(self.book(community, *node), book, "node {node} differs from leader {leader}");
        }
        book
    }
}
