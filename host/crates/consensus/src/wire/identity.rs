//! Who a node is, as far as it knows: both halves come when it joins a cluster.

use crate::peers::ClusterId;
use althing_core::ids::NodeId;
use std::sync::{Arc, OnceLock};

/// Who a node is. Cheap to clone; clones learn it together.
#[derive(Clone, Default)]
pub struct Identity(Arc<OnceLock<(ClusterId, NodeId)>>);

impl Identity {
    /// A node that has not joined a cluster yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// A node of a cluster.
    #[must_use]
    pub fn known(cluster: ClusterId, node: NodeId) -> Self {
        let identity = Self::unknown();
        identity.join(cluster, node);
        identity
    }

    /// The node has joined. False if it had joined another cluster, or as another node, before:
    /// that does not change.
    pub fn join(&self, cluster: ClusterId, node: NodeId) -> bool {
        *self.0.get_or_init(|| (cluster, node)) == (cluster, node)
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.0.get().map(|(cluster, _)| *cluster)
    }

    /// The node; 0 before it has joined.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.get().map_or(NodeId(0), |(_, node)| *node)
    }
}
