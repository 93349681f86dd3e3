//! A node's word to the directory: the founder founds the cluster, every node says where it is and
//! that it is there.

use crate::{
    directory::{
        program,
        record::{DirectoryOperation, NodeRecord},
        view::DirectoryView,
    },
    node::Node,
    refuse,
};
use althing_core::{
    actor::Actor,
    batch::{Activation, Command},
    ids::CommunityId,
    refusal::Refusal,
};
use std::time::Duration;

/// How often a node says that it is there.
pub(crate) const EVERY: Duration = Duration::from_secs(30);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs as long as the node.
pub(crate) async fn run(node: Node) {
    loop {
        let said = match node.identity().is_founder() {
            true => found(&node).await,
            false => Ok(()),
        };
        let said = match said {
            Ok(()) => see(&node).await,
            Err(refusal) => Err(refusal),
        };
        match said {
            Ok(()) => node.runtime().sleep(EVERY).await,
            Err(refusal) => {
                tracing::debug!(reason = refuse::chain(&refusal), "the directory was not told");
                node.runtime().sleep(PAUSE).await;
            }
        }
    }
}

/// Founds the cluster unless it is founded. Every step may be repeated after a crash.
async fn found(node: &Node) -> Result<(), Refusal> {
    if DirectoryView(&node.directory()).cluster().is_some() {
        return Ok(());
    }
    let activation = Activation { actor: Actor::default(), program: program::manifest() };
    node.command(CommunityId::SYSTEM, Command::Activate(activation)).await?;
    let addresses = node.addresses();
    node.change_directory(DirectoryOperation::Found {
        cluster: node.identity().cluster,
        peer_address: addresses.peer.clone(),
        api_address: addresses.api.clone(),
    })
    .await?;
    tracing::info!(cluster = hex::encode(node.identity().cluster.0), "the cluster is founded");
    Ok(())
}

async fn see(node: &Node) -> Result<(), Refusal> {
    let addresses = node.addresses();
    node.change_directory(DirectoryOperation::SeeNode {
        node: node.id(),
        peer_address: addresses.peer.clone(),
        api_address: addresses.api.clone(),
    })
    .await
    .map(|_| ())
}

/// Whether the directory has this node where it is.
pub(crate) fn is_known(node: &Node) -> bool {
    let record: Option<NodeRecord> = DirectoryView(&node.directory()).node(node.id());
    record.is_some_and(|record| {
        record.peer_address == node.addresses().peer && record.api_address == node.addresses().api
    })
}
