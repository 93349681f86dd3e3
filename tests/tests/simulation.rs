//! The consensus and node core in a deterministic simulation: real nodes, real component, virtual time.
//!
//! Each seed is another course of cuts, crashes and restarts. What must hold on every one: what was
//! acknowledged happened exactly once, and all replicas have the same digest. A seed that fails is
//! printed and can be run alone: `ALTHING_SIM_SEED=17 cargo test -p althing-tests --test simulation`.

use althing_core::transition::Outcome;
use althing_node::{Answer, Consistency};
use althing_tests::{
    components,
    programs::{add, total},
    simulated::{COMMUNITY, Client, Doors, Simulated, Trace, simulate},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Seeds of the short version.
const SEEDS: std::ops::Range<u64> = 0..6;
/// Clients of each run.
const CLIENTS: usize = 3;
/// Operations of each client.
const OPERATIONS: usize = 40;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    acknowledged: i64,
    faults: u64,
    digest: String,
}

fn seeds() -> Vec<u64> {
    match std::env::var("ALTHING_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("a seed is a number")],
        Err(_) => SEEDS.collect(),
    }
}

fn run(seed: u64) -> (Run, Trace) {
    let component = components::component("counter");
    println!("seed {seed}");
    simulate(seed, 3, &component, async |cluster| troubled(cluster).await)
}

/// Clients add to a counter while nodes are cut off, crash and come back.
async fn troubled(cluster: &mut Simulated) -> Run {
    let doors = Doors::default();
    doors.set(cluster);
    let acknowledged = Arc::new(AtomicI64::new(0));
    let finished = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for number in 0..CLIENTS {
        let (runtime, doors) = (cluster.runtime.clone(), doors.clone());
        let (acknowledged, finished) = (acknowledged.clone(), finished.clone());
        let client = async move {
            let name = format!("client-{number}");
            let mut client = loop {
                let door = doors.get().remove(0);
                match Client::open(&runtime, &door, &name).await {
                    Ok(client) => break client,
                    Err(_) => runtime.sleep(Duration::from_millis(50)).await,
                }
            };
            for amount in 1..=OPERATIONS as i64 {
                let operation = client.next(&name, add("all", amount));
                let submitted = client.submit(operation, || doors.get()).await;
                assert!(matches!(submitted.receipt.outcome, Outcome::Accepted { .. }));
                acknowledged.fetch_add(amount, Ordering::SeqCst);
                runtime.sleep(Duration::from_millis(runtime.random() % 100)).await;
            }
            finished.fetch_add(1, Ordering::SeqCst);
        };
        tasks.push(cluster.runtime.spawn("client", client));
    }
    let mut faults = 0;
    while finished.load(Ordering::SeqCst) < CLIENTS as u64 {
        cluster.runtime.sleep(Duration::from_millis(300 + cluster.runtime.random() % 700)).await;
        faults += trouble(cluster, &doors).await;
    }
    cluster.mend().await;
    doors.set(cluster);
    for task in tasks {
        task.ended.await;
    }
    let reached = cluster.converged().await;
    assert!(reached.windows(2).all(|pair| pair[0] == pair[1]), "equal sequence, equal digest: {reached:?}");
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    assert_eq!(acknowledged, read_total(cluster).await, "what was acknowledged happened exactly once");
    Run { acknowledged, faults, digest: reached[0].1.to_string() }
}

/// One thing goes wrong, or is mended. Never so much that no quorum could come back.
async fn trouble(cluster: &mut Simulated, doors: &Doors) -> u64 {
    let victim = 1 + cluster.runtime.random() % 3;
    let happened = match cluster.runtime.random() % 5 {
        0 => {
            cluster.network.isolate(althing_core::ids::NodeId(victim));
            1
        }
        1 => {
            let leader = cluster.leader().await.unwrap_or(victim);
            cluster.network.isolate(althing_core::ids::NodeId(leader));
            1
        }
        2 if cluster.up_nodes().len() == 3 => {
            cluster.crash(victim).await;
            1
        }
        3 => {
            let other = 1 + victim % 3;
            cluster.network.cut(althing_core::ids::NodeId(victim), althing_core::ids::NodeId(other));
            1
        }
        _ => {
            cluster.mend().await;
            0
        }
    };
    doors.set(cluster);
    happened
}

async fn read_total(cluster: &Simulated) -> i64 {
    let node = cluster.node(1);
    let answer = node
        .query(COMMUNITY, Default::default(), total("all"), Consistency::Linearizable)
        .await
        .expect("a healthy cluster answers");
    match answer.answer {
        Answer::Given(answer) => serde_json::from_slice(&answer).expect("a total is a number"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn whatever_goes_wrong_what_was_acknowledged_happened_exactly_once_on_every_replica() {
    let mut faults = 0;
    for seed in seeds() {
        let (run, _) = run(seed);
        let expected = (CLIENTS * OPERATIONS * (OPERATIONS + 1) / 2) as i64;
        assert_eq!(run.acknowledged, expected, "seed {seed}");
        faults += run.faults;
    }
    assert!(faults > 0, "a simulation without faults shows nothing");
}

#[test]
fn a_seed_takes_the_same_course_every_time() {
    let seed = seeds()[0];
    let (first, first_trace) = run(seed);
    let (second, second_trace) = run(seed);
    assert_eq!(first, second);
    assert_eq!(first_trace, second_trace);
    let (other, other_trace) = run(seed + 1);
    assert_ne!((first, first_trace), (other, other_trace), "another seed takes another course");
}
