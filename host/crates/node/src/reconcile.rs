//! Reconciling: a node makes itself, and the groups it leads, match the directory.
//!
//! One loop, woken by every change of the directory and by a slow tick. Each step looks at what is
//! and at what should be, does the next thing that is missing, and may be broken off anywhere: the
//! next round goes on. Starting a group that runs and founding one that has begun do nothing.

mod founding;
mod next;

use crate::{
    community::{Community, Hosted},
    directory::{record::CommunityRecord, view::DirectoryView},
    identity, import,
    node::Node,
    outlive::outlive,
    refuse,
};
use althing_consensus::{
    Consensus,
    port::{GroupStatus, Member, MembershipError},
};
use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId},
    program::Fault,
};
use althing_store::port::{Archive, StoreError};
use founding::{found, tell_founders};
use next::{Change, next_change};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How often to look even if the directory says nothing: memberships change by themselves.
const EVERY: Duration = Duration::from_millis(250);
/// How long a change of members may hold the others up; it goes on by itself.
const ALIGN_PATIENCE: Duration = Duration::from_secs(2);

/// Runs as long as the node.
pub(crate) async fn run(node: Node) {
    loop {
        if let Err(fault) = round(&node).await {
            tracing::warn!(fault = refuse::chain(&fault), "reconciling was broken off and will go on");
        }
        let wake = node.reconcile_now().notified();
        node.runtime().timeout(EVERY, wake).await;
    }
}

async fn round(node: &Node) -> Result<(), Fault> {
    if let Err(refusal) = node.system().must_run() {
        return Err(Fault::because("the directory here cannot be trusted", refusal));
    }
    let directory = node.directory();
    let view = DirectoryView(&directory);
    if !node.may_follow_directory() {
        return Ok(());
    }
    let records = view.communities();
    learn_addresses(node, &view).await?;
    found(node, node.system()).await;
    for record in &records {
        host(node, record).await;
        if let Some(here) = node.hosted(record.id).filter(|here| here.leads()) {
            align(node, &here, record).await;
        }
    }
    leave(node, &view).await?;
    import::tidy(node).await;
    Ok(())
}

/// Tells the transport where nodes are, and remembers it for the next start.
async fn learn_addresses(node: &Node, view: &DirectoryView<'_>) -> Result<(), Fault> {
    let nodes = view.nodes();
    let mut has_news = false;
    for record in nodes.iter().filter(|record| record.node != node.id()) {
        has_news |= node.peers().set_address(record.node, &record.peer_address);
    }
    if !has_news {
        return Ok(());
    }
    identity::remember_nodes(&*node.shared().store.archive, &nodes)
        .await
        .map_err(|error| Fault::because("the nodes' addresses could not be remembered", error))
}

/// Starts a replica that should be here and is not. The system community's runs as long as the node.
async fn host(node: &Node, record: &CommunityRecord) {
    let Some(replica) = record.replica_on(node.id()).filter(|_| record.id != CommunityId::SYSTEM) else {
        return;
    };
    if let Some(running) = node.hosted(record.id).filter(|here| here.hosted.replica == replica) {
        return found(node, &running).await;
    }
    match life(node, record.id) {
        // A fresh one is asked for; what it left here goes before that begins.
        Life::None if node.is_distrusted(record.id, replica).is_some() => return,
        Life::None if node.distrust().replicas.contains_key(&record.id) => make_way(node, record.id).await,
        Life::None => {}
        // Ids only rise: a lower one is that of a directory that lags, as it does after a restart.
        Life::Here { replica: here, .. } if here >= replica => return,
        Life::Here { replica: here, term } if is_out(node, record.id, here, term).await => {
            // It was removed and added again: a new life begins with nothing.
            make_way(node, record.id).await;
        }
        Life::Coming | Life::Here { .. } => return,
    }
    let founders = match record.founders.contains_key(&replica) {
        true => record.founders.clone(),
        false => BTreeMap::new(),
    };
    let hosted = Hosted {
        community: record.id,
        name: record.name.clone(),
        replica,
        timing: record.timing,
        founding_policy: record.founding_policy.clone(),
        founded: founders.is_empty(),
        founders,
    };
    match Community::start(node.shared(), hosted, node.sources_of(record.id)).await {
        Ok(community) => {
            tracing::info!(community = %record.id, name = record.name, %replica, "hosting a community");
            node.communities().insert(record.id, community.clone());
            remember(node).await;
            tell_founders(node, &community);
            found(node, &community).await;
        }
        Err(fault) => {
            tracing::error!(community = %record.id, fault = refuse::chain(&fault), "a community could not be started");
        }
    }
}

