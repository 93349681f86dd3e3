//! Every component that a community here runs is stored here, whatever was compiled.
//!
//! What was compiled is enough to run, and a node that shares what others have compiled fetches nothing. But it is
//! thrown away with its engine, or by a disk, and then the community's law has to be somewhere: on every node
//! that runs it, as its state is.

use crate::node::Node;
use althing_core::{
    batch::ProgramManifest,
    ids::{CommunityId, Hash},
};
use std::{collections::BTreeSet, time::Duration};

/// How often to look.
const EVERY: Duration = Duration::from_secs(5);

/// Runs as long as the node.
pub(crate) async fn run(node: Node) {
    let mut stored = BTreeSet::new();
    loop {
        node.runtime().sleep(EVERY).await;
        let here: Vec<(CommunityId, Option<ProgramManifest>)> = node
            .communities()
            .iter()
            // Scripts have no components.
            .filter(|(id, _)| **id != CommunityId::SYSTEM && cfg!(not(test)))
            .map(|(&id, here)| (id, here.view().program_manifest().cloned()))
            .collect();
        for (community, program) in here {
            for component in program.iter().flat_map(ProgramManifest::components) {
                if !stored.contains(&component) && keeps(&node, community, component).await {
                    stored.insert(component);
                }
            }
        }
    }
}

/// Stores a component if it is not here; whether it is, then.
async fn keeps(node: &Node, community: CommunityId, component: Hash) -> bool {
    match node.components().stored(component, &node.sources(community)).await {
        Ok(_) => true,
        Err(refusal) => {
            tracing::warn!(
                %community, %component, %refusal,
                "a component that runs here is not stored here, and was not to be had: it is asked for again"
            );
            false
        }
    }
}
