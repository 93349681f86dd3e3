//! Nodes that leave for good.

use super::{Records, Stop, give_votes, reject, reserve};
use crate::directory::record::{CommunityRecord, DirectoryResult, Leaving, key};
use althing_core::ids::{CommunityId, NodeId};

/// Asked again, with the newest word on where its replicas may go.
pub(super) fn leave(records: &mut Records<'_>, leaving: Leaving) -> Result<DirectoryResult, Stop> {
    let Leaving { node, to, .. } = leaving;
    records.must_have_node(node)?;
    if to == Some(node) {
        return reject("bad-members", format!("node {node} cannot take its own place"));
    }
    if let Some(to) = to {
        records.must_take_replicas(to)?;
    }
    let system = records.community(CommunityId::SYSTEM)?;
    if system.replicas.values().all(|replica| replica.node == node) {
        return reject("bad-members", format!("node {node} is the last one of the cluster"));
    }
    records.put(&key::leaving(node), &leaving)?;
    Ok(DirectoryResult::Done)
}

pub(super) fn keep(records: &mut Records<'_>, node: NodeId) -> Result<DirectoryResult, Stop> {
    records.must_have_node(node)?;
    records.delete(&key::leaving(node))?;
    Ok(DirectoryResult::Done)
}

/// Communities to be that counted on the node never begin. Asked again, it changes nothing.
pub(super) fn forget(records: &mut Records<'_>, node: NodeId) -> Result<DirectoryResult, Stop> {
    if records.get::<NodeId>(key::NEXT_NODE)?.is_some_and(|next| node < next)
        && records.0.get(&key::node(node))?.is_none()
    {
        return Ok(DirectoryResult::Done);
    }
    records.must_have_node(node)?;
    if records.0.get(&key::leaving(node))?.is_none() {
        return reject("bad-request", format!("nobody said that node {node} is to leave"));
    }
    let system = without(&records.community(CommunityId::SYSTEM)?, node);
    let on_it = records.communities_on(node)?;
    if let Some(record) = on_it.iter().find(|record| record.id != CommunityId::SYSTEM) {
        return reject("bad-members", format!("{} has a replica on node {node}", record.name));
    }
    if system.replicas.is_empty() {
        return reject("bad-members", format!("node {node} is the last one of the cluster"));
    }
    reserve::release_those_of(records, node)?;
    records.put_community(&system)?;
    records.delete(&key::node(node))?;
    records.delete(&key::leaving(node))?;
    Ok(DirectoryResult::Done)
}

/// The system community when a node has left.
pub(crate) fn without(system: &CommunityRecord, node: NodeId) -> CommunityRecord {
    let mut system = system.clone();
    system.replicas.retain(|_, replica| replica.node != node);
    if !system.replicas.is_empty() {
        give_votes(&mut system);
    }
    system
}
