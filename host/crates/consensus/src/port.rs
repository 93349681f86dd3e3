//! What the node knows of consensus: a group orders opaque payloads, a state machine executes them.
//!
//! The algorithm is a choice per community; everything here is concrete and free of its types.

use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId},
    program::Fault,
    transition::Reply,
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The node it lives on.
    pub node: NodeId,
    /// Where the node's peer listener was when it became a member; the address book knows better.
    pub address: String,
}

/// How patient a group is. LAN and WAN are [`Timing::LAN`] and [`Timing::WAN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Between heartbeats, in milliseconds.
    pub heartbeat_millis: u64,
    /// The least a follower waits for a leader, in milliseconds.
    pub election_millis_min: u64,
    /// The most a follower waits, and the length of a leader's lease, in milliseconds.
    pub election_millis_max: u64,
}

impl Timing {
    /// Nodes in one place: round trips below some milliseconds.
    pub const LAN: Self = Self { heartbeat_millis: 100, election_millis_min: 500, election_millis_max: 1000 };
    /// Nodes far apart: round trips up to some hundred milliseconds.
    pub const WAN: Self =
        Self { heartbeat_millis: 500, election_millis_min: 3000, election_millis_max: 6000 };
}

/// What a group is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// The community whose group it is.
    pub community: CommunityId,
    /// This node's member of the group.
    pub replica: ReplicaId,
    /// Its patience.
    pub timing: Timing,
    /// How many entries stay in the log below a snapshot at least, so that a follower that is a little
    /// behind needs no snapshot; see also [`SnapshotBuilder::falls_back_to`].
    pub log_kept: u64,
}

/// Why a group did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Consensus has been shut down on this node.
    #[error("consensus has been shut down on this node")]
    Shutdown,
    /// What was asked for makes no sense.
    #[error("the group's configuration makes no sense: {why}")]
    Invalid {
        /// Why.
        why: String,
    },
    /// The log or the state machine could not be read.
    #[error("the group could not start: {why}")]
    Failed {
        /// Why.
        why: String,
    },
}

/// A place in the log, with consensus' own record of it (opaque outside).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The log index.
    pub index: u64,
    /// Consensus' record.
    pub record: Bytes,
}

/// A committed entry, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedEntry {
    /// Where it stands.
    pub position: Position,
    /// What it holds.
    pub payload: EntryPayload,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryPayload {
    /// Nothing: a new leader's first entry.
    Blank,
    /// What was proposed.
    Proposal(Bytes),
    /// A change of members; consensus' record of it, to be kept and given back.
    Membership(Bytes),
}

/// The replies to the commands of one proposal, in order.
pub type Replies = Arc<Vec<Reply>>;

/// What a state machine has executed. Restored by it, believed by consensus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedState {
    /// The last executed entry.
    pub position: Option<Position>,
    /// Consensus' record of the last membership entry (with its position).
    pub membership: Option<Bytes>,
}

/// A snapshot as consensus handles it: chunks travel beside it, pulled by content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHandle {
    /// The state it was cut at.
    pub applied: AppliedState,
    /// The encoded manifest.
    pub manifest: Bytes,
}

/// Builds a snapshot of a state that was captured in O(1), off the apply path.
#[async_trait]
pub trait SnapshotBuilder: Send + 'static {
    /// Writes the chunks and the manifest; durable on return. Dropped at one of its waits when the
    /// group shuts down.
    async fn build(&mut self) -> Result<SnapshotHandle, Fault>;

    /// Asked when it is built: the last log index that nobody needs who begins again with an older
    /// snapshot, should this one be found damaged. Entries behind it stay in the log. By default there
    /// is none to begin again with.
    fn falls_back_to(&self) -> u64 {
        u64::MAX
    }
}

/// Executes committed entries. Owned by its group; calls never overlap.
#[async_trait]
pub trait StateMachine: Send + 'static {
    /// What has been executed so far (after a restart: what the restored snapshot holds).
    async fn applied(&mut self) -> Result<AppliedState, Fault>;

    /// Executes entries in order; one `Replies` for each (empty for other than proposals). May
    /// wait, for instance for a component to arrive. A [`Fault`] stops the group on this node. When
    /// the group shuts down, the call is dropped at one of its waits and the machine after it.
    async fn apply(&mut self, entries: Vec<CommittedEntry>) -> Result<Vec<Replies>, Fault>;

    /// Captures the state in O(1) for a snapshot.
    async fn capture(&mut self) -> Result<Box<dyn SnapshotBuilder>, Fault>;

    /// Replaces the state by a snapshot whose chunks are here.
    async fn install(&mut self, snapshot: SnapshotHandle) -> Result<(), Fault>;

    /// The newest durable snapshot, for a follower that needs one.
    async fn snapshot(&mut self) -> Result<Option<SnapshotHandle>, Fault>;
}

/// Fetches what a snapshot names, from the peer that offers it or whoever else has it.
#[async_trait]
pub trait SnapshotFetch: Send + Sync {
    /// Makes every chunk and component that the snapshot names present here, verified; refuses one
    /// that cannot be what was offered. Dropped when the offer ends: called again, with this offer or
    /// another, it goes on where it stopped. What it returns is not a fault of this node.
    async fn fetch(&self, from: NodeId, offered: &SnapshotHandle) -> Result<(), Fault>;
}

