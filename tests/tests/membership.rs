//! Nodes that leave for good, replicas that move, places that are filled, and replicas that only follow;
//! on real processes, while clients go on.

use althing_client::{Consistency, NewCommunity, v1};
use althing_core::{
    ids::{NodeId, Sequence},
    refusal::Code,
    transition::Transition,
};
use althing_tests::{
    cluster::{Cluster, Setup},
    command::althing,
    follower::Follower,
    load::{self, Load, Sent},
    programs::{add, total},
    replicas::{actor, nodes},
    wait::eventually,
};
use bytes::Bytes;

fn on(name: &str, on: &[u64]) -> NewCommunity {
    NewCommunity { name: name.to_owned(), nodes: nodes(on), ..NewCommunity::default() }
}

/// Waits until a community's members are voters on exactly these nodes, in the eyes of its leader.
async fn votes_on(cluster: &Cluster, community: &str, wanted: &[u64]) {
    eventually(&format!("{community} votes on {wanted:?}"), async || {
        let leader = cluster.leader(community).await;
        let mut members = cluster.replica(leader, community).await?.members;
        members.sort_by_key(|member| member.node);
        let is_it = members.iter().all(|member| member.voter)
            && members.iter().map(|member| member.node).eq(wanted.iter().copied());
        is_it.then_some(())
    })
    .await;
}

