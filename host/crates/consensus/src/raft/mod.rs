//! Raft by openraft: the only place that knows its types.
//!
//! Everything is generic over the asynchronous runtime, instantiated twice (tokio's and the
//! simulation's, in [`mod@start`]), and leaves this module as a `dyn` [`Running`].

mod answers;
mod closing;
mod credit;
mod founding;
mod group;
mod log;
mod machine;
mod membership;
mod messages;
mod network;
mod proposals;
mod purge;
mod records;
mod server;
mod sound;
mod start;
mod status;
mod stored;
mod tail;
mod types;

#[cfg(test)]
mod conformance;

pub use founding::founding;
pub(crate) use log::READ_BYTES_MAX;
pub(crate) use server::{RaftService, method};
pub(crate) use start::{GroupParts, start};
pub(crate) use stored::{stored_entry, stored_log, stored_members};

use crate::port::Group;

/// A group that runs on this node: what the node sees of it, and what its peers see.
pub(crate) trait Running: Group + RaftService {}

impl<T: Group + RaftService> Running for T {}
