//! Snapshots: a community's state at one sequence, as chunks named by their content and a manifest
//! that names them.
//!
//! Equal states give equal chunks, whatever their histories, so a chunk is stored and sent once, and
//! replicas compare [`state_root`]s. This module cuts and restores; storing, sending and compressing
//! are for others.

mod chunk;
mod cut;
mod manifest;
mod restoration;

pub use chunk::{Chunk, ChunkError, ChunkRef, PairDifference, chunks, first_difference, read_chunk};
pub use cut::{Cut, Cutter, Piece, Rechecked};
pub use manifest::{Manifest, ManifestError, state_root};
pub use restoration::{Restoration, RestoreError, restore};
