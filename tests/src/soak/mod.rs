//! Soaking: real processes under mixed load for as long as it takes to see whether anything grows that should not.
//!
//! Writers that stay and clients that come and go, subscribers, queries; and an operator who cuts snapshots, hands
//! leadership over, rebuilds replicas, makes communities and deletes them. What a node holds is measured
//! ([`measure`]); in the second half of the time it must not go up.

pub mod measure;

use crate::{
    cluster::{Cluster, Setup},
    components,
    programs::{add, total},
    replicas::{actor, policy},
    wait::passes,
};
use althing_client::{Client, Consistency, NewCommunity, v1};
use althing_core::ids::{NodeId, Sequence};
use measure::{Measures, Sample};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

const NODES: [u64; 3] = [1, 2, 3];
/// The community that is worked on.
const COMMUNITY: &str = "soaked";
/// Clients that stay, and clients that come and go.
const WRITERS: u64 = 4;
const PASSERS: u64 = 4;
/// Counters, all of them there after a moment: the state does not grow.
const COUNTERS: u64 = 64;
/// How many operations a client that comes and goes submits.
const STAY: u64 = 5;
/// Between two things that the operator does.
const OPERATOR_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at the nodes.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// What was done, and what was measured.
#[derive(Debug)]
pub struct Soaked {
    /// Operations that were answered.
    pub operations: u64,
    /// Visits of clients that came and went.
    pub visits: u64,
    /// What the operator did, successfully.
    pub acts: u64,
    /// What was measured.
    pub measures: Measures,
}

#[derive(Default)]
struct Counts {
    is_over: AtomicBool,
    operations: AtomicU64,
    visits: AtomicU64,
    acts: AtomicU64,
}

/// Soaks a cluster for so long. `say` is told every half a minute how far it is.
///
/// # Panics
/// When a node ends, or replicas do not agree at the end.
pub async fn soak(span: Duration, mut say: impl FnMut(String)) -> Soaked {
    let cluster = Cluster::start_with(Setup::nodes(NODES.len() as u64)).await;
    let bounded = policy(|policy| {
        policy.sessions.ttl_millis = 60_000;
        policy.retention.transitions = 20_000;
        policy.retention.snapshot_transitions = 5_000;
    });
    let community = NewCommunity { name: COMMUNITY.to_owned(), policy: bounded, ..NewCommunity::default() };
    cluster.found_with(community, "counter").await;
    let client = cluster.client().await;
    let counts = Arc::new(Counts::default());
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for number in 0..WRITERS {
        tasks.push(tokio::spawn(write(client.clone(), number, counts.clone())));
    }
    for number in 0..PASSERS {
        tasks.push(tokio::spawn(come_and_go(cluster.addresses(), number, counts.clone())));
    }
    tasks.push(tokio::spawn(operate(client.clone(), counts.clone())));
    let measures = watch(&cluster, span, &counts, &mut say).await;
    counts.is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no client panics");
    }
    cluster.agreed(COMMUNITY, &NODES, Sequence(1)).await;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Soaked {
        operations: count(&counts.operations),
        visits: count(&counts.visits),
        acts: count(&counts.acts),
        measures,
    }
}

async fn watch(cluster: &Cluster, span: Duration, counts: &Counts, say: &mut impl FnMut(String)) -> Measures {
    let began = Instant::now();
    let mut measures = Measures::default();
    let mut said = 0;
    while began.elapsed() < span {
        passes(SAMPLE_EVERY).await;
        for node in NODES {
            let sample = Sample::of(cluster.pid(node), cluster.data(node));
            measures.add(node, began.elapsed(), sample.expect("the node runs"));
        }
        if began.elapsed().as_secs() / 30 > said {
            said = began.elapsed().as_secs() / 30;
            say(format!(
                "{} s: {} operations",
                began.elapsed().as_secs(),
                counts.operations.load(Ordering::Relaxed)
            ));
        }
    }
    measures
}

impl Counts {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }
}

/// A client that stays. A session that has expired is followed by another.
async fn write(client: Client, number: u64, counts: Arc<Counts>) {
    let community = client.community(COMMUNITY);
    let mut rng = SmallRng::seed_from_u64(number);
    while counts.goes_on() {
        let Ok(session) = community.open_session(actor(&format!("writer {number}"))).await else { continue };
        while counts.goes_on() {
            let counter = format!("counter-{}", rng.random_range(0..COUNTERS));
            if session.submit(add(&counter, 1)).await.is_err() {
                break;
            }
            counts.operations.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A client that connects, does a little of everything, and leaves.
async fn come_and_go(addresses: Vec<String>, number: u64, counts: Arc<Counts>) {
    let mut rng = SmallRng::seed_from_u64(1000 + number);
    while counts.goes_on() {
        if visit(&addresses, &mut rng).await.is_some() {
            counts.visits.fetch_add(1, Ordering::Relaxed);
        }
        passes(Duration::from_millis(rng.random_range(10..200))).await;
    }
}

async fn visit(addresses: &[String], rng: &mut SmallRng) -> Option<()> {
    let client = Client::connect(addresses.to_vec()).await.ok()?;
    let community = client.community(COMMUNITY);
    let newest = community.newest().await.ok()?;
    let mut subscription = community.subscribe(newest).await.ok()?;
    let session = community.open_session(actor("passer")).await.ok()?;
    for _ in 0..rng.random_range(1..=STAY) {
        let counter = format!("counter-{}", rng.random_range(0..COUNTERS));
        session.submit(add(&counter, 1)).await.ok()?;
        community.query(actor("passer"), total(&counter), Consistency::Linearizable).await.ok()?;
    }
    subscription.next().await.ok()?;
    Some(())
}

/// An operator: what fails meanwhile is tried again another time.
async fn operate(client: Client, counts: Arc<Counts>) {
    let mut turn = 0_u64;
    while counts.goes_on() {
        passes(OPERATOR_EVERY).await;
        if act(&client, turn).await.is_some() {
            counts.acts.fetch_add(1, Ordering::Relaxed);
        }
        turn += 1;
    }
}

async fn act(client: &Client, turn: u64) -> Option<()> {
    let admin = client.admin();
    let node = NodeId(turn / 5 % NODES.len() as u64 + 1);
    match turn % 5 {
        0 => drop(admin.create_snapshot(COMMUNITY).await.ok()?),
        1 => admin.transfer_leadership(COMMUNITY, Some(node)).await.ok()?,
        2 => {
            let name = format!("passing-{turn}");
            admin.create(NewCommunity { name: name.clone(), ..NewCommunity::default() }).await.ok()?;
            let session = client.community(name.as_str()).open_session(actor("passer")).await;
            admin.delete(&name).await.ok()?;
            drop(session.ok()?);
        }
        3 => {
            let status: v1::StatusResponse = admin.status().await.ok()?;
            let replica = status.replicas.iter().find(|replica| replica.name == COMMUNITY)?;
            let member = replica.members.iter().find(|member| member.node == node.0)?;
            rebuild(client, node, member.replica).await?;
        }
        _ => drop(admin.upload_component(components::component("recount")).await.ok()?),
    }
    Some(())
}

async fn rebuild(client: &Client, node: NodeId, replica: u64) -> Option<()> {
    let replica = althing_core::ids::ReplicaId(replica);
    client.admin().rebuild_replica(COMMUNITY, node, Some(replica)).await.ok().map(drop)
}
