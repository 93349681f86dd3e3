//! Communities, sessions, operations and subscriptions.

use crate::house::{House, actor, assert_refused, within};
use althing_core::refusal::Code;
use althing_proto::v1::{
    self, CreateCommunityRequest, HistoryRequest, InspectCommunityRequest, ListCommunitiesRequest,
    OpenSessionRequest, QueryRequest, ScanRequest, SetPolicyRequest, SubmitRequest, SubscribeRequest,
    cause::Kind, submit_stream_response::Answer,
};
use bytes::Bytes;
use futures::stream;
use tonic::Code as Grpc;

fn session(community: &str) -> OpenSessionRequest {
    OpenSessionRequest { community: community.to_owned(), actor: actor() }
}

fn operation(community: &str, session: u64, number: u64) -> SubmitRequest {
    SubmitRequest {
        community: community.to_owned(),
        session,
        number,
        actor: actor(),
        payload: Bytes::from_static(b"{}"),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_community_is_created_once_and_tells_of_itself() {
    let house = House::open().await;
    let mut admin = house.admin().await;
    let request = CreateCommunityRequest {
        name: "hall".to_owned(),
        policy: r#"{"sessions":{"window":7}}"#.to_owned(),
        ..Default::default()
    };
    let created =
        within(admin.create_community(request.clone())).await.unwrap().into_inner().community.unwrap();
    assert_eq!((created.name.as_str(), created.replicas.len()), ("hall", 1));
    let refusal = assert_refused(
        within(admin.create_community(request)).await,
        Grpc::AlreadyExists,
        Code::CommunityExists,
    );
    assert!(refusal.message.contains("hall"), "{refusal}");

    let inspect = InspectCommunityRequest { community: created.id.to_string() };
    let told = within(admin.inspect_community(inspect)).await.unwrap().into_inner();
    assert_eq!(told.community.unwrap(), created);
    assert_eq!(told.replica.unwrap().role, "leader");
    assert!(told.program.is_none());
    let policy: serde_json::Value = serde_json::from_str(&told.policy).unwrap();
    assert_eq!(policy["sessions"]["window"], 7);
    let list = within(admin.list_communities(ListCommunitiesRequest {})).await.unwrap().into_inner();
    assert!(list.communities.contains(&created), "{list:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_by_name() {
    let house = House::open().await;
    let mut admin = house.admin().await;
    let create = |policy: &str, timing: &str| CreateCommunityRequest {
        name: "hall".to_owned(),
        policy: policy.to_owned(),
        timing: timing.to_owned(),
        ..Default::default()
    };
    let answer = within(admin.create_community(create(r#"{"quotas":{"wishes":3}}"#, ""))).await;
    let refusal = assert_refused(answer, Grpc::InvalidArgument, Code::BadPolicy);
    assert_eq!(refusal.data["field"], "quotas.wishes");
    let answer = within(admin.create_community(create("", "moon"))).await;
    let refusal = assert_refused(answer, Grpc::InvalidArgument, Code::BadRequest);
    assert_eq!(refusal.data["field"], "timing");

    house.create("hall").await;
    let half =
        SetPolicyRequest { community: "hall".to_owned(), policy: r#"{"quotas":{"writes":3}}"#.to_owned() };
    assert_refused(within(admin.set_policy(half)).await, Grpc::InvalidArgument, Code::BadPolicy);
    let mut communities = house.communities().await;
    let nobody = OpenSessionRequest { community: "hall".to_owned(), actor: None };
    let refusal = assert_refused(
        within(communities.open_session(nobody)).await,
        Grpc::InvalidArgument,
        Code::BadRequest,
    );
    assert_eq!(refusal.data["field"], "actor");
    let answer = within(communities.open_session(session("nowhere"))).await;
    let refusal = assert_refused(answer, Grpc::NotFound, Code::NoCommunity);
    assert_eq!(refusal.data["community"], "nowhere");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_opened_and_without_a_program_nothing_is_executed() {
    let house = House::open().await;
    house.create("hall").await;
    let mut communities = house.communities().await;
    let opened = within(communities.open_session(session("hall"))).await.unwrap().into_inner();
    assert_eq!((opened.session, opened.window), (1, 1024));
    let answer = within(communities.submit(operation("hall", opened.session, 1))).await;
    assert_refused(answer, Grpc::FailedPrecondition, Code::NoProgram);
    let query = QueryRequest { community: "hall".to_owned(), actor: actor(), ..Default::default() };
    assert_refused(within(communities.query(query)).await, Grpc::FailedPrecondition, Code::NoProgram);

    let scan = ScanRequest { community: "hall".to_owned(), ..Default::default() };
    let page = within(communities.scan(scan)).await.unwrap().into_inner();
    assert!(page.pairs.is_empty() && page.next.is_none() && page.sequence == 1, "{page:?}");
    let history = HistoryRequest { community: "hall".to_owned(), ..Default::default() };
    let held = within(communities.history(history)).await.unwrap().into_inner();
    assert_eq!((held.oldest, held.newest, held.transitions.len()), (1, 1, 1));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_sees_what_was_and_what_comes() {
    let house = House::open().await;
    house.create("hall").await;
    let mut communities = house.communities().await;
    within(communities.open_session(session("hall"))).await.unwrap();
    let from = |from| SubscribeRequest { community: "hall".to_owned(), from };
    let mut whole = within(communities.subscribe(from(1))).await.unwrap().into_inner();
    let mut news = within(communities.subscribe(from(0))).await.unwrap().into_inner();
    within(communities.open_session(session("hall"))).await.unwrap();

    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(within(whole.message()).await.unwrap().unwrap().transitions);
    }
    assert_eq!(seen.iter().map(|transition| transition.sequence).collect::<Vec<_>>(), [1, 2]);
    let kinds = seen.iter().map(|transition| transition.cause.clone().unwrap().kind.unwrap());
    assert!(kinds.into_iter().all(|kind| matches!(kind, Kind::Session(_))));
    let new = within(news.message()).await.unwrap().unwrap().transitions;
    assert_eq!(
        new.iter().map(|transition| transition.sequence).collect::<Vec<_>>(),
        [2],
        "only what came after"
    );
    assert_refused(
        within(communities.subscribe(SubscribeRequest { community: "nowhere".to_owned(), from: 1 })).await,
        Grpc::NotFound,
        Code::NoCommunity,
    );
    drop((whole, news));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_each_request_in_its_turn_and_goes_on() {
    let house = House::open().await;
    house.create("hall").await;
    let mut communities = house.communities().await;
    let session = within(communities.open_session(session("hall"))).await.unwrap().into_inner().session;
    let requests = vec![
        operation("hall", session, 1),
        SubmitRequest { after: 9, ..operation("hall", session, 2) },
        operation("nowhere", session, 3),
        SubmitRequest { payload: vec![0; (1 << 20) + 1].into(), ..operation("hall", session, 4) },
        SubmitRequest { actor: None, ..operation("hall", session, 5) },
        operation("hall", session + 77, 6),
        operation("hall", session, 7),
    ];
    let mut answers = within(communities.submit_stream(stream::iter(requests))).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(v1::SubmitStreamResponse { number, answer }) = within(answers.message()).await.unwrap() {
        let Some(Answer::Failed(failure)) = answer else { panic!("{number} is not executed") };
        told.push((number, failure.code));
    }
    let wanted = [
        (1, "no-program"),
        (2, "bad-request"),
        (3, "no-community"),
        (4, "too-large"),
        (5, "bad-request"),
        (6, "no-session"),
        (7, "no-program"),
    ];
    assert_eq!(told, wanted.map(|(number, code)| (number, code.to_owned())));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_chunk_is_answered_in_order() {
    let house = House::open().await;
    house.create("hall").await;
    house.create("yard").await;
    let mut communities = house.communities().await;
    let mut sessions = Vec::new();
    for community in ["hall", "yard"] {
        sessions
            .push(within(communities.open_session(session(community))).await.unwrap().into_inner().session);
    }
    let requests = (1..=1500).map(move |number| match number % 2 {
        0 => operation("hall", sessions[0], number),
        _ => operation("yard", sessions[1], number),
    });
    let mut answers = within(communities.submit_stream(stream::iter(requests))).await.unwrap().into_inner();
    for number in 1..=1500 {
        let told = within(answers.message()).await.unwrap().unwrap();
        assert_eq!(told.number, number);
        assert!(matches!(told.answer, Some(Answer::Failed(failure)) if failure.code == "no-program"));
    }
    assert!(within(answers.message()).await.unwrap().is_none());
    house.close().await;
}
