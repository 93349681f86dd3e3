//! Bringing communities back after a restart, but for those that are quarantined or cannot be started.

use crate::{
    community::{Community, Hosted},
    distrust,
    node::Node,
    refuse,
};
use futures::StreamExt as _;

/// Communities that are brought back at the same time after a restart.
const BACK_AT_ONCE: usize = 8;

/// A community that was hosted when the node last ran and is not back.
pub(crate) struct Awaited {
    pub(crate) hosted: Hosted,
    /// Why it cannot come back, if it cannot: its replica has to be rebuilt.
    pub(crate) failed: Option<String>,
}

/// Starts what this node hosted when it last ran, whether the directory can be read or not. In the
/// background: one may wait for a component, and a fault in one never stops another (P3).
pub(crate) async fn run(node: Node) {
    let awaited: Vec<Hosted> = node.awaited().values().map(|awaited| awaited.hosted.clone()).collect();
    futures::stream::iter(awaited)
        .for_each_concurrent(BACK_AT_ONCE, |hosted| bring_back(&node, hosted))
        .await;
}

async fn bring_back(node: &Node, hosted: Hosted) {
    let id = hosted.community;
    let failed = |why| {
        node.awaited().entry(id).and_modify(|awaited| awaited.failed = Some(why));
    };
    let distrusted = || node.is_distrusted(id, hosted.replica);
    if let Some(why) = node.is_quarantined(&hosted).or_else(distrusted) {
        tracing::error!(community = %id, replica = %hosted.replica, why, "a replica must not run");
        failed(why);
        return;
    }
    match Community::start(node.shared(), hosted.clone(), node.sources_of(id)).await {
        Ok(community) => {
            node.communities().insert(id, community);
            node.awaited().remove(&id);
        }
        // It stays among those that are awaited, so that what it stored is left alone.
        Err(fault) => {
            let why = refuse::chain(&fault);
            tracing::error!(community = %id, fault = why, "a community could not be started");
            failed(distrust::begin_if_lost(node, &hosted).await.unwrap_or(why));
        }
    }
}
