//! How nodes speak to each other: frames on shared connections.
//!
//! One connection for each peer and [`Lane`], whatever the number of communities. A frame names its
//! cluster, sender, community and method; its body is a record of `althing_core::codec`. Raft's own
//! methods are served by this crate, the node registers the others. In production frames travel by
//! gRPC (`raft`-agnostic, see `wire`), in a simulation through memory.

use althing_core::ids::{CommunityId, NodeId};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

/// A cluster: minted once, when it is bootstrapped. Nodes of different clusters never speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Which connection a frame takes, so that heartbeats never wait behind a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes, heartbeats, small questions.
    Control,
    /// Log replication and forwarded operations.
    Log,
    /// Chunks and components.
    Bulk,
}

/// What is asked of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRequest {
    /// About which community; [`CommunityId::SYSTEM`] where none is meant.
    pub community: CommunityId,
    /// The method's name, such as `raft/vote` or `node/forward`.
    pub method: &'static str,
    /// A record of the method's own kind.
    pub body: Bytes,
}

/// Why a peer gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No connection was made: the peer has certainly not seen the request.
    #[error("node {node} cannot be connected to: {why}")]
    NotConnected {
        /// The peer; 0 when only its address is known.
        node: NodeId,
        /// What the transport said.
        why: String,
    },
    /// The connection broke: the peer may or may not have seen the request.
    #[error("node {node} is unreachable: {why}")]
    Unreachable {
        /// The peer; 0 when only its address is known.
        node: NodeId,
        /// What the transport said.
        why: String,
    },
    /// No answer in time: the peer may or may not have acted.
    #[error("node {node} did not answer within {millis} ms")]
    TimedOut {
        /// The peer.
        node: NodeId,
        /// The bound.
        millis: u64,
    },
    /// The peer answered with an error of its own; it did not act, or says what it did in `body`.
    #[error("node {node} refused: {message}")]
    Refused {
        /// The peer.
        node: NodeId,
        /// A stable code.
        code: String,
        /// For people.
        message: String,
    },
    /// No address is known for the node.
    #[error("no address is known for node {node}")]
    NoAddress {
        /// The node.
        node: NodeId,
    },
}

/// A stream of bodies from a peer.
pub type PeerStream = BoxStream<'static, Result<Bytes, PeerError>>;

/// Speaks to peers.
#[async_trait]
pub trait PeerTransport: Send + Sync {
    /// Asks a node and waits for its answer, at most `timeout`.
    async fn call(
        &self,
        to: NodeId,
        lane: Lane,
        request: PeerRequest,
        timeout: Duration,
    ) -> Result<Bytes, PeerError>;

    /// Asks whoever listens at an address: for joining, before ids are known.
    async fn call_address(
        &self,
        address: &str,
        request: PeerRequest,
        timeout: Duration,
    ) -> Result<Bytes, PeerError>;

    /// Opens a stream of requests and answers. The first item of `input` goes out with the opening,
    /// which takes at most `timeout`.
    async fn stream(
        &self,
        to: NodeId,
        lane: Lane,
        request: PeerRequest,
        input: BoxStream<'static, Bytes>,
        timeout: Duration,
    ) -> Result<PeerStream, PeerError>;

    /// Sets where a node listens. Known addresses survive only in the caller's store.
    fn set_address(&self, node: NodeId, address: String);

    /// Where a node listens, as far as known.
    fn address(&self, node: NodeId) -> Option<String>;
}

/// Serves what peers ask. One for each prefix of methods (`raft/`, `node/`).
#[async_trait]
pub trait PeerHandler: Send + Sync {
    /// Answers one request.
    async fn call(
        &self,
        from: NodeId,
        community: CommunityId,
        method: &str,
        body: Bytes,
    ) -> Result<Bytes, PeerError>;

    /// Answers a stream of requests; `opening` is the body that the stream was opened with.
    async fn stream(
        &self,
        from: NodeId,
        community: CommunityId,
        method: &str,
        opening: Bytes,
        input: PeerStream,
    ) -> Result<PeerStream, PeerError>;
}

/// Who serves which methods of a node, by the methods' prefix.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<&'static str, Arc<dyn PeerHandler>>);

impl Handlers {
    /// Nobody serves anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `handler` serve the methods that begin with `prefix`, such as `raft/`.
    #[must_use]
    pub fn with(mut self, prefix: &'static str, handler: Arc<dyn PeerHandler>) -> Self {
        assert!(prefix.ends_with('/'), "a prefix ends with a slash");
        self.0.insert(prefix, handler);
        self
    }

    /// Who serves a method.
    ///
    /// # Errors
    /// [`PeerError::Refused`] with the code `no-method` when nobody does; `node` is the node that
    /// refuses.
    pub fn of(&self, node: NodeId, method: &str) -> Result<Arc<dyn PeerHandler>, PeerError> {
        let prefix = method.split_inclusive('/').next().unwrap_or_default();
        self.0.get(prefix).cloned().ok_or_else(|| PeerError::Refused {
            node,
            code: "no-method".into(),
            message: format!("this node does not know the method {method:?}"),
        })
    }
}
