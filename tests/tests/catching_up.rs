//! Replicas that were away: they catch up by the log, or by a snapshot if the log is gone, and come to
//! the same digests.

use althing_client::{Consistency, NewCommunity, v1::ReplicaStatus};
use althing_core::ids::Sequence;
use althing_tests::{
    cluster::{Cluster, Setup},
    follower::Follower,
    load::Load,
    programs::add,
    replicas::{actor, nodes, policy},
    wait::eventually,
};
use bytes::Bytes;

const ALL: [u64; 3] = [1, 2, 3];

/// A community that cuts snapshots often.
fn frequent(name: &str) -> NewCommunity {
    let policy = policy(|policy| policy.retention.snapshot_transitions = 50);
    NewCommunity { name: name.to_owned(), policy, ..NewCommunity::default() }
}

/// Submits so many operations.
async fn submit(cluster: &Cluster, community: &str, count: u64) -> Sequence {
    let community = cluster.client().await.community(community);
    let session = community.open_session(actor("writer")).await.expect("a session can be opened");
    let payloads = (1..=count).map(|amount| add("a", amount as i64));
    // Few at once, so that there are many log entries too.
    let mut pipeline = session.pipeline(futures::stream::iter(payloads.collect::<Vec<Bytes>>()), 3);
    let mut last = Sequence(0);
    while let Some(answered) = pipeline.next().await {
        let answered = answered.expect("the pipeline goes on");
        last = answered.answer.expect("nothing is refused").receipt.sequence;
    }
    last
}

