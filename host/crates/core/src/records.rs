//! How the host's own records lie in the system keyspace: as [`crate::codec`] records under keys of
//! a readable prefix and big-endian numbers, so that the order of keys is the order of numbers.
//!
//! Which records there are, and what is in them, is known to one owner each: [`crate::header`],
//! [`crate::sessions`], [`crate::timers`].

use crate::{
    codec::{self, DecodeError},
    program::Fault,
    state::{Keyspace, State},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// A state whose system records make no sense: damage, or a bug; never a guest's doing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadState {
    /// A record that must be there is not.
    #[error("the state holds no record {record}: restore it from a snapshot")]
    Missing {
        /// The kind of record.
        record: &'static str,
    },
    /// A record cannot be read.
    #[error("a record {record} of the state cannot be read: restore it from a snapshot")]
    Unreadable {
        /// The kind of record.
        record: &'static str,
        /// Why not.
        #[source]
        source: DecodeError,
    },
    /// Records that say the same in two places do not.
    #[error("the records of a {of} are at odds with each other: restore the state from a snapshot")]
    AtOdds {
        /// Of what.
        of: &'static str,
    },
}

impl From<BadState> for Fault {
    fn from(bad: BadState) -> Self {
        Self::because("the community's state is damaged", bad)
    }
}

/// Reads a record.
pub(crate) fn get<T: DeserializeOwned>(
    state: &State,
    record: &'static str,
    key: &[u8],
) -> Result<Option<T>, BadState> {
    let Some(bytes) = state.get(Keyspace::System, key) else { return Ok(None) };
    match codec::decode(bytes) {
        Ok(value) => Ok(Some(value)),
        Err(source) => Err(BadState::Unreadable { record, source }),
    }
}

/// Reads a record that must be there.
pub(crate) fn require<T: DeserializeOwned>(
    state: &State,
    record: &'static str,
    key: &[u8],
) -> Result<T, BadState> {
    get(state, record, key)?.ok_or(BadState::Missing { record })
}

/// Writes a record.
pub(crate) fn put<T: Serialize>(state: &mut State, key: &[u8], value: &T) {
    state.put(Keyspace::System, key, Some(codec::encode(value).into()));
}

/// Writes a record that says all by its key.
pub(crate) fn put_mark(state: &mut State, key: &[u8]) {
    state.put(Keyspace::System, key, Some(Bytes::new()));
}

/// Takes a record away.
pub(crate) fn remove(state: &mut State, key: &[u8]) {
    state.put(Keyspace::System, key, None);
}

/// The keys with `prefix`, cut off, ascending.
pub(crate) fn with_prefix<'a>(state: &'a State, prefix: &[u8]) -> impl Iterator<Item = Bytes> + use<'a> {
    let mut end = prefix.to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    let length = prefix.len();
    state.range(Keyspace::System, prefix, Some(&end)).map(move |(key, _)| key.slice(length..))
}

/// The first eight bytes of a part of a key, as the number they are.
pub(crate) fn number(record: &'static str, part: &[u8]) -> Result<u64, BadState> {
    match part.first_chunk() {
        Some(bytes) => Ok(u64::from_be_bytes(*bytes)),
        None => Err(BadState::Unreadable { record, source: DecodeError::Damaged("short key".into()) }),
    }
}

/// A part of a key that is these numbers and nothing else.
pub(crate) fn numbers<const N: usize>(record: &'static str, part: &[u8]) -> Result<[u64; N], BadState> {
    let mut numbers = [0; N];
    let (parts, rest) = part.as_chunks();
    if parts.len() != N || !rest.is_empty() {
        let source = DecodeError::Damaged("a key of another length".into());
        return Err(BadState::Unreadable { record, source });
    }
    for (number, part) in numbers.iter_mut().zip(parts) {
        *number = u64::from_be_bytes(*part);
    }
    Ok(numbers)
}
