//! What the directory holds and how it is changed: records and operations, encoded by core's codec.
//!
//! Stored in the system community's state and log: published variants are only joined by others.

use althing_consensus::{peers::ClusterId, port::Timing};
use althing_core::{
    ids::{CommunityId, Hash, NodeId, ReplicaId},
    origin::Origin,
    policy::Policy,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its id.
    pub node: NodeId,
    /// Where its peers reach it.
    pub peer_address: String,
    /// Where clients reach it.
    pub api_address: String,
    /// When it last said that it is there, in milliseconds by the system community's clock.
    pub seen_millis: u64,
}

/// A replica as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRecord {
    /// Where it lives.
    pub node: NodeId,
    /// Whether it votes.
    pub voter: bool,
}

/// A community as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommunityRecord {
    /// Its id.
    pub id: CommunityId,
    /// Its name, unique among the communities that exist.
    pub name: String,
    /// Its patience.
    pub timing: Timing,
    /// The policy it began with; the one in force is in its own state.
    pub founding_policy: Policy,
    /// The voters it began with; none when it was imported, so that its voters began with a snapshot.
    pub founders: BTreeMap<ReplicaId, NodeId>,
    /// Its replicas as they should be.
    pub replicas: BTreeMap<ReplicaId, ReplicaRecord>,
    /// The next replica's id; ids are never used again.
    pub next_replica: ReplicaId,
}

impl CommunityRecord {
    /// The replica on a node.
    #[must_use]
    pub fn replica_on(&self, node: NodeId) -> Option<ReplicaId> {
        self.replicas.iter().find(|(_, replica)| replica.node == node).map(|(&id, _)| id)
    }

    /// How many replicas vote.
    #[must_use]
    pub fn voters(&self) -> usize {
        self.replicas.values().filter(|replica| replica.voter).count()
    }
}

/// A community to be, for which a node puts in place what it begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    /// That node.
    pub(crate) by: NodeId,
    /// What it is to be.
    pub(crate) record: CommunityRecord,
    /// Whose history it is to go on with.
    pub(crate) origin: Origin,
}

/// A component that some node has checked and compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComponentEntry {
    /// Its name by content.
    pub hash: Hash,
    /// Its size in bytes.
    pub bytes: u64,
    /// The node it was uploaded to.
    pub uploaded_to: NodeId,
    /// What it says about itself: JSON of [`crate::components::ComponentDescription`].
    pub description: String,
}

/// What a node that wants to join calls its wish, so that asking twice makes one node. Minted once,
/// at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinToken(pub(crate) [u8; 16]);

/// Who was taken in under a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinRecord {
    /// The node.
    pub(crate) node: NodeId,
    /// Its replica of the system community.
    pub(crate) replica: ReplicaId,
}

/// A node that is to leave the cluster for good: the system community's leader moves its replicas away
/// ([`crate::retire`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leaving {
    /// The node.
    pub(crate) node: NodeId,
    /// Where its replicas go first; none: wherever there is most room.
    pub(crate) to: Option<NodeId>,
    /// Whether a replica that no other node can take may go all the same; its place is vacant then.
    pub(crate) may_vacate: bool,
}

