//! Chunks back to a state, each verified before it counts.

use super::chunk::{ChunkError, ChunkRef, read_chunk};
use crate::{ids::Hash, state::State};
use bytes::Bytes;

/// A state being put together, chunk by chunk, in the manifest's order.
#[derive(Debug, Default)]
pub struct Restoration {
    state: State,
    last: Option<Bytes>,
}

/// A chunk that does not belong where it was given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RestoreError {
    /// The bytes are not what the manifest names.
    #[error("the bytes given for chunk {hash} are not that chunk: fetch it again")]
    WrongBytes {
        /// The chunk's name.
        hash: Hash,
    },
    /// The bytes are what the manifest names, and no chunk.
    #[error("chunk {hash} cannot be read")]
    Unreadable {
        /// The chunk's name.
        hash: Hash,
        /// Why not.
        #[source]
        source: ChunkError,
    },
    /// Its keys do not follow those of the chunk before.
    #[error("chunk {hash} does not follow the chunk before it")]
    OutOfOrder {
        /// The chunk's name.
        hash: Hash,
    },
    /// The manifest names more chunks than were given.
    #[error("chunk {hash} is missing")]
    Missing {
        /// The first chunk's name.
        hash: Hash,
    },
}

impl Restoration {
    /// Adds the next chunk.
    ///
    /// # Errors
    /// See [`RestoreError`]; nothing is added then.
    pub fn add(&mut self, chunk: ChunkRef, bytes: &[u8]) -> Result<(), RestoreError> {
        let hash = chunk.hash;
        if !chunk.names(bytes) {
            return Err(RestoreError::WrongBytes { hash });
        }
        let pairs = read_chunk(bytes).map_err(|source| RestoreError::Unreadable { hash, source })?;
        let first = pairs.first().map(|(key, _)| key);
        if self.last.as_ref().zip(first).is_some_and(|(last, first)| last >= first) {
            return Err(RestoreError::OutOfOrder { hash });
        }
        for (key, value) in pairs {
            self.last = Some(key.clone());
            self.state.restore_pair(key, value);
        }
        Ok(())
    }

    /// The state, all chunks added.
    #[must_use]
    pub fn finish(self) -> State {
        self.state
    }
}

/// The state that the chunks named by `references`, given in that order, hold.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore<B: AsRef<[u8]>>(
    references: &[ChunkRef],
    chunks: impl IntoIterator<Item = B>,
) -> Result<State, RestoreError> {
    let mut restoration = Restoration::default();
    let mut chunks = chunks.into_iter();
    for reference in references {
        let bytes = chunks.next().ok_or(RestoreError::Missing { hash: reference.hash })?;
        restoration.add(*reference, bytes.as_ref())?;
    }
    Ok(restoration.finish())
}
