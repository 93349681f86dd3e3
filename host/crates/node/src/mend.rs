//! Chunks from peers, for those that are missing or damaged here.
//!
//! What comes is verified before it is stored, and any peer will do, since a chunk's name is the hash of its
//! bytes. Whoever hangs or lies is asked for little, or for nothing more, as in a transfer ([`Givers`]).

use crate::{
    peer::ask::Peers,
    refuse,
    snapshots::{self, NotRestored, storage},
    transfer::Givers,
};
use althing_core::{
    ids::{CommunityId, Hash, NodeId},
    machine::Machine,
    snapshot::{ChunkRef, Manifest},
};
use althing_store::port::{Archive, StoreError};
use futures::StreamExt as _;
use std::{sync::Arc, time::Duration};

/// Chunks asked for at a time, so that at most so many are in memory.
const CHUNKS_AT_ONCE: usize = 8;
/// How long a peer may take for one.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(5);
/// Hashes that the archive is asked about at a time.
const HASHES_AT_ONCE: usize = 4096;
/// How often what is found damaged in a snapshot is fetched before it is given up.
const MENDED_MAX: usize = 2;

/// Fetches chunks; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mender {
    archive: Arc<dyn Archive>,
    peers: Peers,
}

impl Mender {
    pub(crate) fn new(archive: Arc<dyn Archive>, peers: Peers) -> Self {
        Self { archive, peers }
    }

    /// As [`snapshots::machine`]; what is found damaged is fetched, and then it is tried again.
    ///
    /// # Errors
    /// As [`snapshots::machine`]: damaged, when nobody has what is.
    pub(crate) async fn restore(
        &self,
        manifest: &Manifest,
        engine: Hash,
        from: &[NodeId],
    ) -> Result<Machine, NotRestored> {
        for _ in 0..MENDED_MAX {
            let fault = match snapshots::machine(&*self.archive, manifest, engine).await {
                Err(NotRestored::Damaged(fault)) => fault,
                restored => return restored,
            };
            let (community, sequence) = (manifest.community, manifest.sequence);
            tracing::error!(%community, %sequence, fault = refuse::chain(&fault), "a snapshot is damaged: peers are asked");
            let completed = self.complete(manifest, from).await;
            if !completed.map_err(|error| NotRestored::Refused(storage("chunks", error)))? {
                return Err(NotRestored::Damaged(fault));
            }
        }
        snapshots::machine(&*self.archive, manifest, engine).await
    }

    /// Fetches the chunks of a snapshot that are missing or condemned; whether it lacks none now. Dropped at
    /// one of its waits, it has stored some.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn complete(&self, manifest: &Manifest, from: &[NodeId]) -> Result<bool, StoreError> {
        let named: Vec<Hash> = manifest.chunks.iter().map(|chunk| chunk.hash).collect();
        let mut missing = Vec::new();
        for hashes in named.chunks(HASHES_AT_ONCE) {
            missing.extend(self.archive.missing_chunks(hashes).await?);
        }
        Ok(self.mend(manifest.community, missing, from).await?.is_empty())
    }

    /// Fetches these chunks from whichever peer has them, and stores them; those that none has. Dropped at
    /// one of its waits, it has stored some.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn mend(
        &self,
        community: CommunityId,
        chunks: Vec<Hash>,
        from: &[NodeId],
    ) -> Result<Vec<Hash>, StoreError> {
        let Some((&first, others)) = from.split_first() else { return Ok(chunks) };
        let givers = Givers::of_anything(first, others.iter().copied());
        let fetch = async |hash| {
            let is_it = |bytes: &[u8]| ChunkRef::of(bytes).hash == hash;
            (hash, givers.fetch(&self.peers, community, hash, CHUNK_TIMEOUT, is_it).await)
        };
        let mut fetched = futures::stream::iter(chunks).map(fetch).buffer_unordered(CHUNKS_AT_ONCE);
        let mut left = Vec::new();
        while let Some((hash, found)) = fetched.next().await {
            match found {
                Some((bytes, from)) => {
                    self.archive.put_chunks(vec![(hash, bytes)]).await?;
                    metrics::counter!("althing_chunks_mended_total").increment(1);
                    tracing::warn!(%community, chunk = %hash, %from, "a chunk that was damaged or missing is whole again");
                }
                None => left.push(hash),
            }
        }
        Ok(left)
    }
}
