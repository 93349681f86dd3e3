//! Random faults from many seeds, and one check: nobody ever disagrees, and nothing that was
//! acknowledged is lost or executed twice.
//!
//! `ALTHING_SEEDS=100..200` runs other seeds than the few that run always.

use crate::support::{Cluster, FIRST};
use althing_consensus::{
    memory::Link,
    port::ProposeError,
    runtime::{Runtime, simulate, simulate_traced},
};
use althing_core::ids::NodeId;
use std::{cell::RefCell, collections::BTreeSet, ops::Range, time::Duration};

/// What became of the proposals of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Account {
    acknowledged: Vec<String>,
    refused: BTreeSet<String>,
    unknown: usize,
    faults: u32,
}

#[test]
fn the_same_seed_takes_the_same_course() {
    let run = |seed| simulate_traced(seed, |runtime| scenario(runtime, seed, 60));
    let (first, trace) = run(77);
    let (again, retrace) = run(77);
    assert_eq!(first, again);
    assert_eq!(trace, retrace);
    assert_ne!(run(78).1.hash, trace.hash);
}

#[test]
fn whatever_goes_wrong_all_replicas_execute_the_same() {
    let (mut acknowledged, mut faults) = (0, 0);
    for seed in seeds() {
        let account = simulate(seed, |runtime| scenario(runtime, seed, 120));
        acknowledged += account.acknowledged.len();
        faults += account.faults;
    }
    println!("{acknowledged} proposals acknowledged, {faults} faults");
    // A run that checked nothing is a failure.
    assert!(acknowledged > 500, "only {acknowledged} proposals were acknowledged");
    assert!(faults > 80, "only {faults} faults");
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("ALTHING_SEEDS") else { return 0..12 };
    let (from, to) = text.split_once("..").expect("seeds are given as FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

async fn scenario(runtime: Runtime, seed: u64, proposals: u32) -> Account {
    let mut cluster = Cluster::of(if seed.is_multiple_of(3) { 5 } else { 3 }, &runtime).await;
    let everyone: Vec<_> = cluster.nodes.keys().copied().collect();
    let lossy = Link { loss_permille: 10, twice_permille: 20, ..Link::default() };
    cluster.network.set_default_link(lossy);
    cluster.leader(FIRST).await;
    let mut account = Account::default();
    for number in 0..proposals {
        if runtime.random().is_multiple_of(8) {
            account.faults += 1;
            go_wrong(&mut cluster, &everyone).await;
        }
        let node = cluster.leader_now(FIRST).unwrap_or(everyone[0]);
        if cluster.nodes[&node].consensus.group(FIRST).is_none() {
            runtime.sleep(Duration::from_millis(200)).await;
            continue;
        }
        let payload = format!("{seed}/{number}");
        match cluster.propose_at(FIRST, node, payload.clone()).await {
            Ok(_) => account.acknowledged.push(payload),
            Err(ProposeError::Unknown) => account.unknown += 1,
            Err(ProposeError::NotLeader { .. } | ProposeError::Stopped { .. }) => {
                account.refused.insert(payload);
                runtime.sleep(Duration::from_millis(100)).await;
            }
        }
    }
    cluster.network.heal();
    cluster.network.set_default_link(Link::default());
    for node in &everyone {
        if cluster.nodes[node].consensus.group(FIRST).is_none() {
            cluster.restart(*node).await;
        }
    }
    cluster.propose(FIRST, "the end").await;
    check(&cluster.agree(FIRST, &everyone).await, &account, seed);
    account
}

/// One more thing goes wrong, or all cuts heal and everybody who is down comes back.
async fn go_wrong(cluster: &mut Cluster, everyone: &[NodeId]) {
    let pick = || everyone[usize::try_from(cluster.runtime.random()).unwrap() % everyone.len()];
    let (one, other) = (pick(), pick());
    let down = everyone.iter().filter(|node| cluster.nodes[node].consensus.group(FIRST).is_none()).count();
    match cluster.runtime.random() % 7 {
        0 => cluster.network.cut(one, other),
        1 => cluster.network.isolate(one),
        2 => cluster.network.partition(&[&[one, other]]),
        3 if down < everyone.len() / 2 && cluster.nodes[&one].consensus.group(FIRST).is_some() => {
            cluster.crash(one).await;
        }
        4 => {
            if let Some(leader) = cluster.leader_now(FIRST) {
                cluster.group(FIRST, leader).snapshot().await.ok();
            }
        }
        5 => {
            if let Some(leader) = cluster.leader_now(FIRST) {
                let patience = Duration::from_secs(1);
                cluster.group(FIRST, leader).transfer_leadership(None, patience).await;
            }
        }
        _ => {
            cluster.network.heal();
            for node in everyone {
                if cluster.nodes[node].consensus.group(FIRST).is_none() {
                    cluster.restart(*node).await;
                }
            }
        }
    }
}

fn check(book: &[bytes::Bytes], account: &Account, seed: u64) {
    let seen = RefCell::new(BTreeSet::new());
    for payload in book {
        assert!(seen.borrow_mut().insert(payload.clone()) || payload == "the end", "seed {seed}: twice");
    }
    let seen = seen.into_inner();
    for payload in &account.acknowledged {
        assert!(seen.contains(payload.as_bytes()), "seed {seed}: {payload} was acknowledged and is lost");
    }
    for payload in &account.refused {
        assert!(!seen.contains(payload.as_bytes()), "seed {seed}: {payload} was refused and took effect");
    }
}
