//! Communities beside each other: one goes bad, the other does not notice.

use althing_client::{Answer, Consistency};
use althing_core::{
    ids::Sequence,
    transition::{Outcome, Trap},
};
use althing_tests::{
    cluster::Cluster,
    follower::Follower,
    load::{self, Load},
    programs::{acquire, hostile, payload},
    replicas::actor,
};
use serde_json::json;

const ALL: [u64; 3] = [1, 2, 3];

/// What a guest may try, and how that ends.
const MISDEEDS: [(&str, &[&str]); 11] = [
    ("loop", &["out-of-fuel"]),
    ("recurse", &["too-deep"]),
    ("big-frames", &["too-deep"]),
    ("allocate", &["out-of-memory", "out-of-fuel", "wasm-trap"]),
    ("write-too-much", &["over-quota"]),
    ("write-too-big", &["over-quota", "misuse"]),
    ("emit-too-much", &["over-quota"]),
    ("schedule-too-much", &["over-quota"]),
    ("read-too-much", &["over-quota", "out-of-fuel"]),
    ("answer-too-much", &["over-quota", "misuse"]),
    ("panic", &["wasm-trap"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_community_goes_on_and_its_neighbour_never_notices() {
    let cluster = Cluster::start(3).await;
    cluster.found("poisoned", "hostile").await;
    cluster.found("healthy", "counter").await;
    let client = cluster.client().await;
    let neighbour = Follower::start(client.community("healthy"), Sequence(1)).await;
    let load = Load::start(&client, "healthy", 2);
    let poisoned = client.community("poisoned");
    let session = poisoned.open_session(actor("mallory")).await.unwrap();

    let mut behaved = 0;
    for (misdeed, ends) in MISDEEDS {
        let submitted = session.submit(hostile(misdeed)).await.unwrap();
        let Outcome::Trapped(Trap { kind, message, .. }) = &submitted.receipt.outcome else {
            panic!("{misdeed}: {submitted:?}");
        };
        assert!(ends.contains(&kind.code()), "{misdeed} ends with {}: {message}", kind.code());
        assert!(!message.is_empty() && submitted.receipt.fuel > 0, "{misdeed}: {submitted:?}");
        // The next one is served, from the state as it was before.
        behaved += 1;
        let submitted = session.submit(hostile("behave")).await.unwrap();
        let Outcome::Accepted { result } = &submitted.receipt.outcome else {
            panic!("after {misdeed}: {submitted:?}");
        };
        let mark: String = serde_json::from_slice(result).unwrap();
        assert_eq!(mark, behaved.to_string(), "after {misdeed}");
    }
    // A question that misbehaves fails alone.
    for question in ["loop", "write"] {
        let question = payload(&json!({ "query": question }));
        let queried = poisoned.query(actor("mallory"), question, Consistency::Local).await.unwrap();
        assert!(matches!(queried.answer, Answer::Trapped(_)), "{queried:?}");
    }
    load.goes_on_for(20).await;
    let sent = load.finish().await;

    let end = cluster.agreed("poisoned", &ALL, Sequence(2 * MISDEEDS.len() as u64)).await;
    let histories = [1, 2, 3].map(|node| cluster.history(node, "poisoned"));
    let [first, second, third] = futures::future::join_all(histories).await.try_into().unwrap();
    assert_eq!(first.last().map(|last| last.sequence), Some(end));
    assert!(first == second && second == third, "every replica tells the same of every misdeed");
    for node in ALL {
        let status = cluster.status(node).await.unwrap();
        assert!(status.replicas.iter().all(|replica| replica.fault.is_empty()), "{status:?}");
    }
    let end = cluster.agreed("healthy", &ALL, Sequence(20)).await;
    let _ = load::settle(&neighbour.up_to(end).await, &sent);
    assert!(
        sent.iter().all(|sent| matches!(sent.became, load::Became::Answered(_))),
        "not one was disturbed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_fire_on_an_idle_community_at_one_sequence_for_everyone() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("locks", "lock").await;
    let community = cluster.client().await.community("locks");
    let follower = Follower::start(community.clone(), Sequence(1)).await;
    let session = community.open_session(actor("ada")).await.unwrap();
    let acquired = session.submit(acquire("short", 300)).await.unwrap().receipt;
    session.submit(acquire("long", 4_000)).await.unwrap();

    // Nobody asks for anything any more.
    let fired = follower.until("an expiry", |transition| is_expiry(transition, "short")).await;
    assert!(fired.time.millis() >= acquired.time.millis() + 300, "not before its time");
    assert!(matches!(fired.outcome, Outcome::Accepted { .. }), "{fired:?}");
    // Whoever leads when the next one falls due sees to it.
    let leader = cluster.leader("locks").await;
    cluster.kill(leader);
    let later = follower.until("another expiry", |transition| is_expiry(transition, "long")).await;
    assert_eq!(later.sequence, fired.sequence.next(), "nothing else happened");
    cluster.restart(leader).await;

    cluster.agreed("locks", &ALL, later.sequence).await;
    for node in ALL {
        let history = cluster.history(node, "locks").await;
        assert!(history.contains(&fired) && history.contains(&later), "node {node} tells it otherwise");
    }
    let question = payload(&json!({ "query": "holds" }));
    let queried = community.query(actor("ada"), question, Consistency::Linearizable).await.unwrap();
    assert!(matches!(&queried.answer, Answer::Answered(holds) if &holds[..] == b"{}"), "{queried:?}");
}

fn is_expiry(transition: &althing_core::transition::Transition, lock: &str) -> bool {
    let is_of_lock = |event: &althing_core::transition::Event| {
        let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap_or_default();
        event.name == "expired" && data["lock"] == lock
    };
    transition.events.iter().any(is_of_lock)
}
