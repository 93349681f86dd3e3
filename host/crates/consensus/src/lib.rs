//! The consensus port and its Raft implementation on openraft.
//!
//! [`port`] is what the node knows: a group that orders opaque payloads, and a state machine that
//! executes them; [`Consensus`] runs the groups of one node. [`peers`] is how nodes speak to each
//! other, [`runtime`] how tasks are spawned and time is read: both have a production side ([`wire`],
//! tokio) and a simulated one ([`memory`], virtual time). `raft` is the only place that knows
//! openraft, besides the simulated runtime. [`stored`] reads what a group has left on disk.

mod consensus;
pub mod memory;
pub mod peers;
pub mod port;
mod raft;
pub mod runtime;
pub mod stored;
pub mod wire;

pub use consensus::{Consensus, ConsensusOptions};
pub use raft::founding;
