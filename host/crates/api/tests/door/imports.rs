//! Sending what is to be imported.

use crate::house::{House, assert_refused, within};
use althing_core::{
    ids::{CommunityId, Hash},
    limits,
    machine::Machine,
    origin::Origin,
    policy::Policy,
    refusal::Code,
    snapshot::{Chunk, ChunkRef, Manifest},
};
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

/// As of the largest state: more than two messages hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_no_message_holds_comes_in_pieces() {
    let house = House::open().await;
    let named = |number: usize| {
        let mut name = [0; 32];
        name[..8].copy_from_slice(&number.to_le_bytes());
        ChunkRef { hash: Hash(name), bytes: 60 << 10 }
    };
    let machine = Machine::new(CommunityId(7), Policy::default());
    let manifest = Manifest::of(&machine.view(), (0..limits::SNAPSHOT_CHUNKS_MAX).map(named).collect());
    let encoded = manifest.encode();
    assert!(encoded.len() > 16 << 20, "{} bytes", encoded.len());
    let alone = v1::Chunk { body: encoded.clone(), hash: chunk(b"whole").hash };
    let sent = within(house.admin().await.upload_chunks(UploadChunksRequest { chunks: vec![alone] })).await;
    assert_eq!(sent.expect_err("no message is so large").code(), Grpc::OutOfRange);

    let pieces: Vec<Chunk> =
        encoded.chunks(4 << 20).map(|piece| Chunk::of(Bytes::copy_from_slice(piece))).collect();
    let name = |piece: &Chunk| Bytes::copy_from_slice(&piece.hash.0);
    for piece in &pieces {
        let one = v1::Chunk { hash: name(piece), body: piece.bytes.clone() };
        let sent = house.admin().await.upload_chunks(UploadChunksRequest { chunks: vec![one] }).await;
        sent.expect("it is taken");
    }
    let origin = Origin {
        cluster: "01".repeat(16),
        community: manifest.community,
        name: "guild".to_owned(),
        sequence: manifest.sequence,
        digest: manifest.digest,
        seal: Hash([7; 32]),
    };
    let request = ImportCommunityRequest {
        name: "copy".to_owned(),
        origin: Some(origin.into()),
        manifest_pieces: pieces.iter().map(name).collect(),
        ..ImportCommunityRequest::default()
    };
    let asked = within(house.admin().await.import_community(request.clone())).await;
    let refusal = assert_refused(asked, Grpc::InvalidArgument, Code::BadRequest);
    let wanted = format!("upload the {} that are missing", manifest.chunks.len());
    assert!(refusal.message.contains(&wanted), "the manifest was read: {refusal}");

    let many = ImportCommunityRequest { manifest_pieces: vec![name(&pieces[0]); 65], ..request };
    let asked = within(house.admin().await.import_community(many)).await;
    let refusal = assert_refused(asked, Grpc::InvalidArgument, Code::BadRequest);
    assert!(refusal.message.contains("in larger pieces"), "{refusal}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_chunk_there_can_be_is_taken() {
    let house = House::open().await;
    let largest = Chunk::of(vec![7; limits::PAIR_BYTES_MAX].into());
    let largest = v1::Chunk { hash: Bytes::copy_from_slice(&largest.hash.0), body: largest.bytes };
    let sent = within(house.admin().await.upload_chunks(UploadChunksRequest { chunks: vec![largest] })).await;
    sent.expect("it is taken");
    house.close().await;
}
