//! Domain to bytes and back: the one encoding of everything stored, hashed or sent between nodes.
//!
//! A *record* is one byte of format version and a [postcard](https://postcard.jamesmunns.com/wire-format)
//! body: canonical (one value, one encoding) for the types used here, because none of them holds a
//! float, a hash-ordered map or a redundant length. A published version is never edited, only
//! joined by another (promise P10); `tests/golden.rs` holds a vector of each.

use serde::{Serialize, de::DeserializeOwned};

/// The version that this build writes.
pub const VERSION: u8 = 1;

/// Bytes that are no record of the wanted kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Nothing there.
    #[error("the record is empty")]
    Empty,
    /// Written by a newer Althing.
    #[error("the record has format version {found}, this build reads up to {VERSION}: use a newer build")]
    Newer {
        /// The version found.
        found: u8,
    },
    /// Damaged, or another kind of record.
    #[error("the record is damaged: {0}")]
    Damaged(String),
}

/// Encodes a record of the current version.
///
/// # Panics
/// Never for the types of this crate: encoding to memory cannot fail.
#[must_use]
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let body_bytes = postcard::experimental::serialized_size(value).expect("counting cannot fail");
    // Exactly, because records are kept.
    let mut record = Vec::with_capacity(1 + body_bytes);
    record.push(VERSION);
    postcard::to_extend(value, record).expect("encoding to memory cannot fail")
}

/// Decodes a record, which must be used up by it.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (&version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if version != VERSION {
        return Err(DecodeError::Newer { found: version });
    }
    let (value, rest) =
        postcard::take_from_bytes(body).map_err(|error| DecodeError::Damaged(error.to_string()))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError::Damaged(format!("{} bytes too many", rest.len())))
    }
}
