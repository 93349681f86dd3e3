//! Importing a community: chunks of a bounded number and size, then the word to make it one.

use crate::{answers, door::Door, fields};
use althing_core::{ids::Hash, refusal::Refusal, snapshot::ChunkRef};
use althing_node::{History, Import};
use althing_proto::{Malformed, hash, present, v1};
use bytes::Bytes;

/// Most chunks of one request.
const CHUNKS_MAX: usize = 4096;
/// Most pages of history that come along.
const PAGES_MAX: usize = 65_536;
/// Most pieces of a manifest.
const PIECES_MAX: usize = 64;
/// What the word to make a community has at most: names of 32 bytes, each with its frame, the sizes of pages,
/// and a name, nodes and an origin.
pub(crate) const REQUEST_BYTES_MAX: usize = PIECES_MAX * 34 + PAGES_MAX * 48 + (1 << 20);
/// What to do about too many hashes or chunks.
const ASK_AGAIN: &str = "send several requests";

/// Which of some chunks are not here.
///
/// # Errors
/// Too many at once; storage fails.
pub(crate) async fn missing(
    door: &Door,
    request: v1::MissingChunksRequest,
) -> Result<v1::MissingChunksResponse, Refusal> {
    bounded("hashes", request.hashes.len(), CHUNKS_MAX, ASK_AGAIN)?;
    let hashes = hashes("hashes", &request.hashes)?;
    let missing = door.node.missing_chunks(&hashes).await?;
    let hashes = missing.into_iter().map(|name| Bytes::copy_from_slice(&name.0)).collect();
    Ok(v1::MissingChunksResponse { hashes })
}

/// Stores some chunks.
///
/// # Errors
/// Too many at once; one is not what its name says; there is no room.
pub(crate) async fn chunks(
    door: &Door,
    request: v1::UploadChunksRequest,
) -> Result<v1::UploadChunksResponse, Refusal> {
    let _place = door.upload()?;
    bounded("chunks", request.chunks.len(), CHUNKS_MAX, ASK_AGAIN)?;
    let named = |v1::Chunk { hash: name, body }: v1::Chunk| Ok((hash("chunks.hash", &name)?, body));
    let chunks = request.chunks.into_iter().map(named).collect::<Result<Vec<_>, Malformed>>()?;
    door.node.upload_chunks(chunks).await?;
    Ok(v1::UploadChunksResponse {})
}

/// Makes a community of what was uploaded.
///
/// # Errors
/// What was uploaded is not whole, or not of this engine; the name is taken; a node does not take it in.
pub(crate) async fn community(
    door: &Door,
    request: v1::ImportCommunityRequest,
) -> Result<v1::ImportCommunityResponse, Refusal> {
    let _place = door.upload()?;
    bounded("history", request.history.len(), PAGES_MAX, "leave the oldest pages out")?;
    let larger = "upload the manifest in larger pieces";
    bounded("manifest_pieces", request.manifest_pieces.len(), PIECES_MAX, larger)?;
    let page = |page: v1::HistoryPage| -> Result<ChunkRef, Malformed> {
        Ok(ChunkRef { hash: hash("history.hash", &page.hash)?, bytes: page.bytes })
    };
    let pages = request.history.into_iter().map(page).collect::<Result<Vec<_>, _>>()?;
    let before = match pages.is_empty() {
        true => Hash::default(),
        false => hash("digest_before", &request.digest_before)?,
    };
    let import = Import {
        name: fields::community(request.name)?,
        placement: fields::placement(request.voters, request.nodes)?,
        timing: fields::timing(&request.timing)?,
        manifest: hashes("manifest_pieces", &request.manifest_pieces)?,
        origin: present("origin", request.origin)?.try_into()?,
        history: History { before, pages },
    };
    let record = door.node.import_community(import).await?;
    Ok(v1::ImportCommunityResponse { community: Some(answers::community(&door.node, record)) })
}

fn hashes(field: &'static str, names: &[Bytes]) -> Result<Vec<Hash>, Malformed> {
    names.iter().map(|name| hash(field, name)).collect()
}

/// Refuses too many of something, and says what to do.
fn bounded(field: &'static str, many: usize, max: usize, remedy: &str) -> Result<(), Malformed> {
    if many <= max {
        return Ok(());
    }
    Err(Malformed::new(field, format!("has {many} items, {max} are taken at once: {remedy}")))
}
