//! A program is replaced under load: the law changes at one place of the history, for everyone, and a
//! replica that was away meanwhile fetches what it lacks.

use althing_client::{Actor, Answer, Client, Consistency};
use althing_core::{
    ids::Sequence,
    transition::{Cause, Outcome, Rejection, Transition},
};
use althing_tests::{
    cluster::Cluster,
    follower::Follower,
    load::{self, Load},
    programs::{payload, total},
    replicas::{Program, actor},
    wait::eventually,
};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

const ALL: [u64; 3] = [1, 2, 3];
const MINTED: u64 = 1_000_000;

#[derive(Default)]
struct Progress {
    is_over: AtomicBool,
    answered: AtomicU64,
}

/// Pays from one account into the other, as long as it is let, more than the limit to come.
async fn pay(client: Client, progress: Arc<Progress>) {
    let session = client.community("bank").open_session(ada()).await;
    let session = session.expect("a session can be opened");
    while !progress.is_over.load(Ordering::SeqCst) {
        let transfer = payload(&json!({ "op": "transfer", "from": "a", "to": "b", "amount": 11 }));
        session.submit(transfer).await.expect("it is answered");
        progress.answered.fetch_add(1, Ordering::SeqCst);
    }
}

fn ada() -> Actor {
    Actor { id: "ada".to_owned(), roles: vec!["treasurer".to_owned()] }
}

fn is_transfer(transition: &Transition) -> bool {
    matches!(&transition.cause, Cause::Operation { payload, .. } if payload.starts_with(b"{\"amount\":11"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_replaced_under_load_at_one_sequence_for_everyone() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("bank", "ledger").await;
    let client = cluster.client().await;
    let session = client.community("bank").open_session(ada()).await.unwrap();
    for operation in [
        json!({ "op": "open", "account": "a" }),
        json!({ "op": "open", "account": "b" }),
        json!({ "op": "mint", "account": "a", "amount": MINTED }),
    ] {
        let submitted = session.submit(payload(&operation)).await.unwrap();
        assert!(matches!(submitted.receipt.outcome, Outcome::Accepted { .. }), "{submitted:?}");
    }
    let follower = Follower::start(client.community("bank"), Sequence(1)).await;
    let progress = Arc::new(Progress::default());
    let payers: Vec<_> = (0..4).map(|_| tokio::spawn(pay(client.clone(), progress.clone()))).collect();
    let goes_on_for = async |more: u64| {
        let wanted = progress.answered.load(Ordering::SeqCst) + more;
        let answered = async || (progress.answered.load(Ordering::SeqCst) >= wanted).then_some(());
        eventually("transfers go on", answered).await;
    };
    goes_on_for(50).await;
    let away = cluster.follower("bank").await;
    cluster.kill(away);
    let program = Program {
        validators: vec![("spending-limit", json!({ "limit": 10 }).to_string())],
        ..Program::from("ledger")
    };
    let receipt = cluster.install("bank", program).await;
    assert!(matches!(receipt.outcome, Outcome::Accepted { .. }), "{receipt:?}");
    goes_on_for(50).await;
    cluster.restart(away).await;
    goes_on_for(50).await;
    progress.is_over.store(true, Ordering::SeqCst);
    for payer in payers {
        payer.await.unwrap();
    }

    let end = cluster.agreed("bank", &ALL, receipt.sequence).await;
    let history = follower.up_to(end).await;
    let (before, after): (Vec<_>, Vec<_>) =
        history.iter().filter(|it| is_transfer(it)).partition(|it| it.sequence < receipt.sequence);
    assert!(before.len() >= 50 && after.len() >= 100);
    assert!(before.iter().all(|it| matches!(it.outcome, Outcome::Accepted { .. })), "the old law");
    for transfer in &after {
        let Outcome::Rejected(Rejection { code, validator, .. }) = &transfer.outcome else {
            panic!("after the switch: {transfer:?}");
        };
        assert_eq!((code.as_str(), *validator), ("spending-limit", Some(0)));
    }
    for node in ALL {
        let held = cluster.history(node, "bank").await;
        assert!(history.ends_with(&held), "node {node} switched elsewhere");
    }
    let ask = payload(&json!({ "query": "balances" }));
    let queried = client.community("bank").query(actor("x"), ask, Consistency::Linearizable).await.unwrap();
    let Answer::Answered(balances) = queried.answer else { panic!("{queried:?}") };
    let balances: serde_json::Value = serde_json::from_slice(&balances).unwrap();
    let paid = 11 * before.len() as u64;
    assert_eq!(balances, json!({ "a": MINTED - paid, "b": paid }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_rewrites_the_state_under_load_once_for_everyone_or_changes_nothing() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("tally", "counter").await;
    let client = cluster.client().await;
    let follower = Follower::start(client.community("tally"), Sequence(1)).await;
    let load = Load::start(&client, "tally", 4);
    load.goes_on_for(50).await;

    let refused = cluster.install("tally", "remembering").await;
    let Outcome::Rejected(Rejection { code, .. }) = &refused.outcome else { panic!("{refused:?}") };
    assert_eq!(code, "never");
    load.goes_on_for(50).await;
    assert_eq!(ask(&client, payload(&json!({ "query": "sum" }))).await, None, "the old law has no sums");

    let away = cluster.follower("tally").await;
    cluster.kill(away);
    let migrated = cluster.install("tally", "recount").await;
    assert!(matches!(migrated.outcome, Outcome::Accepted { .. }), "{migrated:?}");
    load.goes_on_for(50).await;
    cluster.restart(away).await;
    load.goes_on_for(50).await;
    let sent = load.finish().await;

    let end = cluster.agreed("tally", &ALL, migrated.sequence).await;
    let history = follower.up_to(end).await;
    let counters = load::settle(&history, &sent);
    let mut sum = 0;
    for (name, expected) in counters {
        assert_eq!(ask(&client, total(&name)).await, Some(expected), "{name}");
        sum += expected;
    }
    assert!(sum > 0);
    assert_eq!(ask(&client, payload(&json!({ "query": "sum" }))).await, Some(sum));
    let takeover = history.iter().find(|it| it.sequence == migrated.sequence).expect("it is history");
    let moved = |prefix: &[u8], gone: bool| {
        takeover.writes.iter().filter(|it| it.key.starts_with(prefix) && it.value.is_none() == gone).count()
    };
    assert_eq!((moved(b"total/", true), moved(b"count/", false)), (4, 4), "{:?}", takeover.writes);
    for node in ALL {
        let held = cluster.history(node, "tally").await;
        assert!(history.ends_with(&held), "node {node} migrated elsewhere");
    }
}

/// What the tally answers; none if it does not know the question.
async fn ask(client: &Client, question: bytes::Bytes) -> Option<i64> {
    let queried = client.community("tally").query(actor("x"), question, Consistency::Linearizable).await;
    match queried.expect("it is answered").answer {
        Answer::Answered(number) => Some(serde_json::from_slice(&number).expect("it is a number")),
        _ => None,
    }
}
