//! Importing a community: its chunks are sent to one node, which is then told to make it one.
//!
//! All of it goes to the same node: use a client that knows only that one. Whatever breaks off may be
//! begun again: what the node has is not sent twice.

use crate::{
    admin::{Admin, stub},
    error::CallError,
};
use althing_core::{
    ids::{Hash, NodeId},
    origin::Origin,
    snapshot::{Chunk, ChunkRef},
};
use althing_proto::{hash, present, v1};
use bytes::Bytes;
use std::time::Duration;

/// Most chunks to be asked about, or sent, at once.
pub const CHUNKS_MAX: usize = 4096;
/// Most bytes of chunks that are sent at once, but for a single one.
pub const CHUNKS_BYTES_MAX: usize = 4 << 20;
/// Most pages of history that come along with an import.
pub const HISTORY_PAGES_MAX: usize = 65_536;
/// How long one request of chunks may take.
const UPLOAD: Duration = Duration::from_secs(60);
/// How long all nodes may take to have what the community begins with.
const IMPORT: Duration = Duration::from_secs(900);

/// A community to be made of what was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewImport {
    /// 1 to 64 of a-z, 0-9 and `-`, beginning with a letter.
    pub name: String,
    /// How many voters; 0: as many as there are nodes, at most 3.
    pub voters: u32,
    /// The nodes to begin on, instead of a number.
    pub nodes: Vec<NodeId>,
    /// `lan` or `wan`; empty: `lan`.
    pub timing: String,
    /// Whose state it is.
    pub origin: Origin,
    /// The pieces of the state's manifest, at the origin's sequence, as [`Admin::upload_manifest`] names them.
    pub manifest: Vec<Hash>,
    /// The digest before the first transition of the history.
    pub before: Hash,
    /// The transitions up to the origin's sequence, page by page, uploaded as chunks; at most
    /// [`HISTORY_PAGES_MAX`].
    pub history: Vec<ChunkRef>,
}

impl Admin {
    /// Which of these chunks, at most [`CHUNKS_MAX`], the node has not. Those that it has stay for an hour.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn missing_chunks(&self, hashes: &[Hash]) -> Result<Vec<Hash>, CallError> {
        let hashes = hashes.iter().map(|name| Bytes::copy_from_slice(&name.0)).collect();
        let request = v1::MissingChunksRequest { hashes };
        let told = self
            .client()
            .repeat(request, |channel, request| async move { stub(channel).missing_chunks(request).await })
            .await?;
        Ok(told.hashes.iter().map(|name| hash("hashes", name)).collect::<Result<_, _>>()?)
    }

    /// Sends chunks, at most [`CHUNKS_MAX`] and about [`CHUNKS_BYTES_MAX`] of them, which stay for an hour.
    ///
    /// # Errors
    /// There is no room; nobody answers.
    pub async fn upload_chunks(&self, chunks: Vec<Chunk>) -> Result<(), CallError> {
        let chunk = |Chunk { hash, bytes }| v1::Chunk { hash: Bytes::copy_from_slice(&hash.0), body: bytes };
        let request = v1::UploadChunksRequest { chunks: chunks.into_iter().map(chunk).collect() };
        let call = |channel, request| async move { stub(channel).upload_chunks(request).await };
        let v1::UploadChunksResponse {} = self.client().repeat_within(UPLOAD, request, call).await?;
        Ok(())
    }

    /// Sends an encoded manifest, in as many pieces as it takes, which stay for an hour; their names, in order.
    ///
    /// # Errors
    /// As [`Self::upload_chunks`].
    pub async fn upload_manifest(&self, manifest: &Bytes) -> Result<Vec<Hash>, CallError> {
        let mut names = Vec::new();
        for at in (0..manifest.len()).step_by(CHUNKS_BYTES_MAX) {
            let piece = Chunk::of(manifest.slice(at..manifest.len().min(at + CHUNKS_BYTES_MAX)));
            names.push(piece.hash);
            self.upload_chunks(vec![piece]).await?;
        }
        Ok(names)
    }

    /// Makes a community of what was uploaded, and waits until it can be used. Asked again, with the same
    /// name and origin, it answers with what was made.
    ///
    /// # Errors
    /// Something is not uploaded, or not of the node's engine; the name is taken; a node that is to vote
    /// does not take it in; nobody answers.
    pub async fn import(&self, import: NewImport) -> Result<v1::CommunityInfo, CallError> {
        let page = |page: ChunkRef| v1::HistoryPage {
            hash: Bytes::copy_from_slice(&page.hash.0),
            bytes: page.bytes,
        };
        let request = v1::ImportCommunityRequest {
            name: import.name,
            voters: import.voters,
            nodes: import.nodes.into_iter().map(|node| node.0).collect(),
            timing: import.timing,
            origin: Some(import.origin.into()),
            history: import.history.into_iter().map(page).collect(),
            digest_before: Bytes::copy_from_slice(&import.before.0),
            manifest_pieces: import.manifest.iter().map(|name| Bytes::copy_from_slice(&name.0)).collect(),
        };
        let call = |channel, request| async move { stub(channel).import_community(request).await };
        // It is named by its name and origin: a second time finds the first.
        let told = self.client().repeat_within(IMPORT, request, call).await?;
        Ok(present("community", told.community)?)
    }
}
