//! How far a transfer has come: for the log, metrics and `althing status`.

use althing_core::{
    ids::{CommunityId, NodeId, Sequence},
    snapshot::{ChunkRef, Manifest},
};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// A snapshot on its way to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferStatus {
    /// The node that offers it.
    pub from: NodeId,
    /// The last transition in it.
    pub sequence: Sequence,
    /// Its chunks.
    pub chunks: u64,
    /// Those of them that are stored here.
    pub chunks_here: u64,
    /// The bytes of its chunks.
    pub bytes: u64,
    /// Those of them that are stored here.
    pub bytes_here: u64,
}

impl TransferStatus {
    /// How much is here, in hundredths; 100 while the state is put together from what is here.
    #[must_use]
    pub fn percent(&self) -> u64 {
        self.bytes_here.saturating_mul(100).checked_div(self.bytes).unwrap_or(100)
    }
}

/// One transfer, from its offer to its end.
pub(super) struct Progress {
    pub(super) community: CommunityId,
    from: NodeId,
    sequence: Sequence,
    chunks: u64,
    bytes: u64,
    chunks_here: AtomicU64,
    bytes_here: AtomicU64,
    is_whole: AtomicBool,
    ended: Notify,
}

impl Progress {
    pub(super) fn new(from: NodeId, manifest: &Manifest) -> Self {
        Self {
            community: manifest.community,
            from,
            sequence: manifest.sequence,
            chunks: manifest.chunks.len() as u64,
            bytes: manifest.bytes(),
            chunks_here: AtomicU64::new(0),
            bytes_here: AtomicU64::new(0),
            is_whole: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    pub(super) fn status(&self) -> TransferStatus {
        TransferStatus {
            from: self.from,
            sequence: self.sequence,
            chunks: self.chunks,
            chunks_here: self.chunks_here.load(Ordering::Relaxed),
            bytes: self.bytes,
            bytes_here: self.bytes_here.load(Ordering::Relaxed),
        }
    }

    /// All is here but these.
    pub(super) fn lacks(&self, missing: &[ChunkRef]) {
        let bytes: u64 = missing.iter().map(|chunk| chunk.bytes).sum();
        self.chunks_here.store(self.chunks - missing.len() as u64, Ordering::Relaxed);
        self.bytes_here.store(self.bytes - bytes, Ordering::Relaxed);
    }

    /// These have come, and are stored.
    pub(super) fn has_stored(&self, chunks: u64, bytes: u64) {
        self.chunks_here.fetch_add(chunks, Ordering::Relaxed);
        self.bytes_here.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("althing_transfer_chunks_total").increment(chunks);
        metrics::counter!("althing_transfer_bytes_total").increment(bytes);
    }

    /// All is here: what follows is putting the state together.
    pub(super) fn set_whole(&self) {
        self.is_whole.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Relaxed)
    }

    /// Another takes its place, or its community goes.
    pub(super) fn end(&self) {
        self.ended.notify_one();
    }

    /// Waits for [`Self::end`].
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }
}
