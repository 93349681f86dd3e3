//! One chunk: some consecutive pairs of the state, at most [`limits::CHUNK_BYTES_MAX`] bytes of them.
//!
//! A chunk is one byte of format version and its pairs, each a key and a value with their lengths
//! (postcard), ascending. Where it ends depends on nothing but the pairs from its beginning on and
//! the first pair of the next, so a change of the state changes the chunks around it and no others.
//!
//! After each pair beyond [`limits::CHUNK_BYTES_MIN`] a hash of its *key*, weighed by the size of the
//! pair, says whether the chunk ends: chunks have on average the same size whatever the size of
//! pairs, and a new value under an old key moves no boundary, or hardly ever. A guest that chooses
//! its keys so that none ends a chunk gets chunks of the largest size, and nobody else does.

use crate::{codec, ids::Hash, limits, state::State};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The format that this build writes.
const VERSION: u8 = 1;
const DOMAIN: &str = "althing 2026 chunk v1";
/// The key of the hash that finds boundaries.
const BOUNDARY_KEY: &[u8; 32] = b"althing 2026 chunk boundaries v1";

/// A chunk, named by the hash of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its name.
    pub hash: Hash,
    /// Not compressed.
    pub bytes: Bytes,
}

impl Chunk {
    /// These bytes with their name, whether or not they can be read as a chunk of a state.
    #[must_use]
    pub fn of(bytes: Bytes) -> Self {
        Self { hash: Hash::of(DOMAIN, &bytes), bytes }
    }

    /// What a manifest says of it.
    #[must_use]
    pub fn reference(&self) -> ChunkRef {
        ChunkRef { hash: self.hash, bytes: self.bytes.len() as u64 }
    }
}

/// What a manifest says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Its name.
    pub hash: Hash,
    /// How many bytes it has, not compressed.
    pub bytes: u64,
}

impl ChunkRef {
    /// What a manifest says of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { hash: Hash::of(DOMAIN, bytes), bytes: bytes.len() as u64 }
    }

    /// Whether `bytes` are this chunk: to be asked before they are stored.
    #[must_use]
    pub fn names(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && Self::of(bytes) == *self
    }
}

/// Bytes that are no chunk.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChunkError {
    /// Nothing there, not even a version.
    #[error("the chunk is empty")]
    Empty,
    /// Written by a newer Althing.
    #[error("the chunk has format version {found}, this build reads up to {VERSION}: use a newer build")]
    Newer {
        /// The version found.
        found: u8,
    },
    /// A pair that cannot be read, or is not encoded as this format encodes it.
    #[error("the chunk is damaged at byte {at}")]
    Damaged {
        /// Where the pair begins.
        at: usize,
    },
    /// A pair that is not in its place.
    #[error("the chunk's keys are out of order at byte {at}")]
    OutOfOrder {
        /// Where the pair begins.
        at: usize,
    },
}

/// The chunks of a state, in order.
pub fn chunks(state: &State) -> impl Iterator<Item = Chunk> + '_ {
    let mut next = state.stored_pairs().next().map(|(first, _)| first.clone());
    std::iter::from_fn(move || {
        let (chunk, after) = chunk_from(state, next.as_ref()?);
        next = after;
        Some(chunk)
    })
}

/// The chunk that begins at the key `first`, and the key at which the one after begins.
pub(super) fn chunk_from(state: &State, first: &[u8]) -> (Chunk, Option<Bytes>) {
    let mut bytes = vec![VERSION];
    let mut next = None;
    let mut is_full = false;
    for (key, value) in state.stored_from(first) {
        let before = bytes.len();
        bytes = write_pair(bytes, key, value);
        let overflows = before > 1 && bytes.len() > limits::CHUNK_BYTES_MAX;
        if is_full || overflows {
            bytes.truncate(before);
            next = Some(key.clone());
            break;
        }
        is_full = bytes.len() >= limits::CHUNK_BYTES_MIN && is_boundary(key, bytes.len() - before);
    }
    let bytes = Bytes::from(bytes);
    (Chunk::of(bytes), next)
}

/// The pairs of a chunk, stored keys with their keyspace. Strict: what it reads, [`chunks`] could
/// have written, but for where the chunk begins and ends.
///
/// # Errors
/// See [`ChunkError`].
pub fn read_chunk(bytes: &[u8]) -> Result<Vec<(Bytes, Bytes)>, ChunkError> {
    let (&version, mut rest) = bytes.split_first().ok_or(ChunkError::Empty)?;
    if version != VERSION {
        return Err(ChunkError::Newer { found: version });
    }
    let mut pairs: Vec<(Bytes, Bytes)> = Vec::new();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let ((key, value), after) =
            postcard::take_from_bytes::<(Bytes, Bytes)>(rest).map_err(|_| ChunkError::Damaged { at })?;
        // Only its lengths could be written in another way, and then they are longer.
        if !State::is_stored_key(&key) || rest.len() - after.len() != written_bytes(&key, &value) {
            return Err(ChunkError::Damaged { at });
        }
        if pairs.last().is_some_and(|(last, _)| *last >= key) {
            return Err(ChunkError::OutOfOrder { at });
        }
        pairs.push((key, value));
        rest = after;
    }
    Ok(pairs)
}

/// Where the pairs of two chunks part that begin at the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairDifference {
    /// The stored key, keyspace byte first: the smaller one if they differ in that.
    pub key: Bytes,
    /// Its value in the one; none if it has no such key.
    pub own: Option<Bytes>,
    /// Its value in the other.
    pub other: Option<Bytes>,
}

/// The first pair in which two chunks differ; none if the shorter one is a beginning of the other.
///
/// # Errors
/// [`ChunkError`] when one cannot be read.
pub fn first_difference(own: &[u8], other: &[u8]) -> Result<Option<PairDifference>, ChunkError> {
    let mut pairs = read_chunk(own)?.into_iter().zip(read_chunk(other)?);
    let Some(((key, own), (other_key, other))) = pairs.find(|(own, other)| own != other) else {
        return Ok(None);
    };
    let of = |mine: &Bytes, value: Bytes, least: &Bytes| (mine == least).then_some(value);
    let least = key.clone().min(other_key.clone());
    let (own, other) = (of(&key, own, &least), of(&other_key, other, &least));
    Ok(Some(PairDifference { key: least, own, other }))
}

fn write_pair(bytes: Vec<u8>, key: &Bytes, value: &Bytes) -> Vec<u8> {
    postcard::to_extend(&(key, value), bytes).expect("encoding to memory cannot fail")
}

/// How many bytes [`write_pair`] writes.
fn written_bytes(key: &Bytes, value: &Bytes) -> usize {
    let with_length = |bytes: &Bytes| {
        let significant_bits = usize::BITS - bytes.len().leading_zeros();
        significant_bits.div_ceil(7).max(1) as usize + bytes.len()
    };
    with_length(key) + with_length(value)
}

/// Whether a chunk ends after this pair, once it is large enough: with a chance of the pair's bytes
/// in [`limits::CHUNK_BYTES_MORE`].
fn is_boundary(key: &[u8], pair_bytes: usize) -> bool {
    let hash = blake3::keyed_hash(BOUNDARY_KEY, key);
    let number = u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"));
    let chance_of_a_byte = u64::MAX / limits::CHUNK_BYTES_MORE as u64;
    number < chance_of_a_byte.saturating_mul(pair_bytes as u64)
}

const _: () = assert!(VERSION == codec::VERSION, "so far they go together");
