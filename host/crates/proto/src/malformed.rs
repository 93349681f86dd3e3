//! What a message can be besides right, and the two checks that nearly every conversion makes.

use althing_core::{
    ids::Hash,
    refusal::{Code, Refusal},
};
use bytes::Bytes;

/// A message that says something impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field `{field}` {why}")]
pub struct Malformed {
    /// The field, as the `.proto` file names it.
    pub field: &'static str,
    /// What is wrong with it, as the end of a sentence that begins with its name.
    pub why: String,
}

impl Malformed {
    /// The field, and what is wrong with it.
    #[must_use]
    pub fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::new(Code::BadRequest, malformed.to_string()).with("field", malformed.field)
    }
}

/// A field that has to be there.
///
/// # Errors
/// It is not.
pub fn present<T>(field: &'static str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed::new(field, "is missing"))
}

/// A field that holds a hash.
///
/// # Errors
/// It has not 32 bytes.
pub fn hash(field: &'static str, bytes: &[u8]) -> Result<Hash, Malformed> {
    let bytes = bytes
        .try_into()
        .map_err(|_| Malformed::new(field, format!("has {} bytes, a hash has 32", bytes.len())))?;
    Ok(Hash(bytes))
}

/// A hash as a field.
pub(crate) fn hash_bytes(hash: Hash) -> Bytes {
    Bytes::copy_from_slice(&hash.0)
}
