//! What nodes and clients say to each other: the `.proto` files, the generated code, and every
//! conversion between wire and domain.
//!
//! Conversions to the wire cannot fail; conversions from it are strict and name the field that is
//! wrong ([`Malformed`]). One file per area, so that nobody else writes a field down.

mod generated;

pub mod actor;
pub mod advice;
pub mod consistency;
mod malformed;
pub mod operation;
mod origin;
pub mod receipt;
pub mod refusal;
pub mod status;
pub mod time;
pub mod transition;

pub use consistency::Consistency;
pub use generated::althing::{peer, v1};
pub use malformed::{Malformed, hash, present};

/// Every `.proto` file with what it imports, encoded: what gRPC reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