/// What this replica is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Follows, does not vote.
    #[default]
    Learner,
    /// Follows and votes.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Stopped.
    Stopped,
}

/// What is known about a group on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// This node's member.
    pub replica: ReplicaId,
    /// What it is.
    pub role: Role,
    /// The leader, as far as known.
    pub leader: Option<(ReplicaId, Member)>,
    /// The term.
    pub term: u64,
    /// The last index in the log here.
    pub last_index: u64,
    /// The last index known to be committed.
    pub committed_index: u64,
    /// The last index executed here.
    pub applied_index: u64,
    /// The last index in the newest snapshot.
    pub snapshot_index: u64,
    /// Who votes.
    pub voters: BTreeMap<ReplicaId, Member>,
    /// Who only follows.
    pub learners: BTreeMap<ReplicaId, Member>,
    /// Whether a change of members is under way.
    pub is_joint: bool,
    /// Whether it is committed that these are the members; until then it may yet be undone.
    pub is_settled: bool,
    /// On the leader: the last index that each other member has.
    pub matched: BTreeMap<ReplicaId, u64>,
    /// Why the group stopped on this node.
    pub fault: Option<String>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its index.
    pub index: u64,
    /// The replies of its execution on this node.
    pub replies: Replies,
}

/// Why a proposal was not executed, or is not known to have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Certainly not proposed: this replica does not lead.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who does, as far as known.
        leader: Option<(ReplicaId, Member)>,
    },
    /// Proposed, then leadership was lost: it may or may not be committed.
    #[error("leadership was lost while the proposal was under way: it may or may not take effect")]
    Unknown,
    /// The group has stopped on this node.
    #[error("the group has stopped on this node: {why}")]
    Stopped {
        /// Why.
        why: String,
    },
}

/// Why a linearizable read is not possible now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This replica does not lead.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who does, as far as known.
        leader: Option<(ReplicaId, Member)>,
    },
    /// The leader cannot reach a quorum.
    #[error("the leader cannot reach a quorum")]
    NoQuorum,
    /// The group has stopped on this node.
    #[error("the group has stopped on this node: {why}")]
    Stopped {
        /// Why.
        why: String,
    },
}

/// How a leader makes sure that it still leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadPolicy {
    /// A round of heartbeats.
    #[default]
    ReadIndex,
    /// Its lease: no round trip, trusts clocks to run at the same rate.
    Lease,
}

/// Why members could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// This replica does not lead.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who does, as far as known.
        leader: Option<(ReplicaId, Member)>,
    },
    /// A change is already under way.
    #[error("a change of members is under way: retry when it is done")]
    InProgress,
    /// The change makes no sense.
    #[error("{why}")]
    Invalid {
        /// Why.
        why: String,
    },
    /// It may or may not take effect.
    #[error("the change may or may not take effect: {why}")]
    Unknown {
        /// Why.
        why: String,
    },
}

/// One group on this node, whatever its algorithm.
#[async_trait]
pub trait Group: Send + Sync {
    /// The community whose group it is.
    fn community(&self) -> CommunityId;

    /// What is known now, and a signal for every change.
    fn status(&self) -> watch::Receiver<GroupStatus>;

    /// Hands a payload over for replication. Proposals of one caller are ordered as their calls
    /// returned. The receiver resolves when the proposal is executed here, or will not be.
    async fn propose(
        &self,
        payload: Bytes,
    ) -> Result<oneshot::Receiver<Result<Committed, ProposeError>>, ProposeError>;

    /// The index up to which a linearizable read must have seen the state executed. Returns only
    /// on a leader that has made sure of it.
    async fn read_barrier(&self, policy: ReadPolicy) -> Result<u64, ReadError>;

    /// Waits until `index` is executed here; false if that took longer than `timeout`.
    async fn wait_applied(&self, index: u64, timeout: Duration) -> bool;

    /// Begins a new group with these voters. Does nothing if it has begun.
    async fn initialize(&self, members: BTreeMap<ReplicaId, Member>) -> Result<(), MembershipError>;

    /// Adds a member that follows without a vote; returns when it is added, not when it has caught up.
    async fn add_learner(&self, replica: ReplicaId, member: Member) -> Result<(), MembershipError>;

    /// Makes exactly these (known) members the voters, through joint consensus; voters left out are
    /// removed altogether.
    async fn change_voters(&self, voters: BTreeSet<ReplicaId>) -> Result<(), MembershipError>;

    /// Removes a member that only follows.
    async fn remove_learner(&self, replica: ReplicaId) -> Result<(), MembershipError>;

    /// Asks another voter (the best informed if none is named) to lead; returns when it does, or
    /// after the timeout with false.
    async fn transfer_leadership(&self, to: Option<ReplicaId>, timeout: Duration) -> bool;

    /// Entries of the log from `first` to `last`, which is executed here: ascending, so many as are read
    /// at once, at least one if there is one. They begin later than `first`, or there are none, when a
    /// snapshot has taken their place.
    async fn executed(&self, first: u64, last: u64) -> Result<Vec<CommittedEntry>, Fault>;

    /// Asks for a snapshot now.
    async fn snapshot(&self) -> Result<(), ProposeError>;

    /// Stops the group on this node, in order; on return its machine has been dropped.
    async fn shutdown(&self);
}

/// A group, cheap to clone.
pub type GroupHandle = Arc<dyn Group>;
