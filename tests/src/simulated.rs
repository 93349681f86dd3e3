//! A cluster for a single story in virtual time: the real node, consensus, core and engine over a network
//! and stores in memory, every choice from one seed. [`crate::sim`] shakes clusters; here the story does.
//!
//! Where [`crate::cluster`] knows nothing of a node's inside, this calls its verbs. It must run on a guest thread ([`althing_engine::thread::on_guest_thread`]).

use crate::process::target;
use althing_consensus::{
    memory::MemoryNetwork,
    peers::Handlers,
    port::Timing,
    runtime::{Runtime, simulate as in_virtual_time},
};
use althing_core::{
    actor::Actor,
    ids::{Hash, NodeId},
    policy::Policy,
};
use althing_engine::{Engine, EngineOptions, thread::on_guest_thread};
use althing_node::{Addresses, Birth, Identity, Node, NodeOptions, Placement, ProgramSpec};
use althing_store::memory::MemoryStore;
use bytes::Bytes;
use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

/// Runs a scenario over a cluster of `nodes` whose reducer is `component`, and says what happened.
///
/// # Panics
/// When the scenario does, or the cluster does not come up.
pub fn simulate<T: Send>(
    seed: u64,
    nodes: u64,
    component: &Bytes,
    scenario: impl AsyncFnOnce(&mut Simulated) -> T + Send,
) -> T {
    on_guest_thread(|| {
        let engine = engine();
        in_virtual_time(seed, async |runtime| {
            let mut cluster = Simulated::start(runtime, engine, nodes, component).await;
            let outcome = scenario(&mut cluster).await;
            cluster.stop().await;
            outcome
        })
    })
}

/// One engine for all runs, so that a component is compiled once. It shapes no course: what it gives
/// is the same from memory, from the cache and from the compiler.
fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let cache_dir = Some(target().join("compiled"));
    let made = || Engine::new(EngineOptions { cache_dir, ..EngineOptions::default() });
    ENGINE.get_or_init(|| made().expect("the engine runs on this machine")).clone()
}

/// A simulated cluster with one community, called `c`.
pub struct Simulated {
    /// Where everything runs.
    pub runtime: Runtime,
    /// What the nodes speak over.
    pub network: MemoryNetwork,
    engine: Engine,
    nodes: BTreeMap<NodeId, Running>,
    crashed: BTreeMap<NodeId, MemoryStore>,
}

struct Running {
    node: Node,
    store: MemoryStore,
}

/// The community of every scenario.
pub const COMMUNITY: &str = "c";

impl Simulated {
    async fn start(runtime: Runtime, engine: Engine, nodes: u64, component: &Bytes) -> Self {
        let network = MemoryNetwork::new(runtime.clone());
        let mut cluster = Self { runtime, network, engine, nodes: BTreeMap::new(), crashed: BTreeMap::new() };
        cluster.up(NodeId(1), MemoryStore::new(), Birth::Bootstrap).await;
        for id in 2..=nodes {
            let join = Birth::Join { address: MemoryNetwork::address(NodeId(1)) };
            cluster.up(NodeId(id), MemoryStore::new(), join).await;
        }
        cluster.install(component).await;
        cluster
    }

    async fn up(&mut self, id: NodeId, store: MemoryStore, birth: Birth) {
        let transport = self.network.transport(id);
        let addresses = Addresses { peer: MemoryNetwork::address(id), api: format!("api:{id}") };
        let stored = store.store();
        let identity = Identity::settle(birth, &addresses, &stored.archive, &transport, &self.runtime).await;
        let identity = identity.expect("the node becomes somebody");
        assert_eq!(identity.node, id, "nodes join one after the other");
        let options = NodeOptions {
            identity,
            addresses,
            store: stored,
            engine: self.engine.clone(),
            runtime: self.runtime.clone(),
            transport,
            guest_threads: 0,
            log_kept: Some(20),
            reserve: None,
            evidence: None,
            archive: None,
        };
        let node = Node::start(options).await.expect("the node starts");
        let handlers =
            Handlers::new().with("raft/", node.consensus_handler()).with("node/", node.peer_handler());
        self.network.serve(id, handlers);
        self.nodes.insert(id, Running { node, store });
    }

    async fn install(&mut self, component: &Bytes) {
        let node = self.node(1);
        let mut policy = Policy::default();
        policy.retention.snapshot_transitions = 40;
        let nodes = self.nodes.keys().copied().collect();
        node.create_community(COMMUNITY.to_owned(), Placement::Nodes(nodes), Timing::LAN, policy)
            .await
            .expect("a healthy cluster creates a community");
        let hash = Hash::of_component(component);
        node.upload_component(hash, component.clone()).await.expect("the component is good");
        let spec = ProgramSpec { reducer: hash, validators: Vec::new(), config: Bytes::new() };
        node.activate(COMMUNITY, Actor::default(), spec, Duration::from_secs(60))
            .await
            .expect("a healthy cluster activates a program");
    }

    /// A node that is up.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn node(&self, id: u64) -> Node {
        self.nodes[&NodeId(id)].node.clone()
    }

    /// The nodes that are up.
    #[must_use]
    pub fn up_nodes(&self) -> Vec<u64> {
        self.nodes.keys().map(|id| id.0).collect()
    }

    /// A node loses power: what it had not made durable is gone, what still runs of it reaches nobody.
    pub async fn crash(&mut self, id: u64) {
        let Some(running) = self.nodes.remove(&NodeId(id)) else { return };
        self.network.stop(NodeId(id));
        self.crashed.insert(NodeId(id), running.store.crash());
        // A dead process has no tasks; those of this one are ended, and can reach nothing meanwhile.
        running.node.shutdown().await;
    }

    /// A node that crashed comes back with what was durable.
    pub async fn restart(&mut self, id: u64) {
        let Some(store) = self.crashed.remove(&NodeId(id)) else { return };
        self.up(NodeId(id), store, Birth::Restart).await;
    }

    /// Mends everything: links, nodes.
    pub async fn mend(&mut self) {
        self.network.heal();
        let crashed: Vec<NodeId> = self.crashed.keys().copied().collect();
        for id in crashed {
            self.restart(id.0).await;
        }
    }

    async fn stop(&mut self) {
        for running in self.nodes.values() {
            running.node.shutdown().await;
        }
    }
}
