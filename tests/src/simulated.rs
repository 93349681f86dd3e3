//! A cluster for a single story in virtual time: the simulator's [`World`], which nothing shakes but the
//! story itself, every choice from one seed.
//!
//! Where [`crate::cluster`] knows nothing of a node's inside, this calls its verbs. It must run on a guest
//! thread ([`althing_engine::thread::on_guest_thread`]).

use crate::sim::{engine, plan::Plan, record::Record, world::World};
use althing_consensus::{
    memory::MemoryNetwork,
    runtime::{Runtime, simulate as in_virtual_time},
};
use althing_core::ids::NodeId;
use althing_engine::thread::on_guest_thread;
use althing_node::Node;
use bytes::Bytes;
use rand::{SeedableRng as _, rngs::SmallRng};

/// Runs a scenario over a cluster of `nodes` whose reducer is `component`, and says what happened.
///
/// # Panics
/// When the scenario does, or the cluster does not come up or does not stop.
pub fn simulate<T: Send>(
    seed: u64,
    nodes: u64,
    component: &Bytes,
    scenario: impl AsyncFnOnce(&mut Simulated) -> T + Send,
) -> T {
    on_guest_thread(|| {
        in_virtual_time(seed, async |runtime| {
            let mut cluster = Simulated::start(seed, runtime, nodes, component).await;
            let outcome = scenario(&mut cluster).await;
            cluster.stop().await;
            outcome
        })
    })
}

/// A simulated cluster with one community, called [`COMMUNITY`].
pub struct Simulated {
    /// Where everything runs.
    pub runtime: Runtime,
    /// What the nodes speak over.
    pub network: MemoryNetwork,
    world: World,
    rng: SmallRng,
}

/// The community of every scenario.
pub const COMMUNITY: &str = "c";

impl Simulated {
    async fn start(seed: u64, runtime: Runtime, nodes: u64, component: &Bytes) -> Self {
        let world = World::start(&Plan::quiet(seed, nodes), runtime.clone(), engine(), component).await;
        world.found(COMMUNITY, (1..=nodes).map(NodeId).collect(), component).await;
        Self { runtime, network: world.network.clone(), world, rng: SmallRng::seed_from_u64(seed) }
    }

    /// A node that is up.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn node(&self, id: u64) -> Node {
        self.world.node(id).unwrap_or_else(|| panic!("node {id} is down"))
    }

    /// The nodes that are up.
    #[must_use]
    pub fn up_nodes(&self) -> Vec<u64> {
        self.world.up_nodes()
    }

    /// A node loses power: what it had not made durable is gone, but for a little that came to the disk all
    /// the same.
    pub async fn crash(&mut self, id: u64) {
        self.world.crash(id, &mut self.rng);
        self.world.bury().await;
    }

    /// A node that crashed comes back with what its disk has kept.
    pub async fn restart(&mut self, id: u64) {
        self.world.restart(id).await;
    }

    /// Mends everything: links, nodes.
    pub async fn mend(&mut self) {
        self.world.heal().await;
    }

    async fn stop(&mut self) {
        let record = Record::new(0);
        self.world.stop(&record).await;
        assert_eq!(record.close().2, Vec::<String>::new(), "every node stops");
    }
}
