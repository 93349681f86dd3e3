//! The pure machine: given a state and a batch, what happened.
//!
//! Everything here is synchronous and asks the machine nothing: no clock, no randomness, no
//! environment, no I/O, no hash-ordered iteration (promise P1). What a guest runs on is a port
//! ([`program::Program`]); `althing-engine` implements it with Wasm, the node's system community
//! with plain Rust.
//!
//! Read in this order: [`batch`] (what comes in), [`transition`] (what comes out),
//! [`machine`] (how one becomes the other), then [`state`], [`overlay`] and the rest.

#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::float_arithmetic)]

pub mod actor;
pub mod batch;
pub mod codec;
pub mod digest;
pub mod header;
pub mod ids;
pub mod limits;
pub mod machine;
pub mod origin;
pub mod overlay;
pub mod policy;
pub mod portable;
pub mod program;
pub mod records;
pub mod refusal;
pub mod segment;
pub mod sessions;
pub mod snapshot;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod timers;
pub mod transition;
pub mod view;

/// What this crate means by a batch. Raised with every change after which the same state and batch may give
/// another transition; part of every engine fingerprint (promise P11).
pub const SEMANTICS: u32 = 1;
