//! Nodes that are cut off, wholly or in one direction, and clusters that lose their own quorum.

use althing_client::NewCommunity;
use althing_core::ids::Sequence;
use althing_tests::{
    cluster::{Cluster, Setup},
    load::{self, Load},
    metrics::metric,
    programs::add,
    replicas::{actor, nodes},
    wait::throughout,
};
use std::time::Duration;

/// Longer than two of the longest elections of the timing `wan`.
const LONG: Duration = Duration::from_secs(13);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hears_nobody_does_not_disturb_those_that_hear_each_other() {
    let cluster = Cluster::start_with(Setup::nodes(3).proxied(3)).await;
    // Patient, so that a machine that is busy does not hold an election of its own.
    let community =
        NewCommunity { name: "calm".to_owned(), timing: "wan".to_owned(), ..NewCommunity::default() };
    cluster.found_with(community, "counter").await;
    // A founder that comes late stands for election once: until all follow, leadership may move.
    let session = cluster.client().await.community("calm").open_session(actor("early")).await.unwrap();
    let early = session.submit(add("a", 1)).await.unwrap().receipt;
    cluster.agreed("calm", &[1, 2, 3], early.sequence).await;
    let admin = cluster.client().await.admin();
    if cluster.leader("calm").await == 3 {
        admin.transfer_leadership("calm", nodes(&[1]).pop()).await.unwrap();
    }
    let (leader, term) = cluster.leadership("calm").await;
    assert_ne!(leader, 3);
    let session = cluster.client_of(leader).await.community("calm").open_session(actor("ada")).await.unwrap();
    let first = session.submit(add("a", 1)).await.unwrap().receipt;
    cluster.agreed("calm", &[1, 2, 3], first.sequence).await;

    // A follower in peace has nothing to ask; one that stands for election asks everybody.
    let asked = async || metric(&cluster.api(3), "althing_peer_requests_total").await.unwrap_or(0.0);
    let before = asked().await;
    cluster.proxy(3).cut();
    throughout(LONG, async || {
        session.submit(add("a", 1)).await.unwrap();
        assert_eq!(cluster.leadership("calm").await, (leader, term), "somebody was disturbed");
        let cut_off = cluster.replica(3, "calm").await.unwrap();
        assert!(cut_off.sequence <= first.sequence.0, "it hears somebody");
    })
    .await;
    let last = session.submit(add("a", 1)).await.unwrap().receipt;
    assert!(cluster.proxy(3).refused() > 0, "the others tried to reach it");
    let asked = asked().await - before;
    println!("the node that hears nobody asked {asked} times");
    assert!(asked >= 10.0, "it stood for election, in vain: {asked} questions");

    cluster.proxy(3).mend();
    cluster.agreed("calm", &[1, 2, 3], last.sequence).await;
    for node in [1, 2, 3] {
        let replica = cluster.replica(node, "calm").await.unwrap();
        assert_eq!((replica.leader_node, replica.term), (leader, term), "node {node} came back in peace");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_the_system_quorum_stops_no_existing_community() {
    let mut cluster = Cluster::start(4).await;
    let community =
        NewCommunity { name: "stout".to_owned(), nodes: nodes(&[1, 3, 4]), ..NewCommunity::default() };
    cluster.found_with(community, "counter").await;
    let client = cluster.client().await;
    let load = Load::start(&client, "stout", 3);
    load.goes_on_for(30).await;
    // Three of the four nodes vote in the system community; one of them stays.
    cluster.kill(1);
    cluster.kill(2);
    load.goes_on_for(60).await;
    // Even a node that starts meanwhile finds its communities without it.
    cluster.kill(3);
    cluster.restart(3).await;
    load.goes_on_for(60).await;
    // What needs the directory says no, in time.
    let impatient = cluster.patient_client(Duration::from_secs(2)).await;
    let more = NewCommunity { name: "more".to_owned(), ..NewCommunity::default() };
    let error = impatient.admin().create(more).await.unwrap_err();
    assert_eq!(error.code(), Some(althing_core::refusal::Code::NoLeader), "{error}");
    let sent = load.finish().await;
    let end = cluster.agreed("stout", &[3, 4], Sequence(150)).await;
    cluster.restart(1).await;
    cluster.restart(2).await;
    cluster.agreed("stout", &[1, 3, 4], end).await;
    let _ = load::settle(&cluster.history(4, "stout").await, &sent);
}
