//! The cluster of a run: real nodes in one thread and in virtual time, their network, disks and clocks.

use super::{
    liveness,
    plan::{Disk, Plan},
    record::Record,
};
use althing_consensus::{
    memory::MemoryNetwork,
    peers::Handlers,
    port::Timing,
    runtime::{Runtime, Task},
};
use althing_core::{
    actor::Actor,
    ids::{Hash, NodeId},
    policy::Policy,
    refusal::Refusal,
};
use althing_engine::Engine;
use althing_node::{Addresses, Birth, Identity, Node, NodeOptions, Placement, ProgramSpec, Role};
use althing_store::memory::MemoryStore;
use bytes::Bytes;
use rand::{Rng as _, rngs::SmallRng};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a healthy cluster may take to make a program the law.
const ACTIVATE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a node that is alone may take to lead itself.
const ELECTION_PATIENCE: Duration = Duration::from_secs(2);
/// Most changes that are on their way to a disk and may or may not get there in a power cut.
const AMID_MAX: usize = 8;

/// Through which nodes clients may reach a cluster at the moment. Cheap to clone.
#[derive(Clone, Default)]
pub struct Doors(Arc<Mutex<Vec<(u64, Node)>>>);

impl Doors {
    /// The nodes that are up.
    #[must_use]
    pub fn all(&self) -> Vec<Node> {
        self.lives().into_iter().map(|(_, node)| node).collect()
    }

    /// The nodes that are up, each with which of its lives this is.
    #[must_use]
    pub fn lives(&self) -> Vec<(u64, Node)> {
        self.0.lock().expect("nothing panics while it holds the doors").clone()
    }

    /// One of them; none when all are down.
    pub fn any(&self, rng: &mut SmallRng) -> Option<Node> {
        let doors = self.all();
        (!doors.is_empty()).then(|| doors[rng.random_range(0..doors.len())].clone())
    }
}

/// A cluster.
pub struct World {
    /// Where everything runs.
    pub runtime: Runtime,
    /// What the nodes speak over.
    pub network: MemoryNetwork,
    /// How clients reach it.
    pub doors: Doors,
    engine: Engine,
    plan: Plan,
    nodes: BTreeMap<u64, Running>,
    down: BTreeMap<u64, MemoryStore>,
    clocks: BTreeMap<u64, Arc<AtomicI64>>,
    /// By how much each disk is slower than it should be, in milliseconds.
    stalls: BTreeMap<u64, Arc<AtomicU64>>,
    /// How often a node has begun.
    lives: BTreeMap<u64, u64>,
    burials: Vec<Task>,
}

struct Running {
    node: Node,
    store: MemoryStore,
    disk: Task,
}

/// What a community is called.
#[must_use]
pub fn community(number: usize) -> String {
    format!("c{number}")
}

impl World {
    /// A cluster as planned, its communities running `component`.
    ///
    /// # Panics
    /// When a healthy cluster does not come up.
    pub async fn start(plan: &Plan, runtime: Runtime, engine: Engine, component: &Bytes) -> Self {
        let network = MemoryNetwork::new(runtime.clone());
        network.set_default_link(plan.link);
        let mut world = Self {
            runtime,
            network,
            doors: Doors::default(),
            engine,
            plan: plan.clone(),
            nodes: BTreeMap::new(),
            down: BTreeMap::new(),
            clocks: BTreeMap::new(),
            stalls: BTreeMap::new(),
            lives: BTreeMap::new(),
            burials: Vec::new(),
        };
        for id in 1..=plan.nodes {
            let join = Birth::Join { address: MemoryNetwork::address(NodeId(1)) };
            let birth = if id == 1 { Birth::Bootstrap } else { join };
            world.up(id, MemoryStore::with_crash_semantics(), birth).await;
        }
        // A node that is alone has not been waited for by any that joined.
        if plan.nodes == 1 {
            world.runtime.sleep(ELECTION_PATIENCE).await;
        }
        for number in 0..plan.communities {
            // Three replicas, not always on the same nodes.
            let on = (0..3).map(|place| NodeId((number as u64 + place) % plan.nodes + 1)).collect();
            world.found(&community(number), on, component).await;
        }
        world
    }

    async fn up(&mut self, id: u64, store: MemoryStore, birth: Birth) {
        let clock = self.clocks.entry(id).or_default().clone();
        let stall = self.stalls.entry(id).or_default().clone();
        *self.lives.entry(id).or_default() += 1;
        let disk =
            self.runtime.spawn("disk", turn(self.runtime.clone(), store.clone(), self.plan.disk, stall));
        let runtime = self.runtime.with_clock_offset(clock);
        let transport = self.network.transport(NodeId(id));
        let addresses = Addresses { peer: MemoryNetwork::address(NodeId(id)), api: format!("api:{id}") };
        let stored = store.store();
        let identity = Identity::settle(birth, &addresses, &stored.archive, &transport, &runtime).await;
        let identity = identity.expect("the node becomes somebody");
        assert_eq!(identity.node, NodeId(id), "nodes join one after the other");
        let options = NodeOptions {
            identity,
            addresses,
            store: stored,
            engine: self.engine.clone(),
            runtime,
            transport,
            guest_threads: 0,
            log_kept: Some(self.plan.log_kept),
            reserve: None,
            evidence: None,
            archive: None,
        };
        let node = Node::start(options).await.expect("a node starts with what its disk has kept");
        let handlers =
            Handlers::new().with("raft/", node.consensus_handler()).with("node/", node.peer_handler());
        self.network.serve(NodeId(id), handlers);
        self.nodes.insert(id, Running { node, store, disk });
        self.open_doors();
    }

