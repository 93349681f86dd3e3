//! Chaos: real processes under load, with everything done to them that happens to real machines.
//!
//! In rounds. A round is a cluster of its own, clients at work, and a row of [`harm()`]s, drawn by the round's seed, after
//! each of which the clients must have answers again, and whoever asks a node must be told what is so
//! ([`Readers`]). At its end the account is settled
//! ([`load::settle`]): what was answered happened once, where the answer says; and all replicas agree.

pub mod harm;
mod wires;

use crate::{
    cluster::{Cluster, Setup},
    disk::Disk,
    follower::Follower,
    load::{self, Load},
    network::Network,
    nth::Stage,
    readers::Readers,
    wait::eventually,
};
use althing_core::ids::Sequence;
use harm::{Came, Harm, harm};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Nodes of a round.
const NODES: [u64; 3] = [1, 2, 3];
/// Clients of a round.
const WORKERS: usize = 6;
/// How many answers there must be after each harm.
const ANSWERS: u64 = 60;
/// How large the disk of a node is, in MiB.
const DISK_MIB: u64 = 256;
/// What a node keeps free of it, in MiB.
const RESERVE_MIB: u64 = 32;
/// How long a client waits for an answer before it gives up.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);
/// How long a reader asks a node again.
const READER_PATIENCE: Duration = Duration::from_secs(2);
/// The community.
const COMMUNITY: &str = "shaken";

/// What rounds are made with on this machine.
pub struct Means {
    stage: Stage,
    /// Why nodes have no disks of their own, if they do not.
    pub disks: Result<(), String>,
    /// Why nodes are not in a network of their own, if they are not.
    pub network: Result<(), String>,
}

impl Means {
    /// Looks what there is, for nodes of that binary.
    ///
    /// # Errors
    /// Without this there are no rounds.
    pub fn find(node: &Path) -> Result<Self, String> {
        Ok(Self { stage: Stage::set(node)?, disks: Disk::works(), network: Network::works() })
    }

    /// Whether this can be done here.
    #[must_use]
    pub fn allow(&self, harm: Harm) -> bool {
        (self.disks.is_ok() || !harm.needs_disks()) && (self.network.is_ok() || !harm.needs_network())
    }

    /// A cluster as it can be had here.
    fn setup(&self) -> Setup {
        let mut setup = Setup::nodes(NODES.len() as u64);
        if self.disks.is_ok() {
            setup = setup.on_disks(DISK_MIB).with("--reserve-mib", RESERVE_MIB);
        }
        match self.network {
            Ok(()) => setup.in_namespaces(),
            Err(_) => NODES.into_iter().fold(setup, Setup::proxied),
        }
    }
}

/// What a round came to.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// How often what came of what.
    pub came: BTreeMap<Harm, [u64; 3]>,
    /// Operations that clients sent.
    pub sent: usize,
    /// Linearizable queries that were answered.
    pub read: u64,
    /// Transitions at the end.
    pub transitions: u64,
}

/// What a seed draws for a round: so many harms, of these.
///
/// # Panics
/// When there are none of these.
#[must_use]
pub fn plan(seed: u64, harms: usize, of: &[Harm]) -> Vec<Harm> {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..harms).map(|_| of[rng.random_range(0..of.len())]).collect()
}

/// One round with these harms; the seed draws whom they befall, and how.
///
/// # Panics
/// When something is not as it must be.
pub async fn round(seed: u64, plan: &[Harm], means: &Means) -> Round {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut cluster = Cluster::start_with(means.setup()).await;
    cluster.found(COMMUNITY, "counter").await;
    let client = cluster.patient_client(CLIENT_PATIENCE).await;
    let load = Load::start(&client, COMMUNITY, WORKERS);
    let readers = Readers::start(cluster.clients_of_each(READER_PATIENCE).await, &load);
    load.goes_on_for(ANSWERS).await;
    let mut round = Round::default();
    for (number, &what) in plan.iter().enumerate() {
        eprintln!("   round {seed}, {}/{}: {what}", number + 1, plan.len());
        let came = harm(&mut cluster, &means.stage, what, &mut rng).await;
        round.came.entry(what).or_default()[came as usize] += 1;
        if came == Came::Refused {
            eprintln!("   it refused to start on that");
        }
        load.goes_on_for(ANSWERS).await;
        readers.go_on().await;
    }
    round.read = readers.finish().await;
    let sent = load.finish().await;
    all_run(&cluster).await;
    let end = cluster.agreed(COMMUNITY, &NODES, Sequence(1)).await;
    let follower = Follower::start(client.community(COMMUNITY), Sequence(1)).await;
    let history = follower.up_to(end).await;
    let _ = load::settle(&history, &sent);
    round.sent = sent.len();
    round.transitions = end.0;
    round
}

/// Waits until every replica runs. One whose log was damaged is replaced by its node when a quorum is there again, which
/// may be after the last harm; one that differs stays stopped.
async fn all_run(cluster: &Cluster) {
    for id in NODES {
        eventually(&format!("the replica on node {id} runs"), async || {
            cluster.replica(id, COMMUNITY).await?.fault.is_empty().then_some(())
        })
        .await;
    }
}
