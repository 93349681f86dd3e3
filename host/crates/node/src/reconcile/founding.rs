//! Founding: how a group gets its first leader, and keeps it.
//!
//! Any founder may begin the group: all do it with the same members at the same place of the log. But whoever
//! begins stands for election at once and in the first term, where the higher replica id wins; so one that
//! began late would depose a leader that is well, and nobody would lead for the length of an election. One
//! therefore begins for all: the first of the founders that are there, as soon as they are a quorum. The
//! others have voices all the same, and begin when its log reaches them.

use super::{member, remember};
use crate::{
    community::Community, directory::view::DirectoryView, node::Node, peer::method, status::ReplicaStatus,
};
use althing_consensus::{peers::Lane, port::Member};
use althing_core::ids::{NodeId, ReplicaId};
use futures::{StreamExt as _, stream::FuturesUnordered};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How many longest elections a founder waits for another to begin, before it does so itself. It may see
/// that other and not be seen by it.
const ELECTIONS_TO_WAIT: u32 = 3;
/// How long telling the other founders may take; they look by themselves too.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Begins a group that has not begun, if this replica is one of its founders and the one to do it.
pub(super) async fn found(node: &Node, community: &Arc<Community>) {
    if community.is_founded() {
        return;
    }
    if !has_begun(community) {
        if !is_our_turn(node, community).await {
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
        if let Err(error) = community.group.initialize(members).await {
            return tracing::warn!(community = %community.id(), %error, "a group could not begin");
        }
    }
    community.set_founded();
    remember(node).await;
}

/// Tells the other founders that this one is there: one of them may be waiting for it.
pub(super) fn tell_founders(node: &Node, community: &Arc<Community>) {
    let (id, own) = (community.id(), node.id());
    let others: Vec<NodeId> =
        community.hosted.founders.values().copied().filter(|&founder| founder != own).collect();
    if community.is_founded() || others.is_empty() {
        return;
    }
    let peers = node.peers().clone();
    let _detached = node.runtime().spawn("tell founders", async move {
        let told = others.into_iter().map(|founder| {
            let peers = peers.clone();
            async move { peers.ask::<()>(founder, Lane::Control, id, method::FOUND, &(), TELL_TIMEOUT).await }
        });
        // Whoever is not there yet asks when it is.
        let _ = futures::future::join_all(told).await;
    });
}

/// Whether there is anything in the log here: by this replica's own doing or the leader's.
fn has_begun(community: &Community) -> bool {
    !community.status().voters.is_empty()
}

fn has_waited(node: &Node, community: &Community) -> bool {
    let longest = Duration::from_millis(community.hosted.timing.election_millis_max);
    node.runtime().monotonic().saturating_sub(community.started) > longest * ELECTIONS_TO_WAIT
}

/// Whether nobody has begun, a quorum of the founders is there, and this is the first of them or has waited
/// long for the first. One that says nothing for as long as a follower waits for its leader is not there.
async fn is_our_turn(node: &Node, community: &Community) -> bool {
    let hosted = &community.hosted;
    let patience = Duration::from_millis(hosted.timing.election_millis_min);
    let mut asked: FuturesUnordered<_> = hosted
        .founders
        .iter()
        .filter(|(replica, _)| **replica != hosted.replica)
        .map(async |(&replica, &founder)| {
            let question =
                node.peers().ask(founder, Lane::Control, hosted.community, method::STATUS, &(), patience);
            let told: Option<ReplicaStatus> = question.await.ok();
            (replica, told.filter(|status| status.replica == replica && status.fault.is_none()))
        })
        .collect();
    let has_waited = has_waited(node, community);
    let (mut there, quorum) = (1, hosted.founders.len() / 2 + 1);
    let mut before: BTreeSet<ReplicaId> =
        hosted.founders.keys().copied().filter(|&replica| replica < hosted.replica).collect();
    while has_waited || there < quorum || !before.is_empty() {
        match asked.next().await {
            None => break,
            Some((_, Some(status))) if !status.members.is_empty() => return false,
            Some((replica, Some(_))) if replica > hosted.replica => there += 1,
            Some((_, Some(_))) if has_waited => there += 1,
            // It will begin.
            Some((_, Some(_))) => return false,
            Some((replica, None)) => {
                before.remove(&replica);
            }
        }
    }
    there >= quorum && (has_waited || before.is_empty())
}
