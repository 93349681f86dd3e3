//! Choosing nodes for replicas: those that are there first, then those with the fewest.

use crate::{
    directory::{record::CommunityRecord, view::DirectoryView},
    node::Node,
    presence,
};
use althing_core::{
    ids::{CommunityId, NodeId},
    view::View,
};
use std::collections::BTreeMap;

/// How long ago a node may have said that it is there to be chosen, in milliseconds.
const SEEN_LATELY_MILLIS: u64 = 3 * presence::EVERY.as_millis() as u64;

/// How much room there is on the nodes that may be given replicas.
pub(crate) struct Room {
    nodes: BTreeMap<NodeId, Place>,
}

#[derive(Clone, Copy)]
struct Place {
    /// It has not said for a while that it is there.
    is_away: bool,
    replicas: usize,
}

impl Room {
    /// What the directory says. A node that is to leave has no room.
    pub(crate) fn of(directory: &View) -> Self {
        let view = DirectoryView(directory);
        let now = directory.time().millis();
        let mut nodes: BTreeMap<NodeId, Place> = view
            .nodes()
            .iter()
            .filter(|record| !view.is_leaving(record.node))
            .map(|record| {
                let is_away = record.seen_millis + SEEN_LATELY_MILLIS < now;
                (record.node, Place { is_away, replicas: 0 })
            })
            .collect();
        for replica in view.communities().iter().flat_map(|record| record.replicas.values()) {
            nodes.entry(replica.node).and_modify(|place| place.replicas += 1);
        }
        Self { nodes }
    }

    /// How many nodes there are, those that are away among them.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many have said lately that they are there.
    pub(crate) fn present(&self) -> usize {
        self.nodes.values().filter(|place| !place.is_away).count()
    }

    /// The nodes, best first. One that is gone has few replicas, and must not be chosen for that.
    pub(crate) fn by_preference(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        nodes.sort_by_key(|node| {
            let place = self.nodes[node];
            (place.is_away, place.replicas, *node)
        });
        nodes
    }

    /// A node is given a replica.
    pub(crate) fn take(&mut self, node: NodeId) {
        self.nodes.entry(node).and_modify(|place| place.replicas += 1);
    }

    /// How many replicas a node has.
    pub(crate) fn replicas_on(&self, node: NodeId) -> usize {
        self.nodes.get(&node).map_or(0, |place| place.replicas)
    }
}

impl Node {
    /// A node that answers, has no replica of a community, and may take one: `first`, if it can, else the
    /// one with most room.
    pub(crate) async fn successor(
        &self,
        room: &Room,
        record: &CommunityRecord,
        first: Option<NodeId>,
    ) -> Option<NodeId> {
        let preferred = first.filter(|node| room.nodes.contains_key(node));
        for node in preferred.into_iter().chain(room.by_preference()) {
            if record.replica_on(node).is_none() && self.answers(node).await {
                return Some(node);
            }
        }
        None
    }

    /// Whether a node answers for itself at the moment.
    pub(crate) async fn answers(&self, node: NodeId) -> bool {
        self.replica_status_on(node, CommunityId::SYSTEM).await.is_ok()
    }
}
