//! A disk that flips a bit where SQLite would forget without a word, or where nobody else has a copy: it is said,
//! and mended, and the node goes on as who it was.

use althing_client::{NewCommunity, v1};
use althing_core::ids::Sequence;
use althing_tests::{
    cluster::{Cluster, Setup},
    damage::{FIRST_FRAME, flip},
    load::Load,
    replicas::policy,
    wait::eventually,
};
use std::fs;

const ALL: [u64; 3] = [1, 2, 3];
const GUILD: &str = "guild";

/// Waits until a node has said something since it began for the last time.
async fn says(cluster: &Cluster, node: u64, said: &str) {
    eventually(&format!("node {node} says {said:?}"), async || {
        cluster.log(node).contains(said).then_some(())
    })
    .await;
}

/// Waits until a node votes in both of its communities.
async fn votes(cluster: &Cluster, node: u64) {
    eventually(&format!("node {node} votes"), async || {
        let replicas = cluster.status(node).await?.replicas;
        let votes = replicas.iter().all(|replica| {
            let is_it = |member: &v1::ReplicaInfo| member.node == node && member.replica == replica.replica;
            replica.role != "stopped" && replica.members.iter().any(|member| is_it(member) && member.voter)
        });
        (votes && replicas.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_forgets_what_only_it_knows_or_what_others_know_too_says_so_and_goes_on() {
    let mut cluster = Cluster::start_with(Setup::nodes(3).with("--log-kept", 20)).await;
    let policy = policy(|policy| policy.retention.snapshot_transitions = 50);
    cluster
        .found_with(NewCommunity { name: GUILD.to_owned(), policy, ..NewCommunity::default() }, "counter")
        .await;
    let client = cluster.client().await;
    let load = Load::start(&client, GUILD, 4);
    load.goes_on_for(200).await;

    // SQLite takes the archive's last changes, or all of it, for not written; the log reaches back no further than
    // the snapshots did, so a fresh replica is to take the place of the one that was here.
    for victim in [2, 3] {
        cluster.kill(victim);
        flip(&cluster.data(victim).join("archive.db-wal"), FIRST_FRAME);
        cluster.restart(victim).await;
        says(&cluster, victim, "it has lost the last of its changes").await;
        votes(&cluster, victim).await;
        load.goes_on_for(100).await;
    }

    for (file, at) in [("facts", 20), ("facts.copy", 60)] {
        cluster.kill(1);
        let path = cluster.data(1).join(file);
        let sound = fs::read(&path).expect("every node has it");
        flip(&path, at);
        cluster.restart(1).await;
        says(&cluster, 1, &format!("{file}: it is not what was written; it is written anew from its copy"))
            .await;
        let mended =
            ["facts", "facts.copy"].map(|file| fs::read(cluster.data(1).join(file)).expect("it is there"));
        assert!(mended[0] == mended[1] && mended[0].len() == sound.len(), "both are whole again");
        load.goes_on_for(50).await;
    }
    cluster.kill(1);
    // Both of its slots.
    for slot in [0, 4096] {
        flip(&cluster.data(1).join("archive.mark"), slot + 20);
    }
    cluster.restart(1).await;
    says(&cluster, 1, "archive.mark: it is not what was written").await;

    let sent = load.finish().await;
    assert!(sent.len() > 400);
    cluster.agreed(GUILD, &ALL, Sequence(400)).await;

    // Without either there is nobody to be.
    assert!(cluster.stop(1).await.success());
    for file in ["facts", "facts.copy"] {
        flip(&cluster.data(1).join(file), 30);
    }
    cluster.begin(1);
    assert_eq!(cluster.ends(1).await.code(), Some(1));
    let log = cluster.log(1);
    assert!(log.contains("facts is damaged") && log.contains("move the data directory away"), "{log}");
}
