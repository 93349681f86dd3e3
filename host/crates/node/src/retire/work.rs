//! Emptying nodes that are to leave, and filling vacant places; by whoever leads the system community.
//!
//! Every step is a change of the directory that stands for itself, so it does not matter who does the next
//! one. A vote is moved only while a community's members are as the directory has them: one step at a time.

use super::out::{self, Told};
use crate::{
    directory::{
        program::without,
        record::{CommunityRecord, DirectoryOperation, Leaving},
        view::DirectoryView,
    },
    node::Node,
    placing::Room,
    refuse,
    relocate::{are_as_wanted, has_no_vote, may_be_changed},
};
use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId},
    refusal::Refusal,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How often to look.
const EVERY: Duration = Duration::from_millis(250);
/// Communities that move off one node at the same time.
const AT_ONCE: usize = 8;
/// How long handing over the leadership of the system community may take.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(3);

/// What a community needs next so that a node can leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: the node is out of it.
    Nothing,
    /// Its members are being changed.
    UnderWay,
    /// A replica goes to another node.
    Move(ReplicaId, NodeId),
    /// A replica goes, and leaves its place vacant.
    Vacate(ReplicaId),
    /// The directory forgets the node.
    Forget,
    /// Something that only people can do.
    Wait(String),
}

impl Step {
    /// What there is to wait for, empty while it goes on by itself; none when nothing is left to do.
    pub(super) fn waits_for(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Wait(why) => Some(why),
            Self::UnderWay | Self::Move(..) | Self::Vacate(_) | Self::Forget => Some(String::new()),
        }
    }
}

/// Runs as long as the node.
pub(crate) async fn run(node: Node) {
    let mut clear = BTreeMap::new();
    loop {
        node.runtime().sleep(EVERY).await;
        if !node.system().leads() {
            clear.clear();
        } else if let Err(refusal) = round(&node, &mut clear).await {
            tracing::info!(reason = refuse::chain(&refusal), "moving replicas was broken off and will go on");
        }
    }
}

/// The communities that a node is known to be out of: it gets none any more.
type Clear = BTreeMap<NodeId, BTreeSet<CommunityId>>;

async fn round(node: &Node, clear: &mut Clear) -> Result<(), Refusal> {
    let directory = node.directory();
    let view = DirectoryView(&directory);
    let leaving = view.leaving();
    clear.retain(|node, _| leaving.iter().any(|leaving| leaving.node == *node));
    let vacant: Vec<CommunityRecord> =
        view.vacancies().into_iter().filter_map(|community| view.community(community)).collect();
    if leaving.is_empty() && vacant.is_empty() {
        return Ok(());
    }
    let mut room = Room::of(&directory);
    for leaving in leaving {
        empty(node, &view, leaving, &mut room, clear.entry(leaving.node).or_default()).await?;
    }
    for record in vacant {
        fill(node, &record, &mut room).await?;
    }
    Ok(())
}

/// Does what can be done so that a node can leave.
async fn empty(
    node: &Node,
    view: &DirectoryView<'_>,
    leaving: Leaving,
    room: &mut Room,
    clear: &mut BTreeSet<CommunityId>,
) -> Result<(), Refusal> {
    let (mut under_way, mut is_empty) = (0, true);
    for record in view.communities() {
        let community = record.id;
        if community == CommunityId::SYSTEM || clear.contains(&community) {
            continue;
        }
        if under_way == AT_ONCE {
            return Ok(());
        }
        let operation = match next_step(node, &record, leaving, room).await {
            Step::Nothing => {
                clear.insert(community);
                continue;
            }
            Step::Wait(_) => {
                is_empty = false;
                continue;
            }
            Step::UnderWay | Step::Forget => None,
            Step::Move(replica, to) => {
                room.take(to);
                Some(DirectoryOperation::MoveReplica { community, replica, to })
            }
            Step::Vacate(replica) => Some(DirectoryOperation::VacatePlace { community, replica }),
        };
        (under_way, is_empty) = (under_way + 1, false);
        if let Some(operation) = operation {
            tracing::info!(node = %leaving.node, ?operation, "a replica leaves a node");
            node.change_replicas(operation).await?;
        }
    }
    if is_empty && last_step(node, leaving).await == Step::Forget {
        forget(node, leaving.node).await?;
    }
    Ok(())
}

