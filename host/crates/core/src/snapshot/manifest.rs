//! The manifest: what a snapshot is of, and the chunks it is made of.
//!
//! A [`codec`] record, followed by 32 bytes: the record's hash, so that a torn or damaged manifest
//! is never taken for a snapshot.

use super::chunk::ChunkRef;
use crate::{
    batch::ProgramManifest,
    codec::{self, DecodeError},
    ids::{CommunityId, Hash, Sequence},
    limits,
    time::Timestamp,
    view::View,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const DOMAIN: &str = "althing 2026 manifest v1";
const DOMAIN_ROOT: &str = "althing 2026 state root v1";
/// What a chunk has at least: a version, and a pair of the shortest key and no value.
const CHUNK_BYTES_LEAST: u64 = 5;

/// A snapshot, but for its chunks' bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The community.
    pub community: CommunityId,
    /// The last transition in it.
    pub sequence: Sequence,
    /// The last log entry in it.
    pub log_index: u64,
    /// That entry's id in consensus's own words.
    pub log_id: Bytes,
    /// The members at that entry, in consensus's own words.
    pub membership: Bytes,
    /// The program in force.
    pub program: Option<ProgramManifest>,
    /// The fingerprint of the engine that made the state; none when no engine was needed.
    pub fingerprint: Option<Hash>,
    /// The digest up to and including the last transition.
    pub digest: Hash,
    /// The effective time of the last batch.
    pub time: Timestamp,
    /// The chunks, in order.
    pub chunks: Vec<ChunkRef>,
    /// [`state_root`] of the chunks.
    pub state_root: Hash,
}

/// Bytes that are no manifest, or one that speaks of another state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// Too short to hold its own hash.
    #[error("the manifest is cut off: {bytes} bytes")]
    CutOff {
        /// How many bytes there are.
        bytes: usize,
    },
    /// The hash at its end is not that of what is before it.
    #[error("the manifest is damaged: its hash is {found}, its footer says {wanted}")]
    Damaged {
        /// What its bytes hash to.
        found: Hash,
        /// What its footer says.
        wanted: Hash,
    },
    /// Intact, but not a manifest that this build reads.
    #[error("the manifest cannot be read")]
    Unreadable(#[source] DecodeError),
    /// The state root is not that of the chunk list.
    #[error("the manifest's state root is not that of its chunks")]
    WrongRoot,
    /// The state in the chunks is not the one that the manifest says.
    #[error("the snapshot's state has another {what} than its manifest")]
    OtherState {
        /// What differs.
        what: &'static str,
    },
    /// No state has so many chunks, none at all, or so many bytes of them.
    #[error("the manifest names {chunks} chunks of {bytes} bytes, which is no state that there can be")]
    NoSuchState {
        /// How many chunks.
        chunks: usize,
        /// How many bytes they have together.
        bytes: u64,
    },
    /// No chunk is so large, or so small.
    #[error("the manifest names chunk {hash} of {bytes} bytes, which is no size of a chunk")]
    NoSuchChunk {
        /// The chunk.
        hash: Hash,
        /// Its size as the manifest has it.
        bytes: u64,
    },
    /// Chunks hold different keys, so none comes twice.
    #[error("the manifest names chunk {hash} twice")]
    Repeated {
        /// The chunk.
        hash: Hash,
    },
}

/// The name of a whole state: the hash of its chunk list.
#[must_use]
pub fn state_root(chunks: &[ChunkRef]) -> Hash {
    Hash::of(DOMAIN_ROOT, &codec::encode(chunks))
}

impl Manifest {
    /// The manifest of a view that was cut into `chunks`; what consensus and the engine have to say
    /// is still empty.
    #[must_use]
    pub fn of(view: &View, chunks: Vec<ChunkRef>) -> Self {
        Self {
            community: view.community(),
            sequence: view.sequence(),
            log_index: 0,
            log_id: Bytes::new(),
            membership: Bytes::new(),
            program: view.program_manifest().cloned(),
            fingerprint: None,
            digest: view.digest(),
            time: view.time(),
            state_root: state_root(&chunks),
            chunks,
        }
    }

    /// As bytes, with its hash at their end.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = codec::encode(self);
        let footer = Hash::of(DOMAIN, &bytes);
        bytes.extend_from_slice(&footer.0);
        bytes.into()
    }

    /// Back from bytes, which may be anybody's: what comes out is intact and within the bounds of
    /// [`limits`]. Whether its chunks are what it says is seen when they are there.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (record, footer) =
            bytes.split_last_chunk().ok_or(ManifestError::CutOff { bytes: bytes.len() })?;
        let (found, wanted) = (Hash::of(DOMAIN, record), Hash(*footer));
        if found != wanted {
            return Err(ManifestError::Damaged { found, wanted });
        }
        let manifest: Self = codec::decode(record).map_err(ManifestError::Unreadable)?;
        if manifest.state_root != state_root(&manifest.chunks) {
            return Err(ManifestError::WrongRoot);
        }
        manifest.check_chunks()?;
        Ok(manifest)
    }

    /// How many bytes its chunks have together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.bytes))
    }

    fn check_chunks(&self) -> Result<(), ManifestError> {
        let (chunks, bytes) = (self.chunks.len(), self.bytes());
        if chunks == 0 || chunks > limits::SNAPSHOT_CHUNKS_MAX || bytes > limits::SNAPSHOT_BYTES_MAX {
            return Err(ManifestError::NoSuchState { chunks, bytes });
        }
        let mut seen = BTreeSet::new();
        for &ChunkRef { hash, bytes } in &self.chunks {
            if bytes < CHUNK_BYTES_LEAST || bytes > limits::PAIR_BYTES_MAX as u64 {
                return Err(ManifestError::NoSuchChunk { hash, bytes });
            }
            if !seen.insert(hash) {
                return Err(ManifestError::Repeated { hash });
            }
        }
        Ok(())
    }

    /// Its own hash: what its footer says.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(DOMAIN, &codec::encode(self))
    }

    /// Whether a restored community is the one this manifest speaks of: to be asked before it is
    /// used.
    ///
    /// # Errors
    /// [`ManifestError::OtherState`].
    pub fn check(&self, view: &View) -> Result<(), ManifestError> {
        let facts = [
            ("community", self.community == view.community()),
            ("sequence", self.sequence == view.sequence()),
            ("digest", self.digest == view.digest()),
            ("time", self.time == view.time()),
            ("program", self.program.as_ref() == view.program_manifest()),
        ];
        match facts.into_iter().find(|(_, agrees)| !agrees) {
            Some((what, _)) => Err(ManifestError::OtherState { what }),
            None => Ok(()),
        }
    }
}
