//! Sending what is to be imported.

use crate::house::{House, assert_refused, within};
use althing_core::{refusal::Code, snapshot::Chunk};
use althing_proto::v1::{
    self, ImportCommunityRequest, MissingChunksRequest, MissingChunksResponse, UploadChunksRequest,
};
use bytes::Bytes;
use tonic::Code as Grpc;

fn chunk(body: &'static [u8]) -> v1::Chunk {
    let Chunk { hash, bytes } = Chunk::of(Bytes::from_static(body));
    v1::Chunk { hash: Bytes::copy_from_slice(&hash.0), body: bytes }
}

async fn missing(house: &House, hashes: &[Bytes]) -> Result<MissingChunksResponse, tonic::Status> {
    let request = MissingChunksRequest { hashes: hashes.to_vec() };
    within(house.admin().await.missing_chunks(request)).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_not_missing_any_more() {
    let house = House::open().await;
    let (one, other) = (chunk(b"one"), chunk(b"other"));
    let hashes = [one.hash.clone(), other.hash.clone()];
    assert_eq!(missing(&house, &hashes).await.expect("it is told").hashes, hashes);
    let sent = within(house.admin().await.upload_chunks(UploadChunksRequest { chunks: vec![one] })).await;
    sent.expect("it is taken");
    assert_eq!(missing(&house, &hashes).await.expect("it is told").hashes, [other.hash]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_by_name() {
    let house = House::open().await;
    let short = missing(&house, &[Bytes::from_static(b"short")]).await.map(tonic::Response::new);
    assert_eq!(assert_refused(short, Grpc::InvalidArgument, Code::BadRequest).data["field"], "hashes");
    let many = missing(&house, &vec![chunk(b"x").hash; 4097]).await.map(tonic::Response::new);
    assert_eq!(assert_refused(many, Grpc::InvalidArgument, Code::BadRequest).data["field"], "hashes");

    let lie = v1::Chunk { body: Bytes::from_static(b"lie"), ..chunk(b"truth") };
    let sent = within(house.admin().await.upload_chunks(UploadChunksRequest { chunks: vec![lie] })).await;
    assert_refused(sent, Grpc::InvalidArgument, Code::BadRequest);

    let bare = ImportCommunityRequest { name: "copy".to_owned(), ..ImportCommunityRequest::default() };
    let asked = within(house.admin().await.import_community(bare.clone())).await;
    assert_eq!(assert_refused(asked, Grpc::InvalidArgument, Code::BadRequest).data["field"], "origin");
    let page = v1::HistoryPage { hash: chunk(b"page").hash, bytes: 4 };
    let asked = ImportCommunityRequest { history: vec![page], ..bare };
    let asked = within(house.admin().await.import_community(asked)).await;
    assert_eq!(assert_refused(asked, Grpc::InvalidArgument, Code::BadRequest).data["field"], "digest_before");
    house.close().await;
}