async fn replica(cluster: &Cluster, node: u64, community: &str) -> ReplicaStatus {
    eventually(&format!("node {node} tells of {community}"), async || cluster.replica(node, community).await)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_down_catches_up_by_the_log_and_then_by_a_snapshot() {
    let mut cluster = Cluster::start_with(Setup::nodes(3).with("--log-kept", 20)).await;
    cluster.found("patient", "counter").await;
    cluster.found_with(frequent("hasty"), "counter").await;
    let away = cluster.follower("hasty").await;
    let rest: Vec<u64> = ALL.into_iter().filter(|&node| node != away).collect();
    submit(&cluster, "patient", 10).await;
    submit(&cluster, "hasty", 10).await;
    cluster.agreed("patient", &ALL, Sequence(10)).await;
    cluster.agreed("hasty", &ALL, Sequence(10)).await;

    let had = replica(&cluster, away, "hasty").await.last_index;
    cluster.kill(away);
    // One community still has the whole log, the other has cut it.
    let by_log = submit(&cluster, "patient", 200).await;
    let by_snapshot = submit(&cluster, "hasty", 400).await;
    for &node in &rest {
        eventually("a snapshot has taken the log's place", async || {
            let replica = cluster.replica(node, "hasty").await?;
            (replica.snapshot_index > had + 30).then_some(())
        })
        .await;
    }
    cluster.restart(away).await;
    cluster.agreed("patient", &ALL, by_log).await;
    cluster.agreed("hasty", &ALL, by_snapshot).await;

    let whole = cluster.history(away, "patient").await;
    assert_eq!(whole[0].sequence, Sequence(1), "by the log: every transition was executed here");
    assert_eq!(whole, cluster.history(rest[0], "patient").await);
    // By a snapshot, and then what lies before it.
    cluster.backfilled(away, "hasty").await;
    let elsewhere = cluster.history(rest[0], "hasty").await;
    assert_eq!(elsewhere, cluster.history(away, "hasty").await, "it is the same history");

    // It is a voter like any other: with it, and without one of the others, work goes on.
    cluster.kill(rest[0]);
    let last = submit(&cluster, "hasty", 60).await;
    cluster.agreed("hasty", &[away, rest[1]], last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_is_added_and_promoted_and_a_member_is_removed() {
    let mut cluster = Cluster::start_with(Setup::nodes(4).with("--log-kept", 20)).await;
    let founding = NewCommunity { nodes: nodes(&[1, 2]), ..frequent("guild") };
    cluster.found_with(founding, "counter").await;
    let first = submit(&cluster, "guild", 200).await;
    let admin = cluster.client().await.admin();

    // A learner: it has the state, and no vote.
    let [learner] = nodes(&[3])[..] else { unreachable!("one was named") };
    let added = admin.add_replica("guild", learner).await.unwrap();
    assert!(!added.voter);
    cluster.agreed("guild", &[1, 2, 3], first).await;
    let seen = replica(&cluster, 3, "guild").await;
    assert_eq!(seen.role, "learner");
    let asked = cluster.client_of(3).await.community("guild");
    let local = asked.scan(Bytes::new(), None, 10, Consistency::Local).await.unwrap();
    assert!(!local.pairs.is_empty(), "it answers what it has");

    // Its vote, and then its turn to lead.
    admin.promote_replica("guild", learner).await.unwrap();
    admin.transfer_leadership("guild", Some(learner)).await.unwrap();
    assert_eq!(cluster.leader("guild").await, 3);
    let second = submit(&cluster, "guild", 20).await;
    cluster.agreed("guild", &[1, 2, 3], second).await;

    // The leader itself is removed; the others go on without it.
    admin.remove_replica("guild", learner).await.unwrap();
    eventually("node 3 lets go of it", async || cluster.replica(3, "guild").await.is_none().then_some(()))
        .await;
    let third = submit(&cluster, "guild", 20).await;
    cluster.agreed("guild", &[1, 2], third).await;
    let members = replica(&cluster, 1, "guild").await.members;
    assert_eq!(members.iter().map(|member| member.node).collect::<Vec<_>>(), [1, 2]);

    // Removed and added again, it begins a new life, by a snapshot.
    admin.add_replica("guild", learner).await.unwrap();
    admin.promote_replica("guild", learner).await.unwrap();
    cluster.agreed("guild", &[1, 2, 3], third).await;
    cluster.kill(1);
    let fourth = submit(&cluster, "guild", 20).await;
    cluster.agreed("guild", &[2, 3], fourth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_told_every_sequence_once_across_failover_and_what_is_gone_by_name() {
    let mut cluster = Cluster::start_with(Setup::nodes(3).with("--log-kept", 20)).await;
    let policy = policy(|policy| {
        policy.retention.snapshot_transitions = 50;
        policy.retention.transitions = 100;
        policy.retention.snapshots = 1;
    });
    let founding = NewCommunity { name: "feed".to_owned(), policy, ..NewCommunity::default() };
    cluster.found_with(founding, "counter").await;
    let client = cluster.client().await;
    let follower = Follower::start(client.community("feed"), Sequence(1)).await;
    let load = Load::start(&client, "feed", 4);
    for _ in 0..3 {
        load.goes_on_for(100).await;
        let leader = cluster.leader("feed").await;
        cluster.kill(leader);
        load.goes_on_for(20).await;
        cluster.restart(leader).await;
    }
    let sent = load.finish().await;
    let end = cluster.agreed("feed", &ALL, Sequence(300)).await;
    // The client refuses gaps and repetitions; so what was seen is the whole history.
    let seen = follower.up_to(end).await;
    assert_eq!(seen.len() as u64, end.0);
    let _ = althing_tests::load::settle(&seen, &sent);

    // By now the first ones are held by nobody (memory forgets with the process): that is said, with
    // where to begin instead.
    for node in ALL {
        cluster.kill(node);
        cluster.restart(node).await;
    }
    // A replica that began again with a snapshot of the very end holds nothing before this.
    let client = cluster.client().await;
    let session = client.community("feed").open_session(actor("late")).await.unwrap();
    let newest = session.submit(add("late", 1)).await.unwrap().receipt.sequence;
    cluster.agreed("feed", &ALL, newest).await;
    let oldest = eventually("old transitions are dropped", async || {
        let mut oldest = Vec::new();
        for node in ALL {
            oldest.push(cluster.replica(node, "feed").await?.oldest_sequence);
        }
        oldest.iter().all(|&oldest| oldest > 1).then_some(oldest)
    })
    .await;
    for (node, oldest) in ALL.into_iter().zip(oldest) {
        let community = cluster.client_of(node).await.community("feed");
        let mut late = community.subscribe(Sequence(1)).await.unwrap();
        let error = late.next().await.unwrap_err();
        assert_eq!(error.code(), Some(althing_core::refusal::Code::HistoryGone), "{error}");
        let last = std::error::Error::source(&error).unwrap().to_string();
        assert!(last.contains(&format!("the oldest is {oldest}")), "{last}");
        let mut later = community.subscribe(Sequence(oldest)).await.unwrap();
        assert_eq!(later.next().await.unwrap().sequence, Sequence(oldest));
    }
}