/// An operation of the system community.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DirectoryOperation {
    /// Mints the cluster and its first node.
    Found { cluster: ClusterId, peer_address: String, api_address: String },
    /// Adds a node and, with it, a replica of the system community; once for each token.
    AddNode { token: JoinToken, peer_address: String, api_address: String },
    /// A node says that it is there, and where.
    SeeNode { node: NodeId, peer_address: String, api_address: String },
    /// Creates a community on these nodes.
    CreateCommunity { name: String, nodes: Vec<NodeId>, timing: Timing, policy: Box<Policy> },
    /// Deletes a community.
    DeleteCommunity { community: CommunityId },
    /// Adds a replica that does not vote.
    AddReplica { community: CommunityId, node: NodeId },
    /// Gives a replica a vote.
    Promote { community: CommunityId, node: NodeId },
    /// Removes a replica.
    RemoveReplica { community: CommunityId, node: NodeId },
    /// Records a component.
    RecordComponent(ComponentEntry),
    /// Puts a fresh replica in the place of this one, on the same node; once for each replica.
    RebuildReplica { community: CommunityId, node: NodeId, replica: ReplicaId },
    /// Gives a community to be its id; it begins when all is in place, or never.
    Reserve {
        name: String,
        nodes: Vec<NodeId>,
        timing: Timing,
        policy: Box<Policy>,
        by: NodeId,
        origin: Origin,
    },
    /// A community to be begins.
    Begin { community: CommunityId },
    /// A community to be is given up, unless it has begun.
    Release { community: CommunityId },
    /// Puts a fresh replica on another node in the place of this one; once for each replica.
    MoveReplica { community: CommunityId, replica: ReplicaId, to: NodeId },
    /// Removes a replica; if it votes, its place stays vacant until a node takes it.
    VacatePlace { community: CommunityId, replica: ReplicaId },
    /// A node takes a vacant place.
    FillPlace { community: CommunityId, node: NodeId },
    /// Sets how many replicas vote: these nodes get one, these replicas go. What is missing is vacant.
    SetReplicas { community: CommunityId, voters: u32, add: Vec<NodeId>, remove: Vec<ReplicaId> },
    /// A node is to leave for good: it gets no more replicas.
    LeaveNode(Leaving),
    /// A node that was to leave stays.
    KeepNode { node: NodeId },
    /// A node has left: only its replica of the system community was still there, and goes too.
    ForgetNode { node: NodeId },
}

/// What a directory operation answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DirectoryResult {
    /// Done.
    Done,
    /// The node, and its replica of the system community.
    Node { node: NodeId, replica: ReplicaId },
    /// The community as it is now.
    Community(Box<CommunityRecord>),
    /// The replica.
    Replica(ReplicaId),
}

/// Keys of the directory, in the system community's program keyspace. Numbers are big-endian so
/// that their order is the keys' order.
pub(crate) mod key {
    use althing_core::ids::{CommunityId, Hash, NodeId};

    pub(crate) const CLUSTER: &[u8] = b"cluster";
    pub(crate) const NEXT_NODE: &[u8] = b"next/node";
    pub(crate) const NEXT_COMMUNITY: &[u8] = b"next/community";
    pub(crate) const NODES: &[u8] = b"node/";
    pub(crate) const NODES_END: &[u8] = b"node0";
    pub(crate) const COMMUNITIES: &[u8] = b"community/";
    pub(crate) const COMMUNITIES_END: &[u8] = b"community0";
    pub(crate) const LEAVING: &[u8] = b"leaving/";
    pub(crate) const LEAVING_END: &[u8] = b"leaving0";
    pub(crate) const VACANT: &[u8] = b"vacant/";
    pub(crate) const VACANT_END: &[u8] = b"vacant0";

    pub(crate) fn node(node: NodeId) -> Vec<u8> {
        [NODES, &node.0.to_be_bytes()].concat()
    }

    pub(crate) fn community(community: CommunityId) -> Vec<u8> {
        [COMMUNITIES, &community.0.to_be_bytes()].concat()
    }

    pub(crate) const RESERVED: &[u8] = b"reserved/";
    pub(crate) const RESERVED_END: &[u8] = b"reserved0";

    pub(crate) fn reserved(community: CommunityId) -> Vec<u8> {
        [RESERVED, &community.0.to_be_bytes()].concat()
    }

    pub(crate) fn origin(community: CommunityId) -> Vec<u8> {
        [b"origin/".as_slice(), &community.0.to_be_bytes()].concat()
    }

    pub(crate) fn name(name: &str) -> Vec<u8> {
        [b"name/", name.as_bytes()].concat()
    }

    pub(crate) fn join(token: super::JoinToken) -> Vec<u8> {
        [b"join/".as_slice(), &token.0].concat()
    }

    pub(crate) fn leaving(node: NodeId) -> Vec<u8> {
        [LEAVING, &node.0.to_be_bytes()].concat()
    }

    /// How many places of voters are vacant; nothing is stored for none.
    pub(crate) fn vacant(community: CommunityId) -> Vec<u8> {
        [VACANT, &community.0.to_be_bytes()].concat()
    }

    pub(crate) fn component(hash: Hash) -> Vec<u8> {
        [b"component/".as_slice(), &hash.0].concat()
    }
}
