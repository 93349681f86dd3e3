//! What nodes ask each other, apart from consensus: forwarding, chunks, components, joining.
//!
//! Bodies are records of core's codec; an answer is `Result<_, Refusal>`. [`ask`] is the asking
//! side, [`serve`] the answering one.

pub(crate) mod ask;
pub(crate) mod serve;

use crate::directory::record::{JoinToken, NodeRecord};
use althing_consensus::peers::ClusterId;
use althing_core::{
    actor::Actor,
    batch::Command,
    ids::{CommunityId, Hash, NodeId, ReplicaId, Sequence},
    time::Timestamp,
    transition::Transition,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The methods' names. All begin with `node/`, by which they find their way here.
pub(crate) mod method {
    /// [`super::Forward`] to the leader; answers `Outcomes`.
    pub(crate) const SUBMIT: &str = "node/submit";
    /// `()` to the leader; answers the index up to which a linearizable read must have applied.
    pub(crate) const BARRIER: &str = "node/barrier";
    /// [`super::Ask`] to a node with a replica; answers `QueryAnswer`.
    pub(crate) const QUERY: &str = "node/query";
    /// [`super::ScanRange`] to a node with a replica; answers `Scanned`.
    pub(crate) const SCAN: &str = "node/scan";
    /// [`super::ReadHistory`] to a node with a replica; answers [`super::HistoryRead`].
    pub(crate) const HISTORY: &str = "node/history";
    /// A chunk's hash; answers its bytes.
    pub(crate) const CHUNK: &str = "node/chunk";
    /// [`super::ComponentPiece`]; answers [`super::Piece`].
    pub(crate) const COMPONENT: &str = "node/component";
    /// [`super::Hold`]: make these components present and compiled.
    pub(crate) const HOLD: &str = "node/hold";
    /// [`super::Join`]; answers [`super::Joined`].
    pub(crate) const JOIN: &str = "node/join";
    /// [`crate::take_back::TakeBack`]; answers [`crate::take_back::TakenBack`].
    pub(crate) const TAKE_BACK: &str = "node/take-back";
    /// `Option<NodeId>` to the leader: hand leadership over.
    pub(crate) const TRANSFER: &str = "node/transfer";
    /// `()`: another founder of the community is there; answers `()`.
    pub(crate) const FOUND: &str = "node/found";
    /// A node's id; answers whether it has left the cluster for good.
    pub(crate) const HAS_LEFT: &str = "node/has-left";
    /// `()`; answers `ReplicaStatus` of the community there.
    pub(crate) const STATUS: &str = "node/status";
    /// A list of [`super::DigestAt`]; answers a list of `Option<Testimony>`, one for each.
    pub(crate) const DIGESTS: &str = "node/digests";
    /// [`crate::import::Stage`]: take in what a community to be begins with.
    pub(crate) const STAGE: &str = "node/stage";
    /// A list of [`super::DigestAt`]; answers a list of `Option<RootTestimony>`, one for each.
    pub(crate) const ROOTS: &str = "node/roots";
    /// A sequence, to a node with a replica; answers the manifest of its snapshot there, if it keeps one.
    pub(crate) const MANIFEST: &str = "node/manifest";
}

/// Commands for the leader, in their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Forward {
    pub(crate) commands: Vec<Command>,
}

/// A question for the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) actor: Actor,
    pub(crate) question: Bytes,
    pub(crate) consistency: crate::query::Consistency,
}

/// A range of program keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScanRange {
    pub(crate) start: Bytes,
    pub(crate) end: Option<Bytes>,
    pub(crate) limit: u32,
    pub(crate) consistency: crate::query::Consistency,
}

/// Transitions from a sequence on; with `wait`, not before there is one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ReadHistory {
    pub(crate) from: Sequence,
    pub(crate) limit: u32,
    pub(crate) wait: bool,
}

/// What is held of a community's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRead {
    /// In order, without gaps.
    pub transitions: Vec<Transition>,
    /// The oldest sequence that is held.
    pub oldest: Sequence,
    /// The newest.
    pub newest: Sequence,
}

/// A piece of a component.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ComponentPiece {
    pub(crate) hash: Hash,
    pub(crate) offset: u64,
}

/// Its bytes, and the size of the whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) total: u64,
}

/// Make these components present and compiled; they can be had from `sources`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) components: Vec<Hash>,
    pub(crate) sources: Vec<NodeId>,
}

/// What is this replica's digest, or its state root, there?
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct DigestAt {
    pub(crate) community: CommunityId,
    pub(crate) replica: ReplicaId,
    pub(crate) sequence: Sequence,
}

/// A replica's digest, from its own execution.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Testimony {
    pub(crate) sequence: Sequence,
    pub(crate) digest: Hash,
}

/// What a replica's state was where it cut a snapshot, from its own execution.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct RootTestimony {
    pub(crate) digest: Hash,
    pub(crate) time: Timestamp,
    pub(crate) root: Hash,
}

/// A node wants to join.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) token: JoinToken,
    pub(crate) peer_address: String,
    pub(crate) api_address: String,
}

/// It may: who it is, and whom it will meet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) replica: ReplicaId,
    pub(crate) nodes: Vec<NodeRecord>,
}