fn member(node: &Node, view: &DirectoryView<'_>, id: NodeId) -> Member {
    if id == node.id() {
        return node.member();
    }
    let address = view.node(id).map(|record| record.peer_address).unwrap_or_default();
    Member { node: id, address }
}

/// Brings the members of a group that this node leads one step closer to the directory.
async fn align(node: &Node, here: &Arc<Community>, record: &CommunityRecord) {
    let status = here.status();
    let Some(change) = possible_change(node, status.clone(), record).await else { return };
    tracing::info!(community = %record.id, ?change, "changing members");
    if let Change::HandOver { heirs, .. } = &change
        && hand_over(node, here, &status, heirs).await
    {
        return;
    }
    let changed = async {
        match change {
            Change::AddLearner(replica, on) => {
                let directory = node.directory();
                here.group.add_learner(replica, member(node, &DirectoryView(&directory), on)).await
            }
            // A leader to whom nobody succeeds in time gives its leadership up when it is out.
            Change::SetVoters(voters) | Change::HandOver { voters, .. } => {
                here.group.change_voters(voters).await
            }
            Change::RemoveLearner(replica) => here.group.remove_learner(replica).await,
        }
    };
    match node.runtime().timeout(ALIGN_PATIENCE, changed).await {
        Some(Ok(())) => {}
        None | Some(Err(MembershipError::InProgress)) => {
            tracing::debug!(community = %record.id, "members are still being changed");
        }
        Some(Err(error)) => {
            tracing::warn!(community = %record.id, %error, "the members could not be changed and will be tried again");
        }
    }
}

/// The next change that risks nobody's quorum. A vote is never given to one that does not answer, and the
/// others need not wait for it.
async fn possible_change(node: &Node, mut status: GroupStatus, record: &CommunityRecord) -> Option<Change> {
    loop {
        let change = next_change(&status, &record.replicas)?;
        let (Change::SetVoters(voters) | Change::HandOver { voters, .. }) = &change else {
            return Some(change);
        };
        let fresh = voters.iter().filter(|voter| !status.voters.contains_key(voter));
        let silent = silent(node, record, fresh).await;
        if silent.is_empty() {
            return keeps_quorum(node, record.id, &status, voters).await.then_some(change);
        }
        // As if it had never been heard of.
        for replica in silent {
            status.matched.remove(&replica);
        }
    }
}

/// Hands leadership over to the first heir that answers; whether it leads now.
async fn hand_over(node: &Node, here: &Community, status: &GroupStatus, heirs: &[ReplicaId]) -> bool {
    for heir in heirs {
        let Some(member) = status.voters.get(heir) else { continue };
        if node.is_up(here.id(), *heir, member.node).await {
            return here.group.transfer_leadership(Some(*heir), ALIGN_PATIENCE).await || !here.leads();
        }
    }
    false
}

