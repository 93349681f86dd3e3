//! Reading the directory from a view of the system community.

use super::record::{CommunityRecord, ComponentEntry, Leaving, NodeRecord, Reservation, key};
use althing_consensus::peers::ClusterId;
use althing_core::{
    codec,
    ids::{CommunityId, Hash, NodeId},
    origin::Origin,
    state::Keyspace,
    view::View,
};
use serde::de::DeserializeOwned;

/// The directory at one sequence. Cheap to make.
pub(crate) struct DirectoryView<'a>(pub(crate) &'a View);

impl DirectoryView<'_> {
    /// The cluster's id; none before it is founded.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.get(key::CLUSTER)
    }

    /// Every node, ascending.
    pub(crate) fn nodes(&self) -> Vec<NodeRecord> {
        self.all(key::NODES, key::NODES_END)
    }

    /// One node.
    pub(crate) fn node(&self, node: NodeId) -> Option<NodeRecord> {
        self.get(&key::node(node))
    }

    /// The nodes that are to leave for good.
    pub(crate) fn leaving(&self) -> Vec<Leaving> {
        self.all(key::LEAVING, key::LEAVING_END)
    }

    /// Whether a node is to leave for good.
    pub(crate) fn is_leaving(&self, node: NodeId) -> bool {
        self.get::<Leaving>(&key::leaving(node)).is_some()
    }

    /// Whether there was a node of that id and is none any more.
    pub(crate) fn has_left(&self, node: NodeId) -> bool {
        self.get::<NodeId>(key::NEXT_NODE).is_some_and(|next| node < next) && self.node(node).is_none()
    }

    /// The communities with vacant places.
    pub(crate) fn vacancies(&self) -> Vec<CommunityId> {
        let state = self.0.state().range(Keyspace::Program, key::VACANT, Some(key::VACANT_END));
        let community = |name: &[u8]| name.strip_prefix(key::VACANT)?.try_into().ok().map(u64::from_be_bytes);
        state.filter_map(|(name, _)| community(&name).map(CommunityId)).collect()
    }

    /// How many places of a community's voters are vacant.
    pub(crate) fn vacant(&self, community: CommunityId) -> u32 {
        self.get(&key::vacant(community)).unwrap_or(0)
    }

    /// Every community, the system community first.
    pub(crate) fn communities(&self) -> Vec<CommunityRecord> {
        self.all(key::COMMUNITIES, key::COMMUNITIES_END)
    }

    /// One community.
    pub(crate) fn community(&self, community: CommunityId) -> Option<CommunityRecord> {
        self.get(&key::community(community))
    }

    /// The community of a name, or of a decimal id.
    pub(crate) fn find(&self, name: &str) -> Option<CommunityRecord> {
        let id = self.get::<CommunityId>(&key::name(name)).or_else(|| name.parse().ok().map(CommunityId))?;
        self.community(id)
    }

    /// Whether a community of that id ever existed, as far as this view knows.
    pub(crate) fn has_existed(&self, community: CommunityId) -> bool {
        self.get::<CommunityId>(key::NEXT_COMMUNITY).is_some_and(|next| community < next)
    }

    /// Whether a community is over for good: it was deleted, or given up before it began. One that is still to
    /// begin is not, nor one that this view does not know yet: a view that lags never says so too early.
    pub(crate) fn is_over(&self, community: CommunityId) -> bool {
        let is_to_be = || self.get::<Reservation>(&key::reserved(community)).is_some();
        self.has_existed(community) && self.community(community).is_none() && !is_to_be()
    }

    /// Whose history a community goes on with, if it was imported.
    pub(crate) fn origin(&self, community: CommunityId) -> Option<Origin> {
        self.get(&key::origin(community))
    }

    /// The communities to be.
    pub(crate) fn reserved(&self) -> Vec<Reservation> {
        self.all(key::RESERVED, key::RESERVED_END)
    }

    /// A component.
    pub(crate) fn component(&self, hash: Hash) -> Option<ComponentEntry> {
        self.get(&key::component(hash))
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Option<T> {
        self.0.state().get(Keyspace::Program, key).map(|bytes| decode(bytes))
    }

    fn all<T: DeserializeOwned>(&self, start: &[u8], end: &[u8]) -> Vec<T> {
        self.0.state().range(Keyspace::Program, start, Some(end)).map(|(_, bytes)| decode(bytes)).collect()
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    codec::decode(bytes).expect("the directory's records are written by its own program only")
}
