//! How a node learns that it has left the cluster for good, and that it ends then.
//!
//! Its replica of the system community may be let go before it hears of that, or while it is away. So a node
//! asks the others: when it starts, now and then, and more often when it is to leave. Before it ends, it waits
//! until the directory's group counts on its vote no more. Then it remembers that it has left: such a node
//! never comes back.

use crate::{
    directory::view::DirectoryView,
    node::{Node, StartError},
    peer::method,
    query::Consistency,
    refuse,
};
use althing_consensus::peers::Lane;
use althing_core::{
    ids::{CommunityId, NodeId},
    refusal::Refusal,
};
use althing_store::port::Archive;
use bytes::Bytes;
use std::time::Duration;

/// The fact by which it is remembered.
pub(crate) const FACT: &str = "left";
/// How often to look.
const EVERY: Duration = Duration::from_secs(1);
/// How often to ask, as long as it is not to leave.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// How long another node may take to say.
const TIMEOUT: Duration = Duration::from_secs(6);

/// Refuses to start a node that has left.
pub(crate) async fn must_not_have_left(archive: &dyn Archive, node: NodeId) -> Result<(), StartError> {
    match archive.fact(FACT).await.map_err(StartError::Store)? {
        Some(_) => Err(StartError::HasLeft { node }),
        None => Ok(()),
    }
}

/// Runs until the node has left and nobody counts on its vote any more.
pub(crate) async fn run(node: Node) {
    let mut heard = None;
    loop {
        let now = node.runtime().monotonic();
        let is_due = heard.is_none_or(|heard| now.saturating_sub(heard) > ASK_EVERY);
        match has_left(&node, is_due).await {
            Some(true) => break,
            Some(false) => heard = Some(now),
            None => {}
        }
        node.runtime().sleep(EVERY).await;
    }
    while !is_let_go(&node).await {
        node.runtime().sleep(EVERY).await;
    }
    if let Err(error) = node.shared().store.archive.put_fact(FACT, Bytes::new()).await {
        // It learns it again.
        tracing::error!(error = refuse::chain(&error), "that this node has left could not be remembered");
    }
    tracing::warn!(node = %node.id(), "this node has left the cluster for good");
    node.set_left();
}

/// Whether the directory's own group has let this node's vote go, by the word of its leader. Until then the vote
/// may be needed, also for giving another its vote.
async fn is_let_go(node: &Node) -> bool {
    let leader = node.leader_status(CommunityId::SYSTEM).await;
    leader.is_some_and(|leader| {
        leader.are_members_settled && leader.members.iter().all(|member| member.node != node.id())
    })
}

/// Whether it has left, by its own directory, or by another's if it is time to ask; none: nobody says.
async fn has_left(node: &Node, is_due: bool) -> Option<bool> {
    let own = node.id();
    let is_leaving = {
        let directory = node.directory();
        let view = DirectoryView(&directory);
        if view.has_left(own) {
            return Some(true);
        }
        view.is_leaving(own)
    };
    let others = node.sources(CommunityId::SYSTEM).into_iter().filter(|&other| other != own);
    for other in others.filter(|_| is_due || is_leaving) {
        let peers = node.peers();
        let asked = peers.ask(other, Lane::Control, CommunityId::SYSTEM, method::HAS_LEFT, &own, TIMEOUT);
        if let Ok(has_left) = asked.await {
            return Some(has_left);
        }
    }
    None
}

impl Node {
    /// Whether a node has left for good, by a directory that is not behind.
    pub(crate) async fn has_left(&self, node: NodeId) -> Result<bool, Refusal> {
        let view = self.view_at(self.system(), Consistency::Linearizable).await?;
        Ok(DirectoryView(&view).has_left(node))
    }
}
