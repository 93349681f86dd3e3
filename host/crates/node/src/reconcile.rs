//! Reconciling: a node makes itself, and the groups it leads, match the directory.
//!
//! One loop, woken by every change of the directory and by a slow tick. Each step looks at what is
//! and at what should be, does the next thing that is missing, and may be broken off anywhere: the
//! next round goes on. Starting a group that runs and founding one that has begun do nothing.

use crate::{
    community::{Community, Hosted},
    directory::{
        record::{CommunityRecord, ReplicaRecord},
        view::DirectoryView,
    },
    identity,
    node::Node,
    refuse,
};
use althing_consensus::port::{GroupStatus, Member, MembershipError};
use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId},
    program::Fault,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How often to look even if the directory says nothing: memberships change by themselves.
const EVERY: Duration = Duration::from_millis(250);
/// How long a change of members may hold the others up; it goes on by itself.
const ALIGN_PATIENCE: Duration = Duration::from_secs(2);
/// A learner that is this close to the leader's log, in entries, may be given its vote.
const CAUGHT_UP: u64 = 500;

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
    let directory = node.directory();
    let view = DirectoryView(&directory);
    let records = view.communities();
    learn_addresses(node, &view).await?;
    found(node, node.system()).await;
    for record in &records {
        host(node, record).await;
        if let Some(here) = node.hosted(record.id).filter(|here| here.leads()) {
            align(node, &here, record).await;
        }
    }
    leave(node, &view).await
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

/// Starts a replica that should be here and is not.
async fn host(node: &Node, record: &CommunityRecord) {
    let Some(replica) = record.replica_on(node.id()) else { return };
    if let Some(running) = node.hosted(record.id).filter(|here| here.hosted.replica == replica) {
        return found(node, &running).await;
    }
    match life(node, record.id) {
        Life::None => {}
        // Ids only rise: a lower one is that of a directory that lags, as it does after a restart.
        Life::Here { replica: here, .. } if here >= replica => return,
        Life::Here { replica: here, term } if is_out(node, record.id, here, term).await => {
            // It was removed and added again: a new life begins with nothing.
            remove(node, record.id).await;
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
            found(node, &community).await;
        }
        Err(fault) => {
            tracing::error!(community = %record.id, fault = refuse::chain(&fault), "a community could not be started");
        }
    }
}

/// Begins a group that has not begun, if this replica is one of its founders. Every founder does
/// so with the same members, which is as good as one of them doing it.
async fn found(node: &Node, community: &Arc<Community>) {
    if community.is_founded() {
        return;
    }
    let directory = node.directory();
    let view = DirectoryView(&directory);
    let members: BTreeMap<ReplicaId, Member> = community
        .hosted
        .founders
        .iter()
        .map(|(&replica, &founder)| (replica, member(node, &view, founder)))
        .collect();
    match community.group.initialize(members).await {
        Ok(()) => {
            community.set_founded();
            remember(node).await;
        }
        Err(error) => tracing::warn!(community = %community.id(), %error, "a group could not begin"),
    }
}

fn member(node: &Node, view: &DirectoryView<'_>, id: NodeId) -> Member {
    if id == node.id() {
        return node.member();
    }
    let address = view.node(id).map(|record| record.peer_address).unwrap_or_default();
    Member { node: id, address }
}

/// The next change that brings a group's members closer to what the directory says.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    AddLearner(ReplicaId, NodeId),
    SetVoters(BTreeSet<ReplicaId>),
    RemoveLearner(ReplicaId),
}

