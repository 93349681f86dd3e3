//! A portable file: named parts in order, in one SQLite file that nothing else is needed to read.
//!
//! Each part carries a hash over itself and all before it, and the last row seals them: what is
//! altered, missing or cut off is found, and where. What the parts mean is for others to know.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use althing_core::ids::Hash;
use bytes::Bytes;
use std::path::PathBuf;

const APPLICATION_ID: i64 = 0x416c_5450; // "AlTP"
const VERSION: i64 = 1;
const SCHEMA: &str = include_str!("schema.sql");
const DOMAIN: &str = "althing 2026 portable part v1";

/// A part as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place, from 1.
    pub place: u64,
    /// What it is.
    pub kind: String,
    /// What it is called.
    pub name: String,
    /// What is in it.
    pub body: Bytes,
}

/// What is wrong with a portable file.
#[derive(Debug, thiserror::Error)]
pub enum PortableError {
    /// Something of that name is there.
    #[error("{} is there already: choose another name, or remove it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{} cannot be {what}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is something else.
    #[error("{} is no export of a community: `althing export` writes one", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a later version.
    #[error(
        "{} has format {found}, this version of althing knows formats up to {VERSION}: use the version that wrote it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// What is in it is not what was written.
    #[error("{} is damaged: {what}; export again, or use another copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What, and where.
        what: String,
    },
}

/// The hash over a part and all before it.
fn link(before: Hash, kind: &str, name: &str, body: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    hasher.update(&before.0);
    hasher.update(&(kind.len() as u64).to_le_bytes());
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(kind.as_bytes());
    hasher.update(name.as_bytes());
    hasher.update(body);
    Hash(*hasher.finalize().as_bytes())
}
