//! WAL, snapshots, components and history: SQLite, and an in-memory twin with the same semantics.
//!
//! [`port`] is what the rest of the house knows; [`sqlite`] and [`memory`] are the two
//! implementations; [`conformance`] is the suite that both pass; [`portable`] is a file that leaves the
//! house; [`segments`] are files of archived history. Nothing else here knows what is in
//! a batch, a vote or a chunk: bytes in, bytes out.

pub mod conformance;
pub mod memory;
pub mod port;
pub mod portable;
mod rules;
pub mod segments;
pub mod sqlite;
