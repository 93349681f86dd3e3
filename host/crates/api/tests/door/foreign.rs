//! What programs see that know nothing of us: reflection, health, pages, statuses, ids.

use crate::house::{House, within};
use althing_core::{
    codec,
    ids::{CommunityId, ReplicaId, Sequence},
};
use althing_node::Quarantined;
use althing_proto::v1::ListCommunitiesRequest;
use althing_store::port::Store;
use futures::stream;
use tonic::Request;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_what_is_served_and_nothing_else() {
    let house = House::open().await;
    let ask = |question| ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let questions = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("althing.v1.SubmitRequest".to_owned())),
    ];
    let mut client = ServerReflectionClient::new(house.channel().await);
    let mut answers =
        within(client.server_reflection_info(stream::iter(questions))).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        within(answers.message()).await.unwrap().unwrap().message_response
    else {
        panic!("a list was asked for")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let ours = ["althing.v1.Admin", "althing.v1.Communities", "grpc.health.v1.Health"];
    assert_eq!(
        names.iter().filter(|name| !name.contains("reflection")).collect::<Vec<_>>(),
        ours.map(str::to_owned).iter().collect::<Vec<_>>()
    );
    let file = within(answers.message()).await.unwrap().unwrap().message_response;
    assert!(matches!(file, Some(MessageResponse::FileDescriptorResponse(_))), "{file:?}");
    drop(answers);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_follow_the_node() {
    let house = House::open().await;
    let client = HealthClient::new(house.channel().await);
    let serves = async |wanted: ServingStatus| {
        let request = HealthCheckRequest { service: "althing.v1.Communities".to_owned() };
        let answer = client.clone().check(request).await.unwrap().into_inner();
        answer.status() == wanted
    };
    house.wait(async || serves(ServingStatus::Serving).await).await;
    assert_eq!(house.get("/healthz").await.0, "HTTP/1.1 200 OK");
    assert_eq!(house.get("/readyz").await.0, "HTTP/1.1 200 OK");
    within(house.node.shutdown()).await;
    house.wait(async || serves(ServingStatus::NotServing).await).await;
    let (line, rest) = house.get("/readyz").await;
    assert_eq!(line, "HTTP/1.1 503 Service Unavailable");
    assert!(rest.contains("shutting down"), "{rest}");
    assert_eq!(house.get("/healthz").await.0, "HTTP/1.1 200 OK", "it is alive all the same");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_replica_shows_on_the_page_of_readiness_and_in_the_metrics() {
    let store = Store::memory();
    let quarantined = Quarantined {
        community: CommunityId(7),
        name: "guild".to_owned(),
        replica: ReplicaId(3),
        sequence: Sequence(41),
        why: "quarantined: it differs".to_owned(),
    };
    let record = codec::encode(&vec![quarantined.clone()]);
    store.archive.put_fact("quarantined", record.into()).await.unwrap();
    let house = House::open_on(store).await;
    assert_eq!(house.node.quarantined(), [quarantined]);
    let (line, page) = house.get("/readyz").await;
    assert_eq!(line, "HTTP/1.1 200 OK", "the others are served");
    assert!(page.contains("guild (replica 3) is quarantined: it differs"), "{page}");
    let (_, page) = house.get("/metrics").await;
    assert!(page.contains(r#"althing_replica_quarantined{community="guild"} 1"#), "{page}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_requests_and_of_the_node() {
    let house = House::open().await;
    house.create("market").await;
    within(house.admin().await.list_communities(ListCommunitiesRequest {})).await.unwrap();
    house.get("/althing.v1.Admin/MadeUpSeries").await;
    house.get("/made/up/series").await;

    let (line, page) = house.get("/metrics").await;
    assert_eq!(line, "HTTP/1.1 200 OK");
    for wanted in [
        r#"althing_api_requests_total{method="/althing.v1.Admin/ListCommunities",code="Ok"}"#,
        r#"althing_api_requests_total{method="unknown",code="Unimplemented"}"#,
        r#"althing_api_request_seconds_bucket{method="/althing.v1.Admin/CreateCommunity",le="+Inf"} "#,
        r#"althing_replica_role{community="market",role="leader"} 1"#,
        r#"althing_replica_sequence{community="market"} 0"#,
        "althing_node_ready 1",
        "althing_wal_fsyncs_total ",
    ] {
        assert!(page.contains(wanted), "{wanted} is not in {page}");
    }
    assert!(!page.contains("MadeUpSeries"), "strangers make up no series");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_its_id_or_is_given_one() {
    let house = House::open().await;
    let mut admin = house.admin().await;
    let mut request = Request::new(ListCommunitiesRequest {});
    request.metadata_mut().insert("x-request-id", "one-of-mine".parse().unwrap());
    let answer = within(admin.list_communities(request)).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "one-of-mine");
    let answer = within(admin.list_communities(ListCommunitiesRequest {})).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap().len(), 16);
    house.close().await;
}