/// What a community needs next so that a node can leave.
pub(super) async fn next_step(node: &Node, record: &CommunityRecord, leaving: Leaving, room: &Room) -> Step {
    let Some(replica) = record.replica_on(leaving.node) else {
        return out::step(&ask_all(node, record, leaving.node).await, record, leaving.node);
    };
    let Some(leader) = node.leader_status(record.id).await else {
        return Step::Wait(out::NOBODY_LEADS.to_owned());
    };
    if !may_be_changed(&leader, record, replica) {
        return Step::UnderWay;
    }
    let (step, successors) = match node.successor(room, record, leaving.to).await {
        Some(to) => (Step::Move(replica, to), 1),
        None if leaving.may_vacate || !record.replicas[&replica].voter => (Step::Vacate(replica), 0),
        None => {
            let why =
                "no other node can take its replica: join one, or let its place be vacant with --vacate";
            return Step::Wait(why.to_owned());
        }
    };
    if matches!(step, Step::Move(..)) && has_no_vote(&leader, replica) {
        return step;
    }
    match node.may_go(record, replica, successors).await {
        Ok(()) => step,
        Err(refusal) => Step::Wait(refusal.message),
    }
}

/// What the directory itself needs next, when no other community is left on a node.
pub(super) async fn last_step(node: &Node, leaving: Leaving) -> Step {
    let Ok(system) = node.record(CommunityId::SYSTEM) else { return Step::UnderWay };
    let Some(replica) = system.replica_on(leaving.node) else { return Step::Nothing };
    let Some(leader) = node.leader_status(system.id).await else { return Step::UnderWay };
    if !may_be_changed(&leader, &system, replica) {
        return Step::UnderWay;
    }
    let mut heirs = 0;
    for (id, heir) in without(&system, leaving.node).replicas.into_iter().filter(|(_, heir)| heir.voter) {
        if system.replicas[&id].voter {
            continue;
        }
        if !node.is_up(system.id, id, heir.node).await {
            let node = heir.node;
            return Step::Wait(format!(
                "node {node} is to have its vote and does not answer, so it would leave the directory without a \
                 quorum sooner: bring node {node} back, or remove it first"
            ));
        }
        heirs += 1;
    }
    if has_no_vote(&leader, replica) {
        return Step::Forget;
    }
    match node.may_go(&system, replica, heirs).await {
        Ok(()) => Step::Forget,
        Err(refusal) => Step::Wait(refusal.message),
    }
}

/// Forgets a node. One that leads the directory itself hands that over first; its successor goes on.
async fn forget(node: &Node, left: NodeId) -> Result<(), Refusal> {
    if left == node.id() && node.system().group.transfer_leadership(None, HAND_OVER_PATIENCE).await {
        return Ok(());
    }
    tracing::warn!(node = %left, "a node has left, and is forgotten");
    node.change_directory(DirectoryOperation::ForgetNode { node: left }).await.map(|_| ())
}

/// What the nodes say of a community that are to have a replica of it, and the one that leaves.
async fn ask_all(node: &Node, record: &CommunityRecord, leaving: NodeId) -> Told {
    let asked: BTreeSet<NodeId> =
        record.replicas.values().map(|replica| replica.node).chain([leaving]).collect();
    let told = asked.into_iter().map(async |on| (on, node.replica_status_on(on, record.id).await));
    futures::future::join_all(told).await.into_iter().collect()
}

/// Has a node take a vacant place, if there is one that can.
async fn fill(node: &Node, record: &CommunityRecord, room: &mut Room) -> Result<(), Refusal> {
    let leader = node.leader_status(record.id).await;
    if !leader.is_some_and(|leader| are_as_wanted(&leader, record, None)) {
        return Ok(());
    }
    let Some(taker) = node.successor(room, record, None).await else { return Ok(()) };
    room.take(taker);
    tracing::info!(community = %record.id, node = %taker, "a node takes a vacant place");
    let operation = DirectoryOperation::FillPlace { community: record.id, node: taker };
    node.change_replicas(operation).await.map(|_| ())
}
