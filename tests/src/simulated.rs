//! A whole cluster in one thread and in virtual time: the real node, consensus, core and engine over a
//! network and stores in memory, every choice from one seed.
//!
//! The other half of the harness: where [`crate::cluster`] knows nothing of a node's inside, this
//! calls its verbs. It must run on a guest thread ([`althing_engine::thread::on_guest_thread`]).

use crate::process::target;
use althing_consensus::{
    memory::MemoryNetwork,
    peers::Handlers,
    port::{Role, Timing},
    runtime::{Runtime, simulate_traced},
};
use althing_core::{
    actor::Actor,
    batch::Operation,
    ids::{Hash, NodeId, OperationNumber, Sequence, SessionId},
    policy::Policy,
    refusal::{Refusal, Retry},
};
use althing_engine::{Engine, EngineOptions, thread::on_guest_thread};
use althing_node::{Addresses, Birth, Identity, Node, NodeOptions, Placement, ProgramSpec, Submitted};
use althing_store::memory::MemoryStore;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

pub use althing_consensus::runtime::Trace;

/// Runs a scenario over a cluster of `nodes` whose reducer is `component`, and says what happened.
///
/// # Panics
/// When the scenario does, or the cluster does not come up.
pub fn simulate<T: Send>(
    seed: u64,
    nodes: u64,
    component: &Bytes,
    scenario: impl AsyncFnOnce(&mut Simulated) -> T + Send,
) -> (T, Trace) {
    on_guest_thread(|| {
        let engine = engine();
        simulate_traced(seed, async |runtime| {
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

    /// Who leads the community, in the eyes of the nodes that are up.
    pub async fn leader(&self) -> Option<u64> {
        for (id, running) in &self.nodes {
            let replica = running.node.local_replica(COMMUNITY).await.ok()?;
            if replica.role == Role::Leader {
                return Some(id.0);
            }
        }
        None
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

    /// Waits until every node has executed as much as the furthest, and gives what each stands at.
    ///
    /// # Panics
    /// When they do not get there within a minute of virtual time.
    pub async fn converged(&self) -> Vec<(Sequence, Hash)> {
        let began = self.runtime.monotonic();
        loop {
            let mut reached = Vec::new();
            for running in self.nodes.values() {
                if let Ok(replica) = running.node.local_replica(COMMUNITY).await {
                    assert_eq!(replica.fault, None, "no replica has a fault");
                    reached.push((replica.sequence, replica.digest));
                }
            }
            let is_complete = reached.len() == self.nodes.len();
            if is_complete && reached.windows(2).all(|pair| pair[0].0 == pair[1].0) {
                return reached;
            }
            let late = self.runtime.monotonic() - began > Duration::from_secs(60);
            assert!(!late, "the replicas did not converge: {reached:?}");
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(&mut self) {
        for running in self.nodes.values() {
            running.node.shutdown().await;
        }
    }
}

/// A client of the community: one session, one operation at a time, as a patient client would.
pub struct Client {
    runtime: Runtime,
    session: SessionId,
    number: u64,
}

impl Client {
    /// Opens a session through any node that lets it.
    pub async fn open(runtime: &Runtime, through: &Node, name: &str) -> Result<Self, Refusal> {
        let actor = Actor { id: name.to_owned(), roles: Vec::new() };
        let opened = through.open_session(COMMUNITY, actor).await?;
        Ok(Self { runtime: runtime.clone(), session: SessionId(opened.receipt.sequence.0), number: 0 })
    }

    /// The next operation, to be submitted until it has an answer.
    pub fn next(&mut self, name: &str, payload: Bytes) -> Operation {
        self.number += 1;
        Operation {
            session: self.session,
            number: OperationNumber(self.number),
            acknowledged: OperationNumber(self.number - 1),
            after: OperationNumber(0),
            actor: Actor { id: name.to_owned(), roles: Vec::new() },
            payload,
        }
    }

    /// Submits an operation through one node after the other until it has an answer.
    ///
    /// # Panics
    /// When it is refused for another reason than that nobody leads.
    pub async fn submit(&self, operation: Operation, through: impl Fn() -> Vec<Node>) -> Submitted {
        loop {
            for node in through() {
                let mut outcomes = node
                    .submit(COMMUNITY, vec![operation.clone()])
                    .await
                    .unwrap_or_else(|refusal| vec![Err(refusal)]);
                match outcomes.pop().expect("one outcome for one operation") {
                    Ok(submitted) => return submitted,
                    Err(refusal) => {
                        assert_ne!(refusal.code.retry(), Retry::Never, "{refusal:?}");
                    }
                }
            }
            self.runtime.sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Shares the nodes that are up with clients while the scenario crashes and restarts them.
#[derive(Clone, Default)]
pub struct Doors(Arc<std::sync::Mutex<Vec<Node>>>);

impl Doors {
    /// These nodes are up now.
    pub fn set(&self, cluster: &Simulated) {
        let nodes = cluster.nodes.values().map(|running| running.node.clone()).collect();
        *self.0.lock().expect("nothing panics while it holds the doors") = nodes;
    }

    /// The nodes that are up.
    #[must_use]
    pub fn get(&self) -> Vec<Node> {
        self.0.lock().expect("nothing panics while it holds the doors").clone()
    }
}