/// Those of these replicas that do not answer.
async fn silent(
    node: &Node,
    record: &CommunityRecord,
    replicas: impl Iterator<Item = &ReplicaId>,
) -> Vec<ReplicaId> {
    let asked = replicas.map(async |&replica| {
        let wanted = record.replicas.get(&replica)?;
        (!node.is_up(record.id, replica, wanted.node).await).then_some(replica)
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Whether votes may be taken: a quorum of those who keep theirs answers. Else the group would stand
/// between two configurations until enough of them are back.
async fn keeps_quorum(
    node: &Node,
    community: CommunityId,
    status: &GroupStatus,
    voters: &BTreeSet<ReplicaId>,
) -> bool {
    if status.voters.keys().all(|voter| voters.contains(voter)) {
        return true;
    }
    let asked = status.voters.iter().filter(|(replica, _)| voters.contains(replica));
    let asked = asked.map(|(&replica, member)| node.is_up(community, replica, member.node));
    let up = futures::future::join_all(asked).await.into_iter().filter(|&is_up| is_up).count();
    // Those who get their vote by the same change have just answered.
    let fresh = voters.iter().filter(|voter| !status.voters.contains_key(voter)).count();
    up + fresh > voters.len() / 2
}

/// Stops and forgets replicas that should not be here any more: those of communities that are
/// deleted, not of those that a directory that lags does not know yet, and those that their groups
/// have let go.
async fn leave(node: &Node, view: &DirectoryView<'_>) -> Result<(), Fault> {
    let mut here: BTreeSet<CommunityId> = node.communities().keys().copied().collect();
    here.extend(node.awaited().keys());
    here.remove(&CommunityId::SYSTEM);
    for id in here {
        let Life::Here { replica, term } = life(node, id) else { continue };
        let should_stay = match view.community(id) {
            Some(record) => record.replica_on(node.id()).is_some() || !is_out(node, id, replica, term).await,
            None => !view.is_over(id),
        };
        if !should_stay {
            tracing::info!(community = %id, "leaving a community");
            remove(node, id).await;
        }
    }
    Ok(())
}

/// Whether the group itself has let this replica go, by the word of its leader. Until then its vote,
/// or what it stored, may be needed, whatever the directory says: also for its own removal. A leader
/// of an older term than this replica has seen does not count.
async fn is_out(node: &Node, id: CommunityId, replica: ReplicaId, term: u64) -> bool {
    node.leader_status(id).await.is_some_and(|leader| {
        leader.are_members_settled
            && leader.replica != replica
            && leader.term >= term
            && leader.members.iter().all(|member| member.replica != replica)
    })
}

/// What this node has of a community.
enum Life {
    /// Nothing.
    None,
    /// It is being brought back after a restart.
    Coming,
    /// A replica that runs, or cannot, and the newest term it knows of.
    Here { replica: ReplicaId, term: u64 },
}

fn life(node: &Node, id: CommunityId) -> Life {
    if let Some(running) = node.hosted(id) {
        return Life::Here { replica: running.hosted.replica, term: running.status().term };
    }
    match node.awaited().get(&id) {
        None => Life::None,
        Some(awaited) if awaited.failed.is_some() => Life::Here { replica: awaited.hosted.replica, term: 0 },
        Some(_) => Life::Coming,
    }
}

/// Removes a replica that another one follows here.
async fn make_way(node: &Node, id: CommunityId) {
    if let Err(error) = outlive(&*node.shared().store.archive, id).await {
        tracing::warn!(community = %id, error = refuse::chain(&error), "its chunks will have to be fetched again");
    }
    remove(node, id).await;
}

async fn remove(node: &Node, id: CommunityId) {
    if let Some(leaving) = node.hosted(id) {
        node.archive_rest(&leaving).await;
    }
    if let Some(community) = node.communities().remove(&id) {
        community.stop_tasks();
    }
    let shared = node.shared();
    shared.transfers.end(id);
    let removed = forget(&shared.consensus, &*shared.store.archive, id).await;
    // Last: broken off before, it is hosted again after the restart and leaves again.
    node.awaited().remove(&id);
    remember(node).await;
    // After that: what must not run is not hosted any more when nothing says so.
    node.end_quarantine(id).await;
    node.end_distrust(id).await;
    if let Err(error) = removed {
        tracing::error!(community = %id, error = refuse::chain(&error), "what a community left could not be removed");
    }
}

/// Forgets what a replica has stored, its log last. A crash in between leaves a log without a state: the replica
/// that it was, or none. A state without its log would be a replica that forgot whom it voted for, and that its
/// group has others.
async fn forget(consensus: &Consensus, archive: &dyn Archive, id: CommunityId) -> Result<(), StoreError> {
    consensus.stop(id).await;
    archive.remove_community(id).await?;
    archive.flush().await?;
    consensus.remove(id).await
}

async fn remember(node: &Node) {
    if let Err(error) = node.remember_hosted().await {
        tracing::error!(error = refuse::chain(&error), "what this node hosts could not be remembered");
    }
}

#[cfg(test)]
mod tests;
