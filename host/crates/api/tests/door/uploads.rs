//! Uploading components.

use crate::house::{House, assert_refused, within};
use althing_core::{
    ids::Hash,
    refusal::{Code, Refusal},
};
use althing_proto::v1::{UploadComponentRequest, UploadHeader, upload_component_request::Part};
use bytes::Bytes;
use futures::stream;
use tonic::Code as Grpc;

fn header(body: &[u8], bytes: u64) -> Part {
    Part::Header(UploadHeader { hash: Bytes::copy_from_slice(&Hash::of_component(body).0), bytes })
}

async fn refusal(house: &House, parts: Vec<Part>, code: Code) -> Refusal {
    let parts = parts.into_iter().map(|part| UploadComponentRequest { part: Some(part) });
    let answer = within(house.admin().await.upload_component(stream::iter(parts))).await;
    assert_refused(answer, Grpc::InvalidArgument, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_no_component() {
    let house = House::open().await;
    let body = b"this is no component";
    let parts = vec![header(body, body.len() as u64), Part::Piece(Bytes::from_static(body))];
    let told = refusal(&house, parts, Code::BadComponent).await;
    assert!(told.message.contains("component"), "{told}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_announced_is_refused_before_it_is_kept() {
    let house = House::open().await;
    let piece = Part::Piece(Bytes::from_static(b"abc"));
    refusal(&house, vec![], Code::BadRequest).await;
    refusal(&house, vec![piece.clone()], Code::BadRequest).await;
    let told = refusal(&house, vec![header(b"abc", 2), piece.clone()], Code::BadRequest).await;
    assert_eq!(told.data["announced"], "2");
    refusal(&house, vec![header(b"abc", 4), piece.clone()], Code::BadRequest).await;
    refusal(&house, vec![header(b"xyz", 3), piece], Code::BadRequest).await;
    refusal(&house, vec![header(b"abc", 1 << 30)], Code::BadComponent).await;
    house.close().await;
}
