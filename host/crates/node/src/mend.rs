//! Chunks from peers, for those that are missing or damaged here.
//!
//! What comes is verified before it is stored, and whoever sent something else is passed over: any peer
//! will do, since a chunk's name is the hash of its bytes.

use crate::peer::{ask::Peers, method};
use althing_consensus::peers::Lane;
use althing_core::{
    ids::{CommunityId, Hash, NodeId},
    snapshot::ChunkRef,
};
use althing_store::port::{Archive, StoreError};
use bytes::Bytes;
use futures::StreamExt as _;
use std::{sync::Arc, time::Duration};

/// Chunks asked for at a time, so that at most so many are in memory.
const CHUNKS_AT_ONCE: usize = 8;
/// How long a peer may take for one.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(5);

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
        let mut left = Vec::new();
        let mut fetched = futures::stream::iter(chunks)
            .map(async |hash| (hash, self.fetch(community, hash, from).await))
            .buffered(CHUNKS_AT_ONCE);
        while let Some((hash, bytes)) = fetched.next().await {
            match bytes {
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

    async fn fetch(&self, community: CommunityId, hash: Hash, from: &[NodeId]) -> Option<(Bytes, NodeId)> {
        for &node in from {
            let asked = self.peers.ask(node, Lane::Bulk, community, method::CHUNK, &hash, CHUNK_TIMEOUT);
            let bytes: Bytes = match asked.await {
                Ok(bytes) => bytes,
                Err(refusal) => {
                    tracing::debug!(chunk = %hash, %node, %refusal, "a peer does not help");
                    continue;
                }
            };
            if ChunkRef::of(&bytes).hash == hash {
                return Some((bytes, node));
            }
            tracing::warn!(chunk = %hash, %node, "a peer sent other bytes than asked for");
        }
        None
    }
}
