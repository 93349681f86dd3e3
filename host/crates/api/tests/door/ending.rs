//! How the door closes.

use crate::house::{House, actor, assert_refused, within};
use althing_core::refusal::Code;
use althing_proto::v1::{OpenSessionRequest, SubmitRequest, SubscribeRequest};
use futures::{StreamExt as _, stream};
use tonic::Code as Grpc;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_ended_with_a_word_and_the_door_closes_in_time() {
    let house = House::open().await;
    house.create("hall").await;
    let mut communities = house.communities().await;
    let subscribe = SubscribeRequest { community: "hall".to_owned(), from: 0 };
    let mut news = within(communities.subscribe(subscribe)).await.unwrap().into_inner();
    let open = OpenSessionRequest { community: "hall".to_owned(), actor: actor() };
    let session = within(communities.open_session(open)).await.unwrap().into_inner().session;
    within(news.message()).await.unwrap().unwrap();
    let first = SubmitRequest {
        community: "hall".to_owned(),
        session,
        number: 1,
        actor: actor(),
        ..Default::default()
    };
    let requests = stream::iter([first]).chain(stream::pending());
    let mut answers = within(communities.submit_stream(requests)).await.unwrap().into_inner();
    assert_eq!(within(answers.message()).await.unwrap().unwrap().number, 1);
    let mut health = HealthClient::new(house.channel().await);
    let mut watch =
        within(health.watch(HealthCheckRequest { service: String::new() })).await.unwrap().into_inner();
    within(watch.message()).await.unwrap().unwrap();

    house.close().await;
    assert_refused(within(news.message()).await, Grpc::Unavailable, Code::ShuttingDown);
    assert_refused(within(answers.message()).await, Grpc::Unavailable, Code::ShuttingDown);
    while within(watch.message()).await.unwrap().is_some() {}
}