    /// Creates a community on these nodes, as planned, running `component`.
    ///
    /// # Panics
    /// When a healthy cluster does not do it.
    pub async fn found(&self, name: &str, on: Vec<NodeId>, component: &Bytes) {
        let node = self.nodes[&1].node.clone();
        let mut policy = Policy::default();
        policy.retention.snapshot_transitions = self.plan.snapshot_transitions;
        node.create_community(name.to_owned(), Placement::Nodes(on), Timing::LAN, policy)
            .await
            .expect("a healthy cluster creates a community");
        install(&node, name, component.clone()).await.expect("a healthy cluster activates a program");
    }

    fn open_doors(&self) {
        let nodes = self.nodes.iter().map(|(id, running)| (self.lives[id], running.node.clone())).collect();
        *self.doors.0.lock().expect("nothing panics while it holds the doors") = nodes;
    }

    /// What it was planned as.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The nodes that are up.
    #[must_use]
    pub fn up_nodes(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// A node, if it is up.
    #[must_use]
    pub fn node(&self, id: u64) -> Option<Node> {
        self.nodes.get(&id).map(|running| running.node.clone())
    }

    /// The node that leads a community in its own eyes.
    pub async fn leader(&self, number: usize) -> Option<u64> {
        for (&id, running) in &self.nodes {
            if let Ok(replica) = running.node.local_replica(&community(number)).await
                && replica.role == Role::Leader
            {
                return Some(id);
            }
        }
        None
    }

    /// A node loses power: what it had not made durable is gone, but for what its disk was just about to
    /// write; what still runs of it reaches nobody. False if it was down.
    pub fn crash(&mut self, id: u64, rng: &mut SmallRng) -> bool {
        let Some(Running { node, store, disk }) = self.nodes.remove(&id) else { return false };
        self.open_doors();
        self.network.stop(NodeId(id));
        let amid = store.crash_amid(rng.random_range(0..=AMID_MAX), rng.random_range(0..=AMID_MAX));
        self.down.insert(id, amid);
        (disk.abort)();
        // A dead process has no tasks; those of this one are ended, and can reach nothing meanwhile.
        self.burials.push(self.runtime.spawn("burial", async move { node.shutdown().await }));
        true
    }

    /// Waits until nothing of the nodes that lost power runs any more.
    pub async fn bury(&mut self) {
        for burial in self.burials.drain(..) {
            burial.ended.await;
        }
    }

    /// A node comes back with what its disk has kept. False if it was up.
    pub async fn restart(&mut self, id: u64) -> bool {
        let Some(store) = self.down.remove(&id) else { return false };
        self.up(id, store, Birth::Restart).await;
        true
    }

    /// The nodes that are down.
    #[must_use]
    pub fn down_nodes(&self) -> Vec<u64> {
        self.down.keys().copied().collect()
    }

    /// A node's clock jumps by so many milliseconds.
    pub fn jump(&self, id: u64, millis: i64) {
        self.clocks[&id].fetch_add(millis, Ordering::Relaxed);
    }

    /// A node's disk is slower than it should be, by so many milliseconds each time.
    pub fn stall(&self, id: u64, millis: u64) {
        self.stalls[&id].store(millis, Ordering::Relaxed);
    }

    /// Mends everything that was broken: links, disks, clocks that are far off, nodes that are down.
    pub async fn heal(&mut self) {
        self.network.heal();
        self.network.set_every_link(self.plan.link);
        self.stalls.values().for_each(|stall| stall.store(0, Ordering::Relaxed));
        self.clocks.values().for_each(|clock| clock.store(0, Ordering::Relaxed));
        for id in self.down_nodes() {
            self.restart(id).await;
        }
    }

    /// Stops every node, in order. One that does not stop is a violation.
    pub async fn stop(&mut self, record: &Record) {
        let nodes = self.nodes.values().map(|running| (running.node.clone(), &running.disk.abort));
        for (node, stop_disk) in nodes {
            let who = format!("node {}", node.id());
            let stops = self.runtime.spawn("stop", async move { node.shutdown().await });
            liveness::ends(&self.runtime, record, &who, stops).await;
            stop_disk();
        }
        for burial in self.burials.drain(..) {
            liveness::ends(&self.runtime, record, "a node that lost power", burial).await;
        }
    }
}

/// Makes a component the law of a community.
///
/// # Errors
/// A refusal; then it may become the law yet.
pub async fn install(through: &Node, community: &str, component: Bytes) -> Result<(), Refusal> {
    let hash = Hash::of_component(&component);
    through.upload_component(hash, component).await?;
    let spec = ProgramSpec { reducer: hash, validators: Vec::new(), config: Bytes::new() };
    through.activate(community, Actor::default(), spec, ACTIVATE_PATIENCE).await.map(|_| ())
}

/// A disk: makes durable what was written, some time after.
async fn turn(runtime: Runtime, store: MemoryStore, disk: Disk, stall: Arc<AtomicU64>) {
    loop {
        store.written().await;
        let span = u64::try_from((disk.most - disk.least).as_micros()).unwrap_or(0);
        let takes = disk.least + Duration::from_micros(runtime.random() % (span + 1));
        runtime.sleep(takes + Duration::from_millis(stall.load(Ordering::Relaxed))).await;
        store.sync();
    }
}
