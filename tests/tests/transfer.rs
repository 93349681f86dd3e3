//! A new node gets a state of some size from nodes on slow links: killed twice half-way, and then the
//! node that sends is killed. It goes on where it stopped, and comes to the same digest.
//!
//! `ALTHING_TRANSFER_MIB=500 cargo test --release -p althing-tests --test transfer -- --nocapture` does it
//! with 500 MiB, and prints how long what took.

use althing_client::{NewCommunity, v1::TransferStatus};
use althing_core::ids::Sequence;
use althing_tests::{
    cluster::{Cluster, Setup},
    command::althing,
    metrics::metric,
    programs::payload,
    replicas::{actor, nodes, policy},
    wait::within,
};
use serde_json::json;
use std::time::{Duration, Instant};

const GUILD: &str = "guild";
/// The node that is new to the community.
const NEW: u64 = 4;
/// Those that have it.
const OLD: [u64; 3] = [1, 2, 3];
/// What one operation brings, in bytes.
const LETTER: usize = 48 << 10;
/// How long a state of any size may take to be written, or to come.
const PATIENCE: Duration = Duration::from_secs(600);

/// How much state, in bytes: some seconds' worth, or what the environment says.
fn size() -> u64 {
    let asked = std::env::var("ALTHING_TRANSFER_MIB").ok();
    let mib = asked.map_or(24, |mib| mib.parse().expect("ALTHING_TRANSFER_MIB is a number"));
    mib << 20
}

/// A community that keeps nothing but its state.
fn founding() -> NewCommunity {
    let policy = policy(|policy| {
        policy.retention.snapshot_wal_bytes = 64 << 20;
        policy.retention.snapshots = 1;
        policy.retention.transitions = 1;
    });
    NewCommunity { name: GUILD.to_owned(), nodes: nodes(&OLD), policy, ..NewCommunity::default() }
}

/// Fills the state with letters, all different.
async fn write(cluster: &Cluster, bytes: u64) -> Sequence {
    let community = cluster.client().await.community(GUILD);
    let session = community.open_session(actor("writer")).await.expect("a session can be opened");
    let letters = (0..bytes / LETTER as u64).map(|number| {
        let text: String = format!("{number:08} ").chars().cycle().take(LETTER).collect();
        payload(&json!({ "op": "found", "team": format!("archive-{number:08}"), "kind": text }))
    });
    let mut pipeline = session.pipeline(futures::stream::iter(letters), 16);
    let mut last = Sequence(0);
    while let Some(answered) = pipeline.next().await {
        let answered = answered.expect("the pipeline goes on");
        last = answered.answer.expect("nothing is refused").receipt.sequence;
    }
    last
}

/// Waits until so many quarters of the snapshot are on the new node.
async fn comes(cluster: &Cluster, quarters: u64) -> TransferStatus {
    within(PATIENCE, &format!("{quarters} quarters have come"), async || {
        let transfer = cluster.replica(NEW, GUILD).await?.transfer?;
        (transfer.bytes_here * 4 >= transfer.bytes * quarters).then_some(transfer)
    })
    .await
}

/// A number in a line of the log.
fn field(line: &str, name: &str) -> u64 {
    let field = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    field.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line:?}"))
}

/// What was there already whenever the community's snapshot began to come: chunks and bytes.
fn beginnings(log: &str, community: u64) -> Vec<(u64, u64)> {
    let of_it = format!("receive{{community={community} ");
    let lines =
        log.lines().filter(|line| line.contains(&of_it) && line.contains("a snapshot begins to come"));
    lines.map(|line| (field(line, "chunks_here"), field(line, "bytes_here"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_that_is_killed_twice_and_loses_its_sender_gets_the_state_and_no_chunk_twice() {
    let setup = Setup::nodes(4).with("--log-kept", 20).proxied(1).proxied(2).proxied(3);
    let mut cluster = Cluster::start_with(setup).await;
    cluster.found_with(founding(), "roster").await;
    let began = Instant::now();
    let written = write(&cluster, size()).await;
    println!("written in {:?}", began.elapsed());
    cluster.agreed(GUILD, &OLD, written).await;
    // All three have the same snapshot, and nothing is in the log but its end.
    for node in OLD {
        cluster.client_of(node).await.admin().create_snapshot(GUILD).await.unwrap();
    }
    let id = cluster.replica(1, GUILD).await.unwrap().community;
    let state = cluster.replica(1, GUILD).await.unwrap().state_bytes;
    let pace = state / 24;
    OLD.iter().for_each(|&node| cluster.proxy(node).slow(pace));

    // Twice it is killed half-way.
    cluster.client().await.admin().add_replica(GUILD, nodes(&[NEW])[0]).await.unwrap();
    let mut seen = vec![comes(&cluster, 1).await];
    let status = althing(&[cluster.api(NEW)], &["status"]).await.done();
    assert!(status.contains("guild RECEIVES the snapshot at "), "{status}");
    assert!(metric(&cluster.api(NEW), "althing_replica_transfer_here_bytes").await.unwrap() > 0.0);
    cluster.kill(NEW);
    cluster.restart(NEW).await;
    seen.push(comes(&cluster, 2).await);
    cluster.kill(NEW);
    cluster.restart(NEW).await;

    // Then it is the node that sends; another leads and offers its own.
    seen.push(comes(&cluster, 3).await);
    let sender = seen[2].from;
    cluster.kill(sender);
    let rest: Vec<u64> = OLD.into_iter().filter(|&node| node != sender).chain([NEW]).collect();
    within(PATIENCE, "the state is there", async || {
        let replica = cluster.replica(NEW, GUILD).await?;
        (replica.sequence >= written.0).then_some(())
    })
    .await;
    cluster.agreed(GUILD, &rest, written).await;

    let begun = beginnings(&cluster.log(NEW), id);
    println!("killed at {seen:?}, began with {begun:?}");
    assert!(begun.len() >= 3, "it began {} times", begun.len());
    assert_eq!(begun[0], (0, 0));
    for (seen, begun) in seen.iter().zip(&begun[1..]) {
        assert!(begun.1 >= seen.bytes_here, "it had {seen:?} and went on with {begun:?}");
    }
    // What came since the last restart is what was missing then: no chunk came twice.
    let came = metric(&cluster.api(NEW), "althing_transfer_bytes_total").await.unwrap();
    let total = seen[2].bytes;
    assert!(came > 0.0 && came as u64 + begun[2].1 <= total, "{came} bytes came of {total}");

    // Once more under a fresh id, on links as they are.
    OLD.iter().for_each(|&node| cluster.proxy(node).slow(0));
    cluster.restart(sender).await;
    let began = Instant::now();
    cluster.client().await.admin().rebuild_replica(GUILD, nodes(&[NEW])[0], None).await.unwrap();
    cluster.agreed(GUILD, &[1, 2, 3, NEW], written).await;
    println!("{total} bytes rebuilt in {:?}", began.elapsed());
    let log = cluster.log(NEW);
    log.lines().filter(|line| line.contains("a snapshot is here")).for_each(|line| println!("{line}"));
    let last = log.lines().rfind(|line| line.contains("a snapshot is here")).unwrap();
    // Chunks are named by content: those of the replica before serve the fresh one.
    let (_, kept) = *beginnings(&log, id).last().unwrap();
    assert_eq!(field(last, "brought") + kept, total);
    assert!(kept > 0, "what was here already came again");
}
