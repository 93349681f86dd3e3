//! The nodes of a cluster.

use crate::show::{
    community::CommunityShown,
    table::{row, table},
};
use althing_client::v1;
use serde::Serialize;
use std::fmt;

/// The nodes, by id.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct NodesShown(Vec<NodeShown>);

#[derive(Debug, Serialize)]
struct NodeShown {
    node: u64,
    peer_address: String,
    api_address: String,
    last_seen_millis: u64,
    is_leaving: bool,
    /// Communities with a replica there, the system community among them.
    communities: Vec<String>,
}

impl NodesShown {
    pub(crate) fn new(nodes: Vec<v1::NodeInfo>, communities: Vec<v1::CommunityInfo>) -> Self {
        let communities: Vec<(String, CommunityShown)> =
            communities.into_iter().map(|info| (info.name.clone(), info.into())).collect();
        let on = |node| {
            let there = communities.iter().filter(|(_, shown)| shown.nodes().any(|host| host == node));
            there.map(|(name, _)| name.clone()).collect()
        };
        let nodes = nodes.into_iter().map(|info| NodeShown {
            node: info.node,
            communities: on(info.node),
            peer_address: info.peer_address,
            api_address: info.api_address,
            last_seen_millis: info.last_seen_millis,
            is_leaving: info.is_leaving,
        });
        Self(nodes.collect())
    }
}

impl fmt::Display for NodesShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = self.0.iter().map(|node| node.last_seen_millis).max().unwrap_or(0);
        let mut rows = vec![row(["node", "api", "peers", "replicas", "last seen", ""])];
        for node in &self.0 {
            let seen = format!("{} s before the newest", (newest - node.last_seen_millis) / 1000);
            let (id, replicas) = (node.node.to_string(), node.communities.len().to_string());
            let leaving = if node.is_leaving { "LEAVING" } else { "" };
            rows.push(row([&id, &node.api_address, &node.peer_address, &replicas, &seen, leaving]));
        }
        f.write_str(&table(&rows))
    }
}
