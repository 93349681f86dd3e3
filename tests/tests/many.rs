//! Larger clusters and many communities.

use althing_client::{Answer, Consistency, Installation, NewCommunity};
use althing_core::ids::{Hash, Sequence};
use althing_tests::{
    cluster::Cluster,
    components::component,
    follower::Follower,
    load::{self, Load},
    metrics::metric,
    programs::{add, total},
    replicas::{actor, nodes},
};
use futures::{StreamExt as _, stream};

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_serve_communities_of_three_from_any_node_with_two_nodes_gone() {
    let mut cluster = Cluster::start(5).await;
    for (name, on) in [("first", [1, 2, 3]), ("second", [3, 4, 5])] {
        let community = NewCommunity { name: name.to_owned(), nodes: nodes(&on), ..NewCommunity::default() };
        cluster.found_with(community, "counter").await;
    }
    // Nodes 4 and 5 have nothing of `first`, nodes 1 and 2 nothing of `second`.
    let (far, near) = (cluster.client_of(5).await, cluster.client_of(1).await);
    let follower = Follower::start(far.community("first"), Sequence(1)).await;
    let loads = [Load::start(&far, "first", 2), Load::start(&near, "second", 2)];
    for load in &loads {
        load.goes_on_for(50).await;
    }
    // One member of each goes, and neither of the nodes that clients talk to.
    cluster.kill(2);
    cluster.kill(4);
    for load in &loads {
        load.goes_on_for(50).await;
    }
    let [first, second] = loads;
    let (first, second) = (first.finish().await, second.finish().await);
    let end = cluster.agreed("first", &[1, 3], Sequence(100)).await;
    let totals = load::settle(&follower.up_to(end).await, &first);
    for (name, should) in totals {
        for consistency in [Consistency::Linearizable, Consistency::AtLeast(end)] {
            let community = far.community("first");
            let queried = community.query(actor("x"), total(&name), consistency).await.unwrap();
            assert_eq!(queried.answer, Answer::Answered(should.to_string().into()), "{consistency:?}");
        }
    }
    cluster.agreed("second", &[3, 5], Sequence(100)).await;
    let _ = load::settle(&cluster.history(5, "second").await, &second);
    cluster.restart(2).await;
    cluster.restart(4).await;
    cluster.agreed("first", &[1, 2, 3], end).await;
}

/// How many communities there are.
const COMMUNITIES: u64 = 50;
/// What each of them is given to do.
const OPERATIONS: i64 = 20;
/// Connections of one node to another: control, log, bulk.
const LANES: f64 = 3.0;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_communities_share_connections_and_fsyncs() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let told = client.admin().upload_component(component("counter")).await.unwrap();
    let reducer = Hash(told.hash.as_ref().try_into().unwrap());
    let names = || stream::iter((1..=COMMUNITIES).map(|number| format!("community-{number}")));
    names()
        .map(async |name| {
            let timing = "wan".to_owned();
            let community = NewCommunity { name: name.clone(), timing, ..NewCommunity::default() };
            client.admin().create(community).await.unwrap();
            let program = Installation { actor: actor("founder"), reducer, ..Installation::default() };
            client.admin().activate(&name, program).await.unwrap();
        })
        .buffer_unordered(10)
        .collect::<()>()
        .await;

    let before = Figures::of(&cluster).await;
    names()
        .map(async |name| {
            let session = client.community(&name).open_session(actor("ada")).await.unwrap();
            for amount in 1..=OPERATIONS {
                session.submit(add("a", amount)).await.unwrap();
            }
        })
        .buffer_unordered(COMMUNITIES as usize)
        .collect::<()>()
        .await;
    let after = Figures::of(&cluster).await;

    let entries = after.entries - before.entries;
    let fsyncs = after.fsyncs - before.fsyncs;
    println!(
        "{COMMUNITIES} communities on 3 nodes: {} peer connections accepted; {entries} log entries with {fsyncs} fsyncs",
        after.connections
    );
    // At least the operations of each community, on each node.
    assert!(entries >= (COMMUNITIES * 3) as f64, "{entries} entries");
    assert!(fsyncs < entries / 2.0, "{fsyncs} fsyncs for {entries} entries: communities do not share them");
    // Every node accepts from two others; joining takes a connection of its own, and one may have
    // been made twice while the cluster was put together.
    let bound = 3.0 * 2.0 * LANES * 2.0;
    assert!(after.connections <= bound, "{} connections, {bound} would be many", after.connections);
    for name in ["community-1", "community-25", "community-50"] {
        cluster.agreed(name, &[1, 2, 3], Sequence(OPERATIONS as u64)).await;
    }
}

/// Sums over all nodes.
#[derive(Debug, Default)]
struct Figures {
    connections: f64,
    entries: f64,
    fsyncs: f64,
}

impl Figures {
    async fn of(cluster: &Cluster) -> Self {
        let mut figures = Self::default();
        for node in cluster.running() {
            let read = async |name| metric(&cluster.api(node), name).await.expect("there is such a metric");
            figures.connections += read("althing_peer_connections_total").await;
            figures.entries += read("althing_wal_entries_total").await;
            figures.fsyncs += read("althing_wal_fsyncs_total").await;
        }
        figures
    }
}