/// Every answer is in the history of a replica that was there all the time, once.
async fn settle(cluster: &Cluster, witness: u64, community: &str, sent: &[Sent]) {
    let history: Vec<Transition> = cluster.history(witness, community).await;
    let _ = load::settle(&history, sent);
    assert!(
        sent.iter().all(|sent| matches!(sent.became, load::Became::Answered(_))),
        "a client saw an error"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_removed_and_its_places_are_filled_while_clients_go_on() {
    let mut cluster = Cluster::start(4).await;
    cluster.found_with(on("guild", &[1, 2, 3]), "counter").await;
    cluster.found_with(on("lonely", &[3]), "counter").await;
    let client = cluster.client().await;
    let load = Load::start(&client, "guild", 4);
    load.goes_on_for(50).await;
    let servers = cluster.addresses();

    // One that answers is not gone; and one that is gone cannot be drained.
    let told = althing(&servers, &["node", "remove", "3"]).await;
    told.must_fail(1, &["node 3 answers", "code: bad-members"]);
    cluster.kill(3);
    althing(&servers, &["node", "drain", "3"]).await.must_fail(1, &["does not answer", "code: bad-members"]);

    // What only it had cannot be moved: that is said, and the rest is done all the same.
    let told = althing(&servers, &["node", "remove", "3"]).await;
    told.must_fail(1, &["node 3 has not left", "lonely: nobody leads it"]);
    votes_on(&cluster, "guild", &[1, 2, 4]).await;
    load.goes_on_for(50).await;
    cluster.client().await.admin().delete("lonely").await.unwrap();
    let told = althing(&servers, &["node", "remove", "3"]).await.done();
    assert!(told.contains("node 3 has left the cluster for good"), "{told}");
    let listed = althing(&servers, &["node", "list", "--output", "json"]).await.done();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let ids: Vec<u64> =
        listed.as_array().unwrap().iter().map(|node| node["node"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 4]);

    let sent = load.finish().await;
    cluster.agreed("guild", &[1, 2, 4], Sequence(100)).await;
    settle(&cluster, 1, "guild", &sent).await;

    // Should it come back, it hears that it has left, and never comes back again.
    cluster.begin(3);
    assert!(cluster.ends(3).await.success());
    assert!(cluster.log(3).contains("node 3 has left the cluster for good"));
    cluster.begin(3);
    assert_eq!(cluster.ends(3).await.code(), Some(1));
    assert!(cluster.log(3).contains("which has left its cluster for good: start a new node"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_node_is_drained_and_ends_and_a_node_that_joins_takes_the_vacant_place() {
    let mut cluster = Cluster::start(4).await;
    cluster.found_with(on("guild", &[1, 2, 3]), "counter").await;
    cluster.found_with(on("wide", &[1, 2, 3, 4]), "counter").await;
    cluster.found_with(on("own", &[1]), "counter").await;
    let client = cluster.client().await;
    let load = Load::start(&client, "guild", 4);
    let alone = Load::start(&client, "own", 2);
    // It leads all there is to lead.
    for community in ["guild", "wide", "system"] {
        client.admin().transfer_leadership(community, Some(NodeId(1))).await.unwrap();
    }
    load.goes_on_for(50).await;
    let servers = cluster.addresses();

    let told = althing(&servers, &["node", "drain", "1"]).await;
    told.must_fail(1, &["node 1 has not left", "wide: no other node can take its replica"]);
    votes_on(&cluster, "guild", &[2, 3, 4]).await;
    let told = althing(&servers, &["node", "drain", "1", "--vacate"]).await.done();
    assert!(told.contains("node 1 has left the cluster for good"), "{told}");
    assert!(cluster.ends(1).await.success());
    assert!(
        cluster.log(1).contains("node 1 has left the cluster for good: its data folder is of no more use")
    );
    cluster.begin(1);
    assert_eq!(cluster.ends(1).await.code(), Some(1));

    load.goes_on_for(50).await;
    alone.goes_on_for(20).await;
    votes_on(&cluster, "wide", &[2, 3, 4]).await;
    let shown = althing(&servers, &["community", "show", "wide"]).await.done();
    assert!(shown.contains("1 of 4 places vacant"), "{shown}");

    let fifth = cluster.join().await;
    votes_on(&cluster, "wide", &[2, 3, 4, fifth]).await;
    let sent = load.finish().await;
    cluster.agreed("guild", &[2, 3, 4], Sequence(100)).await;
    settle(&cluster, 2, "guild", &sent).await;
    let sent = alone.finish().await;
    assert!(
        sent.iter().all(|sent| matches!(sent.became, load::Became::Answered(_))),
        "moved without an error"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_community_moves_under_load_and_grows_and_shrinks() {
    let mut cluster = Cluster::start_with(Setup::nodes(4).with("--log-kept", 20)).await;
    let servers = cluster.addresses();
    let _ = althing(&servers, &["community", "create", "guild", "--replicas", "3"]).await.done();
    cluster.install("guild", "counter").await;
    let client = cluster.client().await;
    let admin = client.admin();
    let has = admin.inspect("guild").await.unwrap().community.unwrap();
    assert_eq!((has.replicas.len(), has.voters_wanted), (3, 3));
    let on: Vec<u64> = has.replicas.iter().map(|replica| replica.node).collect();
    let free = (1..=4).find(|node| !on.contains(node)).unwrap();
    let load = Load::start(&client, "guild", 4);
    load.goes_on_for(100).await;

    // The leader's replica, by the command line; asked again, it is where it should be.
    let leader = cluster.leader("guild").await;
    let (from, to) = (leader.to_string(), free.to_string());
    for _ in 0..2 {
        let told = althing(&servers, &["member", "move", "guild", "--from", &from, "--to", &to]).await.done();
        assert!(told.contains(&format!("moved to node {to}")), "{told}");
    }
    let mut now: Vec<u64> = on.iter().copied().filter(|&node| node != leader).chain([free]).collect();
    now.sort_unstable();
    votes_on(&cluster, "guild", &now).await;
    eventually("the old one is forgotten", async || {
        cluster.replica(leader, "guild").await.is_none().then_some(())
    })
    .await;
    load.goes_on_for(50).await;
    let refused = admin.move_replica("guild", NodeId(free), NodeId(now[0])).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::BadMembers), "{refused}");
    let refused = admin.move_replica("guild", NodeId(leader), NodeId(9)).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::NoReplica), "{refused}");

    let told = althing(&servers, &["community", "set-replicas", "guild", "5"]).await;
    told.must_fail(1, &["2 more nodes are needed", "code: bad-members"]);
    admin.set_replicas("guild", 4).await.unwrap();
    votes_on(&cluster, "guild", &[1, 2, 3, 4]).await;
    load.goes_on_for(50).await;
    // Of four, the one that is gone is the first to go.
    let away = cluster.follower("guild").await;
    cluster.kill(away);
    let client = cluster.client().await;
    client.admin().set_replicas("guild", 3).await.unwrap();
    let rest: Vec<u64> = (1..=4).filter(|&node| node != away).collect();
    votes_on(&cluster, "guild", &rest).await;
    load.goes_on_for(20).await;
    let sent = load.finish().await;
    cluster.agreed("guild", &rest, Sequence(100)).await;
    assert!(
        sent.iter().all(|sent| matches!(sent.became, load::Became::Answered(_))),
        "a client saw an error"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_only_follows_serves_readers_also_when_nobody_leads() {
    let mut cluster = Cluster::start(4).await;
    cluster.found_with(on("guild", &[1, 2, 3]), "counter").await;
    let client = cluster.client().await;
    client.admin().add_replica("guild", NodeId(4)).await.unwrap();
    // Until it is hosted there, the node passes questions on.
    let hosted = async || cluster.replica(4, "guild").await;
    assert_eq!(eventually("node 4 hosts its replica", hosted).await.role, "learner");
    let learner = cluster.client_of(4).await.community("guild");

    // What is submitted at its node reaches the leader, and its readers see it.
    let session = learner.open_session(actor("reader")).await.unwrap();
    let told = session.submit(add("a", 7)).await.unwrap().receipt.sequence;
    let seven = async |consistency| {
        let answer = learner.query(actor("reader"), total("a"), consistency).await;
        answer.map(|answer| answer.sequence)
    };
    assert!(seven(Consistency::Linearizable).await.unwrap() >= told);
    assert!(seven(Consistency::AtLeast(told)).await.unwrap() >= told);
    assert!(seven(Consistency::Local).await.unwrap() >= told);
    let follower = Follower::start(learner.clone(), Sequence(1)).await;
    let seen = follower.up_to(told).await;
    assert_eq!(seen.len() as u64, told.0, "it tells the whole history");
    // Its log is no vote: with two of three voters gone there is no quorum.
    cluster.kill(1);
    cluster.kill(2);
    assert_eq!(seven(Consistency::Local).await.unwrap(), told);
    assert_eq!(seven(Consistency::AtLeast(told)).await.unwrap(), told);
    let impatient = cluster.patient_client(std::time::Duration::from_secs(4)).await.community("guild");
    let refused = impatient.query(actor("reader"), total("a"), Consistency::Linearizable).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::NoLeader), "{refused}");
    let ahead = Consistency::AtLeast(Sequence(told.0 + 1));
    let refused = impatient.query(actor("reader"), total("a"), ahead).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::NotReached), "{refused}");
    let page = learner.scan(Bytes::new(), None, 10, Consistency::Local).await.unwrap();
    assert!(!page.pairs.is_empty());

    // They come back, and the learner follows again.
    cluster.restart(1).await;
    let told = session.submit(add("a", 1)).await.unwrap().receipt.sequence;
    assert!(seven(Consistency::AtLeast(told)).await.unwrap() >= told);
    let request = v1::RetireNodeRequest { node: 9, ..v1::RetireNodeRequest::default() };
    let refused = cluster.client_of(1).await.admin().retire_node(request).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::NoNode), "{refused}");
}
