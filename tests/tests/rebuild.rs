//! A replica that is replaced by a fresh one on the same node, while clients go on.

use althing_client::{Client, NewCommunity};
use althing_core::{
    ids::{NodeId, ReplicaId, Sequence},
    refusal::Code,
};
use althing_tests::{
    cluster::{Cluster, Setup},
    command::althing,
    load::{self, Load},
    replicas::{nodes, policy},
    wait::eventually,
};

const ALL: [u64; 3] = [1, 2, 3];

/// A community that cuts snapshots often.
fn frequent(name: &str) -> NewCommunity {
    let policy = policy(|policy| policy.retention.snapshot_transitions = 50);
    NewCommunity { name: name.to_owned(), policy, ..NewCommunity::default() }
}

/// The replica of a community on a node.
async fn life(cluster: &Cluster, node: u64, community: &str) -> ReplicaId {
    eventually(&format!("node {node} tells of {community}"), async || {
        cluster.replica(node, community).await.map(|replica| ReplicaId(replica.replica))
    })
    .await
}

async fn rebuild(client: &Client, community: &str, node: u64) -> ReplicaId {
    let rebuilt = client.admin().rebuild_replica(community, NodeId(node), None).await;
    let rebuilt = rebuilt.unwrap_or_else(|error| panic!("node {node} is not rebuilt: {error:?}"));
    assert!(rebuilt.voter, "it votes, as the one before it did");
    ReplicaId(rebuilt.replica)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_and_then_the_leader_are_rebuilt_while_clients_go_on() {
    let cluster = Cluster::start_with(Setup::nodes(3).with("--log-kept", 20)).await;
    cluster.found_with(frequent("guild"), "counter").await;
    let client = cluster.client().await;
    let load = Load::start(&client, "guild", 4);
    load.goes_on_for(200).await;

    let away = cluster.follower("guild").await;
    let old = life(&cluster, away, "guild").await;
    let fresh = rebuild(&client, "guild", away).await;
    assert!(fresh > old, "another life has another id: {fresh} after {old}");
    assert_eq!(life(&cluster, away, "guild").await, fresh);
    cluster.backfilled(away, "guild").await;
    load.goes_on_for(50).await;

    // Whoever names the one that is gone is told who came after it, and nothing happens.
    let admin = client.admin();
    let again = admin.rebuild_replica("guild", NodeId(away), Some(old)).await.unwrap();
    assert_eq!(ReplicaId(again.replica), fresh);
    let never = admin.rebuild_replica("guild", NodeId(away), Some(ReplicaId(99))).await.unwrap_err();
    assert_eq!(never.code(), Some(Code::NoReplica), "{never}");

    // The leader, by two who ask for the same at the same time.
    let leader = cluster.leader("guild").await;
    let old = life(&cluster, leader, "guild").await;
    let (one, other) =
        futures::future::join(rebuild(&client, "guild", leader), rebuild(&client, "guild", leader)).await;
    assert_eq!(one, other, "both wait for the same one");
    assert!(one > old);
    load.goes_on_for(50).await;

    let sent = load.finish().await;
    let end = cluster.agreed("guild", &ALL, Sequence(300)).await;
    // Every answer is in the history, once, as the one tells it who was there all the time.
    let witness = ALL.into_iter().find(|&node| node != away && node != leader).unwrap();
    let history = cluster.history(witness, "guild").await;
    assert!(history.last().is_some_and(|last| last.sequence >= end));
    let _ = load::settle(&history, &sent);
    let members = cluster.replica(leader, "guild").await.unwrap().members;
    assert!(members.iter().all(|member| member.voter) && members.len() == 3, "{members:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_would_cost_the_quorum_is_refused() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("guild", "counter").await;
    cluster.found_with(NewCommunity { nodes: nodes(&[1]), ..frequent("lonely") }, "counter").await;
    let client = cluster.client().await;
    let admin = client.admin();
    let alone = admin.rebuild_replica("lonely", NodeId(1), None).await.unwrap_err();
    assert_eq!(alone.code(), Some(Code::BadMembers), "{alone}");
    let nobody = admin.rebuild_replica("lonely", NodeId(2), None).await.unwrap_err();
    assert_eq!(nobody.code(), Some(Code::NoReplica), "{nobody}");
    let system = admin.rebuild_replica("system", NodeId(2), None).await.unwrap_err();
    assert_eq!(system.code(), Some(Code::BadRequest), "{system}");

    // With one of three away, neither of the others may be missed.
    let away = cluster.follower("guild").await;
    let old = life(&cluster, away, "guild").await;
    cluster.kill(away);
    let client = cluster.client().await;
    for node in cluster.running() {
        let refused = client.admin().rebuild_replica("guild", NodeId(node), None).await.unwrap_err();
        assert_eq!(refused.code(), Some(Code::BadMembers), "{refused}");
    }
    let load = Load::start(&client, "guild", 2);
    load.goes_on_for(20).await;

    // The one that is away may be rebuilt: it is when it comes back, with what it has missed.
    let asked = client.admin();
    let asking = tokio::spawn(async move { asked.rebuild_replica("guild", NodeId(away), Some(old)).await });
    eventually("the group has let the old one go", async || {
        let leader = cluster.leader("guild").await;
        let members = cluster.replica(leader, "guild").await?.members;
        members.iter().all(|member| member.replica != old.0).then_some(())
    })
    .await;
    load.goes_on_for(20).await;
    cluster.restart(away).await;
    let fresh = asking.await.unwrap().unwrap();
    assert!(ReplicaId(fresh.replica) > old && fresh.voter);
    let _ = load.finish().await;
    cluster.agreed("guild", &ALL, Sequence(40)).await;
    // The same from the command line, which says who is there now.
    let told = althing(&cluster.addresses(), &["member", "rebuild", "guild", &away.to_string()]).await.done();
    assert!(told.contains("is rebuilt"), "{told}");
}
