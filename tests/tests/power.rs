//! Power lost, and disks that are nearly full. Disks that lose what they had: `lost.rs`.

use althing_client::Consistency;
use althing_core::ids::Sequence;
use althing_tests::{
    cluster::{Cluster, Setup},
    command::althing,
    disk::Disk,
    follower::Follower,
    load::{self, Load},
    programs::{add, total},
    replicas::actor,
    skip::skipped,
    wait::eventually,
};
use std::fs;

const ALL: [u64; 3] = [1, 2, 3];

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_of_all_nodes_under_load_loses_nothing_that_was_told() {
    if skipped("a power cut of all nodes", Disk::works()) {
        return;
    }
    let mut cluster = Cluster::start_with(Setup::nodes(3).on_disks(1024)).await;
    cluster.found("durable", "counter").await;
    let client = cluster.client().await;
    let load = Load::start(&client, "durable", 8);
    for _ in 0..2 {
        load.goes_on_for(200).await;
        cluster.cut_power(&ALL);
        for id in ALL {
            cluster.begin(id);
        }
        for id in ALL {
            cluster.serves(id).await;
        }
    }
    load.goes_on_for(200).await;
    let sent = load.finish().await;
    assert!(sent.len() > 600);

    let end = cluster.agreed("durable", &ALL, Sequence(600)).await;
    let follower = Follower::start(client.community("durable"), Sequence(1)).await;
    let history = follower.up_to(end).await;
    let _ = load::settle(&history, &sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_nearly_full_refuses_operations_until_there_is_room_again() {
    if skipped("a disk nearly full", Disk::works()) {
        return;
    }
    let setup = Setup::nodes(1).on_disks(192).with("--reserve-mib", 64);
    let cluster = Cluster::start_with(setup).await;
    cluster.found("tight", "counter").await;
    let client = cluster.client().await;
    let session = client.community("tight").open_session(actor("ada")).await.unwrap();
    session.submit(add("a", 1)).await.unwrap();

    let ballast = cluster.data(1).parent().unwrap().join("ballast");
    fs::write(&ballast, vec![0xa5; 120 << 20]).unwrap();
    let submit = ["submit", "tight", r#"{"op":"add","name":"b","amount":1}"#, "--patience", "2"];
    eventually("operations are refused", async || {
        let told = althing(&cluster.addresses(), &submit).await;
        told.stderr.contains("kept for what must go on").then_some(())
    })
    .await;
    // What only reads is served.
    let question = total("a");
    let queried = client.community("tight").query(actor("x"), question, Consistency::Linearizable).await;
    assert!(queried.is_ok(), "{queried:?}");

    fs::remove_file(&ballast).unwrap();
    eventually("operations are taken again", async || session.submit(add("a", 1)).await.ok()).await;
}
