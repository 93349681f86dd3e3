//! The production transport: frames by gRPC, one HTTP/2 connection for each peer and lane.
//!
//! However many communities two nodes share, they share at most one connection for each
//! [`crate::peers::Lane`] and direction, opened when first needed. A frame of another cluster is refused. TLS belongs
//! in [`GrpcTransport`]'s endpoints and [`PeerServer`]'s incoming connections; until then a peer is
//! believed to be the node it says.

mod client;
mod frames;
mod identity;
mod pool;
mod server;

pub use client::GrpcTransport;
pub use identity::Identity;
pub use server::PeerServer;

use std::time::Duration;

/// The version of the frame protocol.
const PROTOCOL_VERSION: u32 = 1;
/// Largest frame, in bytes: a batch and what is around it, several times.
const FRAME_BYTES_MAX: usize = 32 << 20;
/// How much of a stream may be under way before its reader has taken it.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// The same for a whole connection: beyond what its streams hold back together, so that one
/// community that is slow to read does not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;
/// Most requests under way on a connection: more than communities on a node.
const STREAMS_MAX: u32 = 1 << 20;
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a silent connection is asked whether it lives, and how long it has to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

const _: () = {
    assert!(FRAME_BYTES_MAX > 2 * althing_core::limits::BATCH_BYTES_MAX, "a frame holds any one entry");
    assert!(
        FRAME_BYTES_MAX > 2 * crate::raft::READ_BYTES_MAX + althing_core::limits::BATCH_BYTES_MAX,
        "a frame holds what is sent at once"
    );
    assert!(FRAME_BYTES_MAX > 2 * althing_core::limits::PAIR_BYTES_MAX, "a frame holds any chunk");
    // Beside an imported manifest lie the names of its pages of history.
    assert!(
        FRAME_BYTES_MAX >= althing_core::limits::MANIFEST_BYTES_MAX + (8 << 20),
        "a frame holds any manifest"
    );
};
