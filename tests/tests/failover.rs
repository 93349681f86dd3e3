//! The leader goes: what was acknowledged stays, what is retried is answered once, readers and
//! subscribers go on.

use althing_client::{Answer, Consistency, Queried, SubmitError};
use althing_core::{
    ids::{OperationNumber, Sequence},
    refusal::Code,
    transition::Outcome,
};
use althing_tests::{
    cluster::Cluster,
    follower::Follower,
    load::{self, Load},
    programs::{add, total},
    replicas::actor,
    wait::eventually,
};

const ALL: [u64; 3] = [1, 2, 3];

/// What a counter stands at, by a question's answer.
fn number(queried: &Queried) -> i64 {
    match &queried.answer {
        Answer::Answered(answer) => serde_json::from_slice(answer).expect("a total is a number"),
        other => panic!("no answer: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_under_load_loses_nothing_and_repeats_nothing() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("sums", "counter").await;
    let client = cluster.client().await;
    let follower = Follower::start(client.community("sums"), Sequence(1)).await;
    let load = Load::start(&client, "sums", 8);
    load.goes_on_for(200).await;
    let first = cluster.leader("sums").await;
    cluster.kill(first);
    load.goes_on_for(200).await;
    let second = cluster.leader("sums").await;
    assert_ne!(first, second, "somebody else leads");
    cluster.restart(first).await;
    load.goes_on_for(200).await;
    // And once more, gently this time: leadership is handed over.
    cluster.stop(second).await;
    load.goes_on_for(200).await;
    cluster.restart(second).await;
    let sent = load.finish().await;

    let end = cluster.agreed("sums", &ALL, Sequence(600)).await;
    let seen = follower.up_to(end).await;
    let totals = load::settle(&seen, &sent);
    for (name, should) in totals {
        let community = client.community("sums");
        let queried = community.query(actor("reader"), total(&name), Consistency::Linearizable).await;
        assert_eq!(number(&queried.unwrap()), should, "{name}");
    }
    // Every replica can tell the same, from its own execution.
    for node in ALL {
        let held = cluster.history(node, "sums").await;
        let from = held[0].sequence.0 as usize - 1;
        assert_eq!(held, seen[from..], "node {node} tells another history");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_with_the_first_receipt_whoever_leads() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("sums", "counter").await;
    let community = cluster.client().await.community("sums");
    let session = community.open_session(actor("ada")).await.unwrap();
    let first = session.submit(add("a", 5)).await.unwrap();
    assert!(!first.repeated);

    // A client that never got the answer: the same session, the same number.
    let retry = async |payload| {
        let again = community.resume_session(actor("ada"), session.id(), first.number, session.window());
        again.submit(payload).await
    };
    let again = retry(add("a", 5)).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.receipt, first.receipt);

    let leader = cluster.leader("sums").await;
    cluster.kill(leader);
    let again = retry(add("a", 5)).await.unwrap();
    assert!(again.repeated, "the new leader knows");
    assert_eq!(again.receipt, first.receipt);

    let error = retry(add("a", 6)).await.unwrap_err();
    assert!(matches!(&error, SubmitError::Refused(refusal) if refusal.code == Code::Mismatch), "{error}");
    // Every node gone and back: the answer is part of the state.
    for node in cluster.running() {
        cluster.kill(node);
    }
    for node in ALL {
        cluster.restart(node).await;
    }
    let again = retry(add("a", 5)).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.receipt, first.receipt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linearizable_read_after_failover_sees_what_was_acknowledged_last() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("sums", "counter").await;
    let mut should = 0;
    for round in 1..=3 {
        let client = cluster.client().await;
        let community = client.community("sums");
        let session = community.open_session(actor("writer")).await.unwrap();
        let mut last = None;
        for amount in 1..=20 {
            last = Some(session.submit(add("a", amount)).await.unwrap());
            should += amount;
        }
        let acknowledged = last.unwrap().receipt;
        let leader = cluster.leader("sums").await;
        cluster.kill(leader);
        for node in cluster.running() {
            let asked = cluster.client_of(node).await.community("sums");
            let queried = asked.query(actor("reader"), total("a"), Consistency::Linearizable).await.unwrap();
            assert_eq!(number(&queried), should, "round {round}, node {node}");
            assert!(queried.sequence >= acknowledged.sequence);
            let at_least = Consistency::AtLeast(acknowledged.sequence);
            let queried = asked.query(actor("reader"), total("a"), at_least).await.unwrap();
            assert_eq!(number(&queried), should, "round {round}, node {node}, at least");
        }
        cluster.restart(leader).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_gets_the_freshness_it_names_or_fails() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("sums", "counter").await;
    let community = cluster.client().await.community("sums");
    let session = community.open_session(actor("writer")).await.unwrap();
    let written = session.submit(add("a", 7)).await.unwrap().receipt;
    cluster.agreed("sums", &ALL, written.sequence).await;

    // One node is left of three: it has the state, and no right to call it the newest.
    let left = cluster.leader("sums").await;
    for node in ALL.into_iter().filter(|&node| node != left) {
        cluster.kill(node);
    }
    let asked = althing_client::Client::connect_with(
        vec![cluster.api(left)],
        althing_client::Options { patience: std::time::Duration::from_secs(3), ..Default::default() },
    );
    let asked = asked.await.unwrap().community("sums");
    let local = asked.query(actor("reader"), total("a"), Consistency::Local).await.unwrap();
    assert_eq!((number(&local), local.sequence), (7, written.sequence));
    let reached = Consistency::AtLeast(written.sequence);
    assert_eq!(number(&asked.query(actor("reader"), total("a"), reached).await.unwrap()), 7);

    let error = asked.query(actor("reader"), total("a"), Consistency::Linearizable).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::NoLeader), "{error}");
    let beyond = Consistency::AtLeast(written.sequence.next());
    let error = asked.query(actor("reader"), total("a"), beyond).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::NotReached), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_without_a_quorum_fails_in_bounded_time_and_is_answered_once_it_is_back() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("sums", "counter").await;
    let client = cluster.patient_client(std::time::Duration::from_secs(4)).await;
    let community = client.community("sums");
    let session = community.open_session(actor("ada")).await.unwrap();
    let before = session.submit(add("a", 1)).await.unwrap();
    let leader = cluster.leader("sums").await;
    let others: Vec<u64> = ALL.into_iter().filter(|&node| node != leader).collect();
    for &node in &others {
        cluster.kill(node);
    }
    // The leader has not noticed: it takes this one in, and can never say that it is done.
    let began = std::time::Instant::now();
    let error = session.submit(add("a", 2)).await.unwrap_err();
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "after {:?}", began.elapsed());
    let number = match error {
        SubmitError::Unknown { number, .. } => Some(number),
        SubmitError::NotExecuted { .. } => None,
        SubmitError::Refused(refusal) => panic!("refused: {refusal}"),
    };
    // Once its lease has run out it takes nothing in, and says so: that is not ambiguous.
    let error = eventually("the leader knows that it is alone", async || {
        let error = session.submit(add("a", 3)).await.unwrap_err();
        matches!(error, SubmitError::NotExecuted { .. }).then_some(error)
    })
    .await;
    assert_eq!(error.code(), Some(Code::NoLeader));

    cluster.restart(others[0]).await;
    if let Some(number) = number {
        let again = community.resume_session(actor("ada"), session.id(), number, session.window());
        let learned = again.submit(add("a", 2)).await.unwrap();
        assert!(matches!(learned.receipt.outcome, Outcome::Accepted { .. }));
    }
    let queried = community.query(actor("reader"), total("a"), Consistency::Linearizable).await.unwrap();
    let third = number.map_or(1, |_| 3);
    assert_eq!(self::number(&queried), third, "the first, the retried one if any, and not the refused one");
    assert_eq!(before.number, OperationNumber(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_shutdown_hands_leadership_over_and_all_nodes_keep_everything() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("sums", "counter").await;
    let client = cluster.client().await;
    let load = Load::start(&client, "sums", 4);
    load.goes_on_for(100).await;
    let (leader, term) = cluster.leadership("sums").await;
    let status = cluster.stop(leader).await;
    assert!(status.success(), "it ends in peace: {status}");
    let (next, later) = cluster.leadership("sums").await;
    assert_ne!(leader, next);
    assert_eq!(later, term + 1, "one election was enough: leadership was handed over, not lost");
    load.goes_on_for(50).await;
    let sent = load.finish().await;
    assert!(
        sent.iter().all(|sent| matches!(sent.became, load::Became::Answered(_))),
        "nobody was left without an answer"
    );
    cluster.restart(leader).await;
    let end = cluster.agreed("sums", &ALL, Sequence(150)).await;
    let before = cluster.history(leader, "sums").await;

    for node in ALL {
        assert!(cluster.stop(node).await.success());
    }
    for node in ALL {
        cluster.restart(node).await;
    }
    cluster.leader("sums").await;
    assert_eq!(cluster.agreed("sums", &ALL, end).await, end, "nothing is lost, nothing is new");
    assert_eq!(cluster.history(leader, "sums").await, before);
    let totals = load::settle(&before, &sent);
    assert_eq!(totals.len(), 4);
}
