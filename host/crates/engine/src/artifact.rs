//! A compiled component with what was learned about it: what the cache keeps.
//!
//! The one place where machine code is taken from bytes. Bytes reach it from this process's
//! compiler, from the compiler process, or from a cache file whose checksum is right.

use crate::{admission::Kind, describe::Description};
use althing_core::codec;
use serde::{Deserialize, Serialize};
use wasmtime::component::Component;

/// A compiled component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) kind: Kind,
    /// As it described itself at installation.
    pub(crate) description: Description,
    /// Linear memory its instances begin with.
    pub(crate) memory_bytes: u64,
    /// What wasmtime serialized.
    pub(crate) code: bytes::Bytes,
}

const CHECKSUM_BYTES: usize = 32;
const CHECKSUM_DOMAIN: &str = "althing 2026 engine artifact v1";

/// A cache entry that is not what was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damaged {
    #[error("the checksum is wrong")]
    Checksum,
    #[error("the record cannot be read")]
    Record(#[from] codec::DecodeError),
}

impl Artifact {
    /// The record and its checksum.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = codec::encode(self);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let (record, found) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Damaged::Checksum)?;
        if *found != checksum(record) {
            return Err(Damaged::Checksum);
        }
        Ok(codec::decode(record)?)
    }
}

fn checksum(record: &[u8]) -> [u8; CHECKSUM_BYTES] {
    althing_core::ids::Hash::of(CHECKSUM_DOMAIN, record).0
}

/// Makes serialized machine code a component.
#[expect(
    unsafe_code,
    reason = "wasmtime trusts serialized code; here it comes from our own compiler, checksummed"
)]
pub(crate) fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was serialized by this version of wasmtime, by our compiler; what lay on
    // disk has passed its checksum. Wasmtime compares its version, the target and the settings itself.
    unsafe { Component::deserialize(engine, code) }
}
