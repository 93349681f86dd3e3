//! Chaos: real processes under load, with everything done to them that happens to real machines.
//!
//! In rounds. A round is a cluster of its own, clients at work, and a row of [`harm()`]s, drawn by the round's seed, after
//! each of which the clients must have answers again. At its end the account is settled
//! ([`load::settle`]): what was answered happened once, where the answer says; and all replicas agree.

pub mod harm;

use crate::{
    cluster::{Cluster, Setup},
    disk::Disk,
    follower::Follower,
    load::{self, Load},
    nth::Stage,
};
use althing_core::ids::Sequence;
use harm::{Came, Harm, harm};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{collections::BTreeMap, time::Duration};

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
/// The community.
const COMMUNITY: &str = "shaken";

/// What a round came to.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// How often what came of what.
    pub came: BTreeMap<Harm, [u64; 3]>,
    /// Operations that clients sent.
    pub sent: usize,
    /// Transitions at the end.
    pub transitions: u64,
}

/// One round with so many harms, of those that `allowed` allows.
///
/// # Panics
/// When something is not as it must be.
pub async fn round(seed: u64, harms: usize, stage: &Stage, allowed: &[Harm]) -> Round {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut setup = Setup::nodes(NODES.len() as u64);
    for id in NODES {
        setup = setup.proxied(id);
    }
    if Disk::works().is_ok() {
        setup = setup.on_disks(DISK_MIB).with("--reserve-mib", RESERVE_MIB);
    }
    let mut cluster = Cluster::start_with(setup).await;
    cluster.found(COMMUNITY, "counter").await;
    let client = cluster.patient_client(CLIENT_PATIENCE).await;
    let load = Load::start(&client, COMMUNITY, WORKERS);
    load.goes_on_for(ANSWERS).await;
    let mut round = Round::default();
    for number in 0..harms {
        let what = allowed[rng.random_range(0..allowed.len())];
        eprintln!("   round {seed}, {}/{harms}: {what}", number + 1);
        let came = harm(&mut cluster, stage, what, &mut rng).await;
        round.came.entry(what).or_default()[came as usize] += 1;
        if came == Came::Refused {
            eprintln!("   it refused to start on that");
        }
        load.goes_on_for(ANSWERS).await;
    }
    let sent = load.finish().await;
    let end = cluster.agreed(COMMUNITY, &NODES, Sequence(1)).await;
    let follower = Follower::start(client.community(COMMUNITY), Sequence(1)).await;
    let history = follower.up_to(end).await;
    let _ = load::settle(&history, &sent);
    round.sent = sent.len();
    round.transitions = end.0;
    round
}