/// Brings the members of a group that this node leads one step closer to the directory.
async fn align(node: &Node, here: &Arc<Community>, record: &CommunityRecord) {
    let status = here.status();
    let Some(change) = next_change(&status, &record.replicas) else { return };
    if let Change::SetVoters(voters) = &change
        && !are_up(node, record, voters.iter().filter(|voter| !status.voters.contains_key(voter))).await
    {
        return;
    }
    tracing::info!(community = %record.id, ?change, "changing members");
    let changed = async {
        match change {
            Change::AddLearner(replica, on) => {
                let directory = node.directory();
                here.group.add_learner(replica, member(node, &DirectoryView(&directory), on)).await
            }
            Change::SetVoters(voters) => here.group.change_voters(voters).await,
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

/// Whether replicas answer, so that a vote is never given to one that is gone: that could cost the
/// quorum.
async fn are_up(node: &Node, record: &CommunityRecord, replicas: impl Iterator<Item = &ReplicaId>) -> bool {
    let asked = replicas.map(async |replica| {
        let Some(wanted) = record.replicas.get(replica) else { return false };
        let told = node.replica_status_on(wanted.node, record.id).await;
        told.is_ok_and(|status| status.replica == *replica && status.fault.is_none())
    });
    futures::future::join_all(asked).await.into_iter().all(|is_up| is_up)
}

fn next_change(status: &GroupStatus, wanted: &BTreeMap<ReplicaId, ReplicaRecord>) -> Option<Change> {
    if status.is_joint {
        return None;
    }
    let is_member =
        |replica: &ReplicaId| status.voters.contains_key(replica) || status.learners.contains_key(replica);
    if let Some((&replica, record)) = wanted.iter().find(|(replica, _)| !is_member(replica)) {
        return Some(Change::AddLearner(replica, record.node));
    }
    // 0: it has never answered. In a young group that would be close enough.
    let is_close = |&matched: &u64| matched > 0 && matched + CAUGHT_UP >= status.last_index;
    let has_caught_up = |replica: &ReplicaId| {
        status.voters.contains_key(replica) || status.matched.get(replica).is_some_and(is_close)
    };
    let mut voters: BTreeSet<ReplicaId> = wanted
        .iter()
        .filter(|(replica, record)| record.voter && has_caught_up(replica))
        .map(|(&id, _)| id)
        .collect();
    let current: BTreeSet<ReplicaId> = status.voters.keys().copied().collect();
    // Votes are given before they are taken, and an even number is passed through only when there
    // is nothing to wait for: else the newest of those who would get a vote waits.
    let all_wanted = wanted.values().filter(|record| record.voter).count();
    if voters.len() != all_wanted && voters.len().is_multiple_of(2) {
        let newest = voters.iter().rev().find(|voter| !current.contains(voter)).copied();
        newest.map(|newest| voters.remove(&newest));
    }
    let is_worth_it = voters.len() == all_wanted || voters.len() % 2 == 1 && voters.len() > current.len();
    if !voters.is_empty() && voters != current && is_worth_it {
        return Some(Change::SetVoters(voters));
    }
    let unwanted = status.learners.keys().find(|replica| !wanted.contains_key(replica));
    unwanted.map(|&replica| Change::RemoveLearner(replica))
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
            None => !view.has_existed(id),
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
        Some(awaited) if awaited.has_failed => Life::Here { replica: awaited.hosted.replica, term: 0 },
        Some(_) => Life::Coming,
    }
}

async fn remove(node: &Node, id: CommunityId) {
    if let Some(community) = node.communities().remove(&id) {
        community.stop_tasks();
    }
    let shared = node.shared();
    let removed = match shared.consensus.remove(id).await {
        Ok(()) => shared.store.archive.remove_community(id).await,
        Err(error) => Err(error),
    };
    // Last: broken off before, it is hosted again after the restart and leaves again.
    node.awaited().remove(&id);
    remember(node).await;
    if let Err(error) = removed {
        tracing::error!(community = %id, error = refuse::chain(&error), "what a community left could not be removed");
    }
}

async fn remember(node: &Node) {
    if let Err(error) = node.remember_hosted().await {
        tracing::error!(error = refuse::chain(&error), "what this node hosts could not be remembered");
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, next_change};
    use crate::directory::record::ReplicaRecord;
    use althing_consensus::port::{GroupStatus, Member};
    use althing_core::ids::{NodeId, ReplicaId};
    use std::collections::{BTreeMap, BTreeSet};

    fn group(voters: &[u64], learners: &[(u64, u64)]) -> GroupStatus {
        let member = |id: u64| (ReplicaId(id), Member { node: NodeId(id), address: String::new() });
        GroupStatus {
            voters: voters.iter().map(|&id| member(id)).collect(),
            learners: learners.iter().map(|&(id, _)| member(id)).collect(),
            matched: learners.iter().map(|&(id, matched)| (ReplicaId(id), matched)).collect(),
            last_index: 10_000,
            ..GroupStatus::default()
        }
    }

    fn wanted(replicas: &[(u64, bool)]) -> BTreeMap<ReplicaId, ReplicaRecord> {
        replicas
            .iter()
            .map(|&(id, voter)| (ReplicaId(id), ReplicaRecord { node: NodeId(id), voter }))
            .collect()
    }

    fn ids(ids: &[u64]) -> BTreeSet<ReplicaId> {
        ids.iter().copied().map(ReplicaId).collect()
    }

    #[test]
    fn a_group_that_matches_is_left_alone() {
        assert_eq!(next_change(&group(&[1], &[(2, 0)]), &wanted(&[(1, true), (2, false)])), None);
    }

    #[test]
    fn a_missing_replica_is_first_a_learner() {
        let change = next_change(&group(&[1], &[]), &wanted(&[(1, true), (2, true)]));
        assert_eq!(change, Some(Change::AddLearner(ReplicaId(2), NodeId(2))));
    }

    #[test]
    fn a_learner_gets_its_vote_only_when_it_has_caught_up() {
        let want = wanted(&[(1, true), (2, true)]);
        assert_eq!(next_change(&group(&[1], &[(2, 0)]), &want), None);
        assert_eq!(next_change(&group(&[1], &[(2, 9_900)]), &want), Some(Change::SetVoters(ids(&[1, 2]))));
    }

    #[test]
    fn a_learner_that_never_answered_gets_no_vote_in_a_young_group_either() {
        let young = GroupStatus { last_index: 9, ..group(&[1], &[(2, 0), (3, 9)]) };
        let want = wanted(&[(1, true), (2, true), (3, true)]);
        assert_eq!(next_change(&young, &want), None);
    }

    #[test]
    fn one_that_never_comes_does_not_keep_the_others_from_their_votes() {
        let status = group(&[1], &[(2, 9_900), (3, 0), (4, 9_900), (5, 9_900)]);
        let want = wanted(&[(1, true), (2, true), (3, true), (4, true), (5, true)]);
        assert_eq!(next_change(&status, &want), Some(Change::SetVoters(ids(&[1, 2, 4]))));
        let status = group(&[1, 2, 4], &[(3, 0), (5, 9_900)]);
        assert_eq!(next_change(&status, &want), None);
    }

    #[test]
    fn an_even_number_of_votes_waits_for_the_odd_one() {
        let want = wanted(&[(1, true), (2, true), (3, true)]);
        assert_eq!(next_change(&group(&[1], &[(2, 9_900), (3, 0)]), &want), None);
        assert_eq!(
            next_change(&group(&[1], &[(2, 9_900), (3, 9_900)]), &want),
            Some(Change::SetVoters(ids(&[1, 2, 3])))
        );
    }

    #[test]
    fn a_voter_that_is_not_wanted_loses_its_vote_and_a_learner_its_place() {
        assert_eq!(
            next_change(&group(&[1, 2, 3], &[]), &wanted(&[(1, true), (2, true)])),
            Some(Change::SetVoters(ids(&[1, 2])))
        );
        assert_eq!(
            next_change(&group(&[1], &[(2, 9_900)]), &wanted(&[(1, true)])),
            Some(Change::RemoveLearner(ReplicaId(2)))
        );
    }
}
