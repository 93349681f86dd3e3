//! The machine as its callers see it: batches in, transitions and replies out.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod activation;
mod agreement;
mod faults;
mod importing;
mod memory;
mod operations;
mod policy;
mod sessions;
mod snapshots;
mod stage;
mod strangers;
mod timers;
