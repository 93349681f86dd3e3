//! What the client does when servers fail: one story each, against fakes that fail as told.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod fake;

use althing_client::{Actor, Answer, Client, Consistency, Options, Session, SubmitError, SubscribeError};
use althing_core::{
    ids::Sequence,
    refusal::{Code, Retry},
};
use bytes::Bytes;
use fake::{Fault, World, history, nowhere, serve};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const SHORT: Options = Options {
    patience: Duration::from_millis(400),
    attempt: Duration::from_secs(5),
    connect: Duration::from_secs(2),
};

fn ada() -> Actor {
    Actor { id: "ada".into(), roles: vec![] }
}

fn world(faults: impl IntoIterator<Item = Fault>) -> Arc<Mutex<World>> {
    Arc::new(Mutex::new(World::with(faults)))
}

async fn session(addresses: Vec<String>, options: Options) -> Session {
    let client = Client::connect_with(addresses, options).await.unwrap();
    client.community("c").open_session(ada()).await.unwrap()
}

/// Compiles, or does not: async closures that borrow make futures that nobody can spawn.
#[tokio::test]
async fn whatever_is_asked_may_be_asked_in_a_task_of_its_own() {
    fn spawnable<F: Future + Send + 'static>(_: F) {}
    let client = Client::connect(vec![serve("a", &world([])).await]).await.unwrap();
    let (admin, community) = (client.admin(), client.community("c"));
    let session = community.open_session(ada()).await.unwrap();
    spawnable(async move { admin.list().await });
    spawnable(async move { client.admin().upload_component(Bytes::new()).await });
    spawnable(async move { community.query(ada(), "", Consistency::Local).await });
    spawnable(async move { session.submit("").await });
}

#[tokio::test]
async fn an_operation_is_sent_again_under_its_number_until_it_is_answered() {
    let world = world([
        Fault::Refuse(Code::NoLeader),
        Fault::LoseAnswer(Code::UnknownOutcome),
        Fault::Refuse(Code::Busy),
    ]);
    let session = session(vec![serve("a", &world).await], Options::default()).await;
    let first = session.submit("one").await.unwrap();
    assert!(first.repeated, "the second attempt was executed, the fourth is its answer again");
    let second = session.submit("two").await.unwrap();
    assert!(!second.repeated);
    let world = world.lock().unwrap();
    assert_eq!(world.executed(), ["one", "two"]);
    assert_eq!(world.requests, [(1, 0, 0), (1, 0, 0), (2, 1, 0)], "(number, acknowledged, after)");
}

#[tokio::test]
async fn the_client_goes_on_to_another_node_when_one_fails() {
    let world = world([Fault::Refuse(Code::ShuttingDown), Fault::Refuse(Code::NoLeader)]);
    let addresses = vec![nowhere().await, serve("a", &world).await, serve("b", &world).await];
    let session = session(addresses, Options::default()).await;
    session.submit("one").await.unwrap();
    let world = world.lock().unwrap();
    assert_eq!(world.executed(), ["one"]);
    assert!(world.served["b"] > 0, "the second node was asked: {:?}", world.served);
}

#[tokio::test]
async fn a_refusal_for_good_is_told_at_once() {
    let world = world([Fault::Refuse(Code::TooLarge)]);
    let session = session(vec![serve("a", &world).await], Options::default()).await;
    let error = session.submit("one").await.unwrap_err();
    assert!(matches!(error, SubmitError::Refused(_)), "{error:?}");
    assert_eq!(error.code(), Some(Code::TooLarge));
    assert!(world.lock().unwrap().executed().is_empty());
}

