//! What a node does with what it has when something is in the way: its directory lags, its disk says no, a
//! replica that is to vote is gone.

use super::forget;
use crate::{
    Birth, Timing,
    community::Hosted,
    directory::record::{DirectoryOperation, DirectoryResult},
    node::{HOSTED_FACT, remembered_hosted},
    quarantine::tests::{GUILD, Stage},
};
use althing_consensus::{Consensus, ConsensusOptions, memory::MemoryNetwork, runtime::simulate};
use althing_core::{
    codec,
    ids::{CommunityId, Hash, NodeId, ReplicaId, Sequence},
    origin::Origin,
    policy::Policy,
};
use althing_store::memory::MemoryStore;
use std::{collections::BTreeMap, time::Duration};

#[test]
fn what_a_directory_that_lags_does_not_know_to_have_begun_is_not_thrown_away() {
    simulate(1, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        stage.votes(2).await;
        // Who reserved it is away, so nobody gives it up.
        stage.down(3).await;
        let origin = Origin {
            cluster: "00".into(),
            community: CommunityId(3),
            name: "hall".into(),
            sequence: Sequence(9),
            digest: Hash([1; 32]),
            seal: Hash([2; 32]),
        };
        let reserve = DirectoryOperation::Reserve {
            name: "hall".to_owned(),
            nodes: vec![NodeId(2)],
            timing: Timing::LAN,
            policy: Box::default(),
            by: NodeId(3),
            origin,
        };
        let reserved = stage.node(1).change_directory(reserve).await.unwrap();
        let DirectoryResult::Community(hall) = reserved else { panic!("{reserved:?}") };

        // The node had seen it begin, and hosts it; what it has of the directory after a crash is older.
        let store = stage.down(2).await;
        let archive = store.store().archive;
        let mut hosted = remembered_hosted(&*archive).await.unwrap();
        hosted.push(Hosted {
            community: hall.id,
            name: hall.name,
            replica: ReplicaId(1),
            timing: Timing::LAN,
            founding_policy: Policy::default(),
            founders: BTreeMap::new(),
            founded: true,
        });
        archive.put_fact(HOSTED_FACT, codec::encode(&hosted).into()).await.unwrap();
        stage.up(2, store, Birth::Restart).await;
        stage.runtime.sleep(Duration::from_secs(10)).await;
        assert!(stage.node(2).hosted(hall.id).is_some(), "its replica is still there");
        stage.close().await;
    });
}

#[test]
fn the_log_of_a_replica_that_goes_outlives_its_state() {
    simulate(2, async |runtime| {
        let (id, store) = (CommunityId(4), MemoryStore::new().store());
        store.wal.save_vote(id, b"vote".as_slice().into()).await.unwrap();
        let consensus = Consensus::new(ConsensusOptions {
            node: NodeId(1),
            wal: store.wal.clone(),
            transport: MemoryNetwork::new(runtime.clone()).transport(NodeId(1)),
            runtime,
        });
        store.archive.close().await;
        forget(&consensus, &*store.archive, id).await.unwrap_err();
        assert_eq!(store.wal.groups().await.unwrap(), [id], "a state without a log would vote twice");
    });
}

#[test]
fn one_that_has_caught_up_and_is_gone_does_not_keep_the_others_from_their_votes() {
    simulate(3, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        for id in 4..=7 {
            let join = Birth::Join { address: MemoryNetwork::address(NodeId(1)) };
            stage.up(id, MemoryStore::new(), join).await;
        }
        stage.votes(1).await;
        for id in 4..=7 {
            stage.node(1).add_replica(GUILD, NodeId(id)).await.unwrap();
        }
        stage.tell().await;
        let node = stage.node(1);
        let community = node.find(GUILD).unwrap();
        let have_all = async || {
            let status = async |id| node.replica_status_on(NodeId(id), community).await;
            let wanted = status(1).await.unwrap().last_index;
            let told = [status(4).await, status(5).await, status(6).await, status(7).await];
            told.into_iter().all(|told| told.is_ok_and(|status| status.applied_index >= wanted))
        };
        stage.wait("the learners have everything", have_all).await;
        stage.network.isolate(NodeId(4));
        let add = (4..=7).map(NodeId).collect();
        let seven = DirectoryOperation::SetReplicas { community, voters: 7, add, remove: Vec::new() };
        node.change_directory(seven).await.unwrap();
        let five_vote = async || {
            let leader = node.leader_status(community).await.filter(|leader| leader.are_members_settled);
            let members = leader.into_iter().flat_map(|leader| leader.members);
            members.filter(|member| member.voter).map(|member| member.node.0).eq([1, 2, 3, 5, 6])
        };
        stage.wait("five of seven vote, of whom one is gone", five_vote).await;
        stage.close().await;
    });
}
