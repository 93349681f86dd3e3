//! Snapshots as somebody who looks after a node meets them: cut, listed, pinned, deleted; and a disk that
//! flips bits in them, which is noticed, mended, or fallen back from.

use althing_client::NewCommunity;
use althing_core::ids::Sequence;
use althing_tests::{
    cluster::{Cluster, Setup},
    command::{Told, althing},
    damage::flip_snapshots,
    load::Load,
    metrics::metric,
    replicas::policy,
    wait::eventually,
};
use serde_json::Value;

const ALL: [u64; 3] = [1, 2, 3];
const GUILD: &str = "guild";

/// Three nodes, and a community that cuts snapshots often.
async fn staged() -> Cluster {
    let cluster = Cluster::start_with(Setup::nodes(3).with("--log-kept", 20)).await;
    let policy = policy(|policy| policy.retention.snapshot_transitions = 50);
    cluster
        .found_with(NewCommunity { name: GUILD.to_owned(), policy, ..NewCommunity::default() }, "counter")
        .await;
    cluster
}

/// Works for a while, until every replica has done it too.
async fn work(cluster: &Cluster, operations: u64) -> Sequence {
    let client = cluster.client().await;
    let load = Load::start(&client, GUILD, 4);
    load.goes_on_for(operations).await;
    let _ = load.finish().await;
    cluster.agreed(GUILD, &ALL, Sequence(operations)).await
}

/// `althing snapshot …`, asked of one node.
async fn snapshot(cluster: &Cluster, node: u64, arguments: &[&str]) -> Told {
    let arguments = [&["--output", "json", "snapshot"], arguments].concat();
    althing(&[cluster.api(node)], &arguments).await
}

/// The snapshots of a node, newest first.
async fn listed(cluster: &Cluster, node: u64) -> Vec<Value> {
    let told = snapshot(cluster, node, &["list", GUILD]).await.done();
    let told: Value = serde_json::from_str(&told).expect("it is JSON");
    assert_eq!(told["node"], node);
    told["snapshots"].as_array().expect("a list").clone()
}

fn sequence(snapshot: &Value) -> u64 {
    snapshot["sequence"].as_u64().expect("a number")
}

/// Has a node cut a snapshot that no other has; where.
async fn created_alone(cluster: &Cluster, node: u64) -> u64 {
    for _ in 0..9 {
        let created = snapshot(cluster, node, &["create", GUILD]).await.done();
        let created = sequence(&serde_json::from_str(&created).expect("it is JSON"));
        let other = 1 + node % 3;
        if !listed(cluster, other).await.iter().any(|snapshot| sequence(snapshot) == created) {
            return created;
        }
        // The policy had them all cut one just here.
        work(cluster, 1).await;
    }
    panic!("the others cut one wherever this node does");
}

/// The community's number.
async fn number(cluster: &Cluster, node: u64) -> u64 {
    cluster.replica(node, GUILD).await.expect("it has a replica").community
}

/// Stops a node, flips a bit in a snapshot or in all, and starts it again.
async fn damage(cluster: &mut Cluster, node: u64, community: u64, at: Option<u64>) {
    assert!(cluster.stop(node).await.success());
    assert!(flip_snapshots(cluster.data(node), community, at) > 0, "there is something to damage");
    cluster.restart(node).await;
}

/// Waits until a node finds all of its snapshots whole.
async fn whole(cluster: &Cluster, node: u64) {
    eventually("every snapshot is whole", async || {
        (snapshot(cluster, node, &["verify", GUILD]).await.code == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_looked_after_and_a_disk_that_flips_bits_is_noticed_and_mended() {
    let mut cluster = staged().await;
    work(&cluster, 130).await;
    let node = cluster.follower(GUILD).await;
    let community = number(&cluster, node).await;

    // One that only this node has, and one that all have.
    let created = created_alone(&cluster, node).await;
    let first = listed(&cluster, node).await.last().map(sequence).expect("there are some");
    assert!(first < created, "the policy has cut some before");
    let text = |sequence: u64| sequence.to_string();
    for (at, note) in [(first, "the first"), (created, "by hand")] {
        let _ = snapshot(&cluster, node, &["pin", GUILD, &text(at), "--note", note]).await.done();
    }
    let shown = listed(&cluster, node).await;
    let newest = shown.first().expect("there are some");
    assert_eq!((sequence(newest), &newest["note"]), (created, &Value::from("by hand")));
    assert!(
        newest["chunks"].as_u64() > Some(0)
            && newest["state_root"].as_str().is_some_and(|root| root.len() == 64)
    );
    snapshot(&cluster, node, &["delete", GUILD, &text(created)])
        .await
        .must_fail(1, &["snapshot-needed", "restart"]);
    snapshot(&cluster, node, &["delete", GUILD, "7"]).await.must_fail(1, &["no-snapshot"]);

    // The newest is damaged while the node is down: it begins with an older one, and cuts it again.
    damage(&mut cluster, node, community, Some(created)).await;
    cluster.agreed(GUILD, &ALL, Sequence(created)).await;
    let log = cluster.log(node);
    assert!(log.contains("a snapshot is damaged") && log.contains("fell back to an older snapshot"), "{log}");
    whole(&cluster, node).await;

    // An old one is damaged: the node finds it by itself, and a peer has what was there.
    damage(&mut cluster, node, community, Some(first)).await;
    eventually("the scrub has mended it", async || {
        let scrub = cluster.status(node).await?.scrub?;
        (scrub.mended == 1 && scrub.damaged == 0).then_some(())
    })
    .await;
    assert_eq!(metric(&cluster.api(node), "althing_scrub_damage_total").await, Some(1.0));
    whole(&cluster, node).await;

    // One that nobody else has and that the state has left behind: it is told of, and may be let go.
    work(&cluster, 100).await;
    damage(&mut cluster, node, community, Some(created)).await;
    snapshot(&cluster, node, &["verify", GUILD, &text(created)]).await.must_fail(1, &["damaged"]);
    let damaged = listed(&cluster, node).await.into_iter().find(|shown| sequence(shown) == created);
    assert_eq!(damaged.expect("it is pinned")["damaged_chunks"], 1);
    eventually("the node says so", async || (cluster.status(node).await?.scrub?.damaged == 1).then_some(()))
        .await;
    snapshot(&cluster, node, &["delete", GUILD, &text(created)])
        .await
        .must_fail(1, &["snapshot-needed", "unpin"]);
    let _ = snapshot(&cluster, node, &["unpin", GUILD, &text(created)]).await.done();
    let _ = snapshot(&cluster, node, &["delete", GUILD, &text(created)]).await.done();
    whole(&cluster, node).await;
    let kept: Vec<u64> = listed(&cluster, node).await.iter().map(sequence).collect();
    assert!(kept.contains(&first) && !kept.contains(&created), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_snapshots_are_all_damaged_comes_back_by_chunks_of_its_peers() {
    let mut cluster = staged().await;
    let end = work(&cluster, 240).await;
    let node = cluster.follower(GUILD).await;
    let community = number(&cluster, node).await;
    damage(&mut cluster, node, community, None).await;
    cluster.agreed(GUILD, &ALL, end).await;
    let log = cluster.log(node);
    assert!(log.contains("the snapshot is whole again, with chunks from peers"), "{log}");
    whole(&cluster, node).await;
    work(&cluster, 20).await;
}