#[tokio::test]
async fn what_is_known_not_to_be_executed_is_told_from_what_is_not_known() {
    let never = world(std::iter::repeat_n(Fault::Refuse(Code::NoLeader), 1000));
    let quiet = session(vec![serve("a", &never).await], SHORT).await;
    let error = quiet.submit("one").await.unwrap_err();
    assert!(matches!(error, SubmitError::NotExecuted { attempts: 2.., .. }), "{error:?}");

    let lost = Fault::LoseAnswer(Code::TimedOut);
    let maybe = world([lost].into_iter().chain(std::iter::repeat_n(Fault::Refuse(Code::NoLeader), 1000)));
    let unlucky = session(vec![serve("b", &maybe).await], SHORT).await;
    let error = unlucky.submit("one").await.unwrap_err();
    assert!(matches!(error, SubmitError::Unknown { attempts: 2.., .. }), "{error:?}");
    assert_eq!(maybe.lock().unwrap().executed(), ["one"]);
}

#[tokio::test]
async fn many_operations_of_one_session_are_executed_once_each() {
    let world = world([Fault::LoseAnswer(Code::UnknownOutcome), Fault::Refuse(Code::Busy)]);
    let session = session(vec![serve("a", &world).await], Options::default()).await;
    let payloads: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    let submits = payloads.iter().map(|payload| session.submit(payload.clone()));
    futures::future::try_join_all(submits).await.unwrap();
    let world = world.lock().unwrap();
    let mut executed: Vec<_> = world.executed();
    executed.sort_by_key(|payload| String::from_utf8_lossy(payload).parse::<u64>().unwrap());
    assert_eq!(executed, payloads);
    let over = world.requests.iter().find(|(number, acknowledged, _)| number - acknowledged > 8);
    assert_eq!(over, None, "no more than the window are out");
}

async fn run_pipeline(world: &Arc<Mutex<World>>, payloads: &[Bytes], in_flight: usize) -> Vec<u64> {
    let addresses = vec![serve("a", world).await, serve("b", world).await];
    let session = session(addresses, Options::default()).await;
    let mut pipeline = session.pipeline(futures::stream::iter(payloads.to_vec()), in_flight);
    let mut answered = Vec::new();
    while let Some(next) = pipeline.next().await {
        let next = next.unwrap();
        next.answer.unwrap();
        answered.push(next.number.0);
    }
    answered
}

fn payloads(count: u64) -> Vec<Bytes> {
    (1..=count).map(|number| Bytes::from(number.to_string())).collect()
}

#[tokio::test]
async fn a_pipeline_answers_in_order_and_executes_each_once_over_cuts() {
    let world = world([Fault::CutAfter(7), Fault::CutAfter(0), Fault::CutAfter(20)]);
    let sent = payloads(100);
    let answered = run_pipeline(&world, &sent, 6).await;
    assert_eq!(answered, (1..=100).collect::<Vec<_>>());
    let world = world.lock().unwrap();
    assert_eq!(world.executed(), sent);
    assert!(world.faults.is_empty(), "every cut was met");
    assert!(world.served["a"] > 1 && world.served["b"] > 0, "{:?}", world.served);
}

#[tokio::test]
async fn a_pipeline_keeps_its_order_when_one_in_the_middle_is_not_executed() {
    let world = world([Fault::RefuseInStream(5, Code::Busy), Fault::RefuseInStream(9, Code::NoLeader)]);
    let sent = payloads(30);
    let answered = run_pipeline(&world, &sent, 8).await;
    assert_eq!(answered, (1..=30).collect::<Vec<_>>());
    let world = world.lock().unwrap();
    assert_eq!(world.executed(), sent);
    let in_order = |&(number, _, after): &(u64, u64, u64)| number == 1 || after == number - 1;
    assert!(world.requests.iter().all(in_order), "each comes after the one before: {:?}", world.requests);
}

#[tokio::test]
async fn a_pipeline_goes_on_without_an_operation_that_is_refused_for_good() {
    let world = world([]);
    let session = session(vec![serve("a", &world).await], Options::default()).await;
    let sent = ["1", "too large", "3", "4"].map(Bytes::from);
    let mut pipeline = session.pipeline(futures::stream::iter(sent), 4);
    let mut codes = Vec::new();
    while let Some(next) = pipeline.next().await {
        codes.push(next.unwrap().answer.err().map(|refusal| refusal.code));
    }
    assert_eq!(codes, [None, Some(Code::TooLarge), None, None]);
    assert_eq!(world.lock().unwrap().executed(), ["1", "3", "4"]);
}

