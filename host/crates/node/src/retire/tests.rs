//! Nodes that leave while others are away: what the directory needs stays as long as it is needed, and
//! nothing waits for ever for a node that is gone. Real nodes over memory, in virtual time.

use super::{Expected, Retire};
use crate::{
    Birth, Node, Role,
    directory::{record::DirectoryOperation, view::DirectoryView},
    quarantine::tests::{GUILD, Stage},
};
use althing_consensus::{memory::MemoryNetwork, runtime::simulate};
use althing_core::{
    ids::{CommunityId, NodeId},
    refusal::Code,
};
use althing_store::memory::MemoryStore;
use std::time::Duration;

const ANYHOW: Retire = Retire { expected: Expected::Whatever, to: None, may_vacate: false };
/// How long a change of the directory may take that has a quorum.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of so many nodes, its directory led by node 1.
async fn stage(runtime: althing_consensus::runtime::Runtime, nodes: u64) -> Stage {
    let mut stage = Stage::set(runtime, 3).await;
    for id in 4..=nodes {
        let join = Birth::Join { address: MemoryNetwork::address(NodeId(1)) };
        stage.up(id, MemoryStore::new(), join).await;
    }
    stage.votes(1).await;
    stage.node(1).transfer_leadership("system", Some(NodeId(1))).await.unwrap();
    stage
}

async fn leads_directory(node: &Node) -> bool {
    let replicas = node.status().await.replicas;
    replicas.iter().any(|replica| replica.community == CommunityId::SYSTEM && replica.role == Role::Leader)
}

/// The nodes on which the leader of the guild sees voters; none if there is no leader, or change is under way.
async fn guild_votes_on(node: &Node) -> Vec<u64> {
    let Ok(id) = node.find(GUILD) else { return Vec::new() };
    let leader = node.leader_status(id).await.filter(|leader| leader.are_members_settled);
    let members = leader.into_iter().flat_map(|leader| leader.members);
    let mut on: Vec<u64> = members.filter(|member| member.voter).map(|member| member.node.0).collect();
    on.sort_unstable();
    on
}

async fn directory_can_be_changed(node: &Node) -> bool {
    let nothing = node.change_directory(DirectoryOperation::KeepNode { node: node.id() });
    matches!(node.runtime().timeout(PATIENCE, nothing).await, Some(Ok(_)))
}

#[test]
fn a_node_that_leaves_votes_in_the_directory_until_another_does_in_its_place() {
    for seed in 0..3 {
        println!("seed {seed}");
        simulate(seed, async |runtime| {
            let mut stage = stage(runtime, 4).await;
            stage.node(1).delete_community(GUILD).await.unwrap();
            // One of the three who vote is away; so the one that leaves is needed to give the fourth its vote.
            stage.network.isolate(NodeId(2));
            stage.wait("node 1 leads", async || leads_directory(&stage.node(1)).await).await;
            let leaves = stage.node(3);
            stage.node(1).retire_node(NodeId(3), ANYHOW).await.unwrap();
            let ended = stage.runtime.timeout(PATIENCE, leaves.left()).await;
            assert!(ended.is_some(), "it has left, and ends");
            stage.down(3).await;
            assert!(directory_can_be_changed(&stage.node(1)).await, "the other two are a quorum of three");
            stage.close().await;
        });
    }
}

#[test]
fn a_node_stays_as_long_as_the_directory_would_have_no_quorum_without_it() {
    simulate(1, async |runtime| {
        let mut stage = stage(runtime, 4).await;
        stage.node(1).delete_community(GUILD).await.unwrap();
        // The fourth, which would take the vote over, is away like the second.
        for away in [2, 4] {
            stage.down(away).await;
        }
        stage.node(1).retire_node(NodeId(3), ANYHOW).await.unwrap();
        stage.runtime.sleep(Duration::from_secs(20)).await;
        let told = stage.node(1).retire_node(NodeId(3), ANYHOW).await.unwrap();
        assert!(!told.has_left, "1 of 3 would be no quorum");
        assert!(told.remaining.iter().any(|left| left.why.contains("quorum")), "{told:?}");
        assert!(directory_can_be_changed(&stage.node(1)).await);
        stage.close().await;
    });
}

#[test]
fn a_node_that_dies_before_it_has_taken_a_place_is_removed_and_another_takes_the_place() {
    for seed in 0..3 {
        println!("seed {seed}");
        simulate(seed, async |runtime| {
            let mut stage = stage(runtime, 5).await;
            let how = Retire { to: Some(NodeId(4)), ..ANYHOW };
            stage.node(1).retire_node(NodeId(3), how).await.unwrap();
            let is_to_take = async || {
                let record = DirectoryView(&stage.node(1).directory()).find(GUILD).unwrap();
                record.replica_on(NodeId(4)).is_some()
            };
            stage.wait("it is decided that node 4 takes the place", is_to_take).await;
            stage.network.isolate(NodeId(4));
            stage.runtime.sleep(Duration::from_secs(10)).await;
            assert_eq!(guild_votes_on(&stage.node(1)).await, [1, 2, 3], "the vote stays where it is");
            let told = stage.node(1).retire_node(NodeId(3), how).await;
            assert!(told.is_err(), "{told:?}");
            stage.tell().await;

            stage.node(1).retire_node(NodeId(4), ANYHOW).await.unwrap();
            stage
                .wait("another takes the place", async || guild_votes_on(&stage.node(1)).await == [1, 2, 5])
                .await;
            stage
                .wait("both have left", async || {
                    let nodes = DirectoryView(&stage.node(1).directory()).nodes();
                    nodes.iter().map(|record| record.node.0).eq([1, 2, 5])
                })
                .await;
            stage.tell().await;
            stage.close().await;
        });
    }
}

#[test]
fn a_node_that_does_not_answer_is_not_made_leader_and_nobody_is_deposed_for_it() {
    simulate(2, async |runtime| {
        let stage = stage(runtime, 3).await;
        let term = async || stage.node(1).own_status(CommunityId::SYSTEM).await.unwrap().term;
        let before = term().await;
        stage.network.isolate(NodeId(3));
        let told = stage.node(1).transfer_leadership("system", Some(NodeId(3))).await.unwrap_err();
        assert!(told.code == Code::BadMembers && told.message.contains("does not answer"), "{told:?}");
        stage.runtime.sleep(Duration::from_secs(5)).await;
        assert!(leads_directory(&stage.node(1)).await && term().await == before);
        stage.close().await;
    });
}