#[tokio::test]
async fn a_pipeline_whose_session_is_gone_stops_and_says_where() {
    let world = world([Fault::RefuseInStream(3, Code::NoSession)]);
    let session = session(vec![serve("a", &world).await], Options::default()).await;
    let mut pipeline = session.pipeline(futures::stream::iter(payloads(6)), 6);
    for _ in 0..2 {
        pipeline.next().await.unwrap().unwrap().answer.unwrap();
    }
    let error = pipeline.next().await.unwrap().unwrap_err();
    assert_eq!((error.first.0, error.unanswered, error.code()), (3, 4, Some(Code::NoSession)));
    assert!(pipeline.next().await.is_none());
}

#[tokio::test]
async fn a_subscription_goes_on_after_the_last_one_seen() {
    let mut told = history(40);
    told.faults = [3, 0, 10, 1].map(Fault::CutAfter).into();
    let world = Arc::new(Mutex::new(told));
    let addresses = vec![serve("a", &world).await, serve("b", &world).await];
    let client = Client::connect(addresses).await.unwrap();
    let mut subscription = client.community("c").subscribe(Sequence(5)).await.unwrap();
    for sequence in 5..=40 {
        assert_eq!(subscription.position(), Sequence(sequence));
        assert_eq!(subscription.next().await.unwrap().sequence, Sequence(sequence));
    }
    assert!(world.lock().unwrap().faults.is_empty(), "every cut was met");
}

#[tokio::test]
async fn a_subscription_from_now_on_begins_after_the_newest() {
    let world = Arc::new(Mutex::new(history(12)));
    let client = Client::connect(vec![serve("a", &world).await]).await.unwrap();
    let subscription = client.community("c").subscribe(Sequence(0)).await.unwrap();
    assert_eq!(subscription.position(), Sequence(13));
}

#[tokio::test]
async fn a_gap_and_a_history_that_is_gone_are_told() {
    let mut told = history(5);
    told.faults = [Fault::Skip, Fault::Refuse(Code::HistoryGone)].into();
    let world = Arc::new(Mutex::new(told));
    let client = Client::connect(vec![serve("a", &world).await]).await.unwrap();
    let mut subscription = client.community("c").subscribe(Sequence(2)).await.unwrap();
    let gap = subscription.next().await.unwrap_err();
    let wanted = (Sequence(2), Sequence(3));
    assert!(
        matches!(gap, SubscribeError::OutOfSequence { next, found } if (next, found) == wanted),
        "{gap:?}"
    );
    let gone = subscription.next().await.unwrap_err();
    assert_eq!(gone.code(), Some(Code::HistoryGone));
    assert_eq!(subscription.next().await.unwrap().sequence, Sequence(2), "asked again, it tries again");
}

#[tokio::test]
async fn a_question_is_asked_again_while_that_may_help() {
    let world = world([Fault::Refuse(Code::NotReached), Fault::Refuse(Code::NoLeader)]);
    let client = Client::connect(vec![serve("a", &world).await]).await.unwrap();
    let queried = client.community("c").query(ada(), "q", Consistency::AtLeast(Sequence(3))).await.unwrap();
    assert_eq!(queried.answer, Answer::Answered(Bytes::from_static(b"7")));

    world.lock().unwrap().faults = [Fault::Refuse(Code::NoProgram)].into();
    let error = client.community("c").query(ada(), "q", Consistency::Local).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), (Some(Code::NoProgram), Retry::Never));
}

#[tokio::test]
async fn nobody_at_any_address_is_an_error_that_names_them() {
    let nowhere = nowhere().await;
    let error = Client::connect(vec![nowhere.clone()]).await.unwrap_err();
    assert!(error.to_string().contains(&nowhere), "{error}");
}
