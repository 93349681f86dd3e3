//! Where reservations, moves, rebuilds and leaving meet: what holds after every decision, whatever came before.

use super::{Cluster, reserve};
use crate::directory::{
    program::VOTERS_MAX,
    record::{CommunityRecord, DirectoryOperation, JoinToken, Leaving},
    view::DirectoryView,
};
use althing_core::ids::{CommunityId, NodeId, ReplicaId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Most voters of the system community.
const SYSTEM_VOTERS_MAX: usize = 5;
/// Nodes and communities that are spoken of, some of which there are not.
const NODES: u64 = 7;
const COMMUNITIES: u64 = 4;

fn leave(node: u64) -> DirectoryOperation {
    DirectoryOperation::LeaveNode(Leaving { node: NodeId(node), to: None, may_vacate: true })
}

fn forget(node: u64) -> DirectoryOperation {
    DirectoryOperation::ForgetNode { node: NodeId(node) }
}

fn founded(nodes: u64) -> Cluster {
    let mut cluster = Cluster::founded();
    for _ in 1..nodes {
        cluster.add_node();
    }
    cluster
}

#[test]
fn what_was_to_begin_on_a_node_that_has_left_never_begins() {
    let mut cluster = founded(3);
    let hall = reserve(&mut cluster, "hall", &[2, 3]).unwrap().id;
    let attic = reserve(&mut cluster, "attic", &[1, 2]).unwrap().id;
    cluster.change(&leave(3)).unwrap();
    cluster.change(&forget(3)).unwrap();
    let begin = |community| DirectoryOperation::Begin { community };
    assert_eq!(cluster.change(&begin(hall)), Err("no-community".to_owned()));
    cluster.change(&begin(attic)).unwrap();
    // Nor does what it had reserved: nobody else would give that up.
    reserve(&mut cluster, "cellar", &[2]).unwrap();
    cluster.change(&leave(1)).unwrap();
    let moved = DirectoryOperation::VacatePlace { community: attic, replica: ReplicaId(1) };
    cluster.change(&moved).unwrap();
    cluster.change(&forget(1)).unwrap();
    assert!(DirectoryView(&cluster.machine.view()).reserved().is_empty());
}

#[test]
fn a_community_that_is_still_to_begin_is_not_over() {
    let mut cluster = founded(1);
    let is_over = |cluster: &Cluster, id| DirectoryView(&cluster.machine.view()).is_over(id);
    let hall = reserve(&mut cluster, "hall", &[1]).unwrap().id;
    assert!(!is_over(&cluster, hall), "who hosts it knows more than this directory");
    cluster.change(&DirectoryOperation::Begin { community: hall }).unwrap();
    assert!(!is_over(&cluster, hall));
    cluster.change(&DirectoryOperation::DeleteCommunity { community: hall }).unwrap();
    assert!(is_over(&cluster, hall));
    let attic = reserve(&mut cluster, "attic", &[1]).unwrap().id;
    cluster.change(&DirectoryOperation::Release { community: attic }).unwrap();
    assert!(is_over(&cluster, attic) && !is_over(&cluster, CommunityId(9)));
}

#[test]
fn a_replica_of_the_system_community_comes_and_goes_with_its_node() {
    let mut cluster = founded(4);
    let (community, node) = (CommunityId::SYSTEM, NodeId(4));
    for operation in [
        DirectoryOperation::RemoveReplica { community, node },
        DirectoryOperation::Promote { community, node },
        DirectoryOperation::AddReplica { community, node },
    ] {
        assert_eq!(cluster.change(&operation), Err("bad-request".to_owned()), "{operation:?}");
    }
}

#[test]
fn an_address_that_is_none_gets_nobody_in() {
    let mut cluster = founded(2);
    let long = || "a".repeat(513);
    let (token, good) = (JoinToken([9; 16]), || "host:1".to_owned());
    let join = |peer_address, api_address| DirectoryOperation::AddNode { token, peer_address, api_address };
    assert_eq!(cluster.change(&join(long(), good())), Err("bad-request".to_owned()));
    assert_eq!(cluster.change(&join(good(), long())), Err("bad-request".to_owned()));
    let seen = DirectoryOperation::SeeNode { node: NodeId(2), peer_address: long(), api_address: good() };
    assert_eq!(cluster.change(&seen), Err("bad-request".to_owned()));
    cluster.change(&join(good(), good())).unwrap();
}

/// Any order that the directory may be given.
fn operation() -> impl Strategy<Value = Order> {
    let community = || 0..COMMUNITIES;
    let node = || 1..=NODES;
    let replica = || 1..=12_u64;
    prop_oneof![
        Just(Order::Join),
        proptest::sample::subsequence((1..=NODES).collect::<Vec<_>>(), 1..=3).prop_map(Order::Create),
        proptest::sample::subsequence((1..=NODES).collect::<Vec<_>>(), 1..=3).prop_map(Order::Reserve),
        (community(), node(), replica(), 0..12_u8).prop_map(|(community, node, replica, which)| {
            let (community, node, replica) = (CommunityId(community), NodeId(node), ReplicaId(replica));
            Order::Change(match which {
                0 => DirectoryOperation::Begin { community },
                1 => DirectoryOperation::AddReplica { community, node },
                2 => DirectoryOperation::Promote { community, node },
                3 => DirectoryOperation::RemoveReplica { community, node },
                4 => DirectoryOperation::RebuildReplica { community, node, replica },
                5 => DirectoryOperation::MoveReplica { community, replica, to: node },
                6 => DirectoryOperation::VacatePlace { community, replica },
                7 => DirectoryOperation::FillPlace { community, node },
                8 => DirectoryOperation::SetReplicas {
                    community,
                    voters: u32::try_from(replica.0).unwrap(),
                    add: vec![node],
                    remove: vec![replica],
                },
                9 => leave(node.0),
                10 => forget(node.0),
                _ => DirectoryOperation::KeepNode { node },
            })
        }),
        community().prop_map(|id| {
            Order::Change(DirectoryOperation::DeleteCommunity { community: CommunityId(id) })
        }),
    ]
}

#[derive(Clone, Debug)]
enum Order {
    Join,
    Create(Vec<u64>),
    Reserve(Vec<u64>),
    Change(DirectoryOperation),
}

impl Order {
    fn carry_out(&self, cluster: &mut Cluster) {
        // Names that are free: what is refused for its name tells nothing.
        let name = format!("community-{}", cluster.number);
        // A refusal is as good as any other answer.
        match self {
            Self::Join => drop(cluster.add_node()),
            Self::Create(nodes) => drop(cluster.create(&name, nodes)),
            Self::Reserve(nodes) => drop(reserve(cluster, &name, nodes)),
            Self::Change(operation) => drop(cluster.change(operation)),
        }
    }
}

/// Every replica id that there ever was: on which node, and whether it is gone.
type Lives = BTreeMap<(CommunityId, ReplicaId), (NodeId, bool)>;

fn must_hold(cluster: &Cluster, lives: &mut Lives) {
    let view = cluster.machine.view();
    let view = DirectoryView(&view);
    let nodes: BTreeSet<NodeId> = view.nodes().iter().map(|record| record.node).collect();
    let mut seen = BTreeSet::new();
    let begun = view.communities();
    let to_be = view.reserved();
    assert!(to_be.iter().all(|reservation| nodes.contains(&reservation.by)), "somebody must give it up");
    for record in begun.iter().chain(to_be.iter().map(|reservation| &reservation.record)) {
        must_be_sound(record, &nodes, view.vacant(record.id));
        for (&id, replica) in &record.replicas {
            let life = (record.id, id);
            seen.insert(life);
            let (node, is_gone) = *lives.entry(life).or_insert((replica.node, false));
            assert!(!is_gone && node == replica.node, "{life:?} lives once, on one node: {record:?}");
        }
    }
    for (life, (_, is_gone)) in lives {
        *is_gone |= !seen.contains(life);
    }
    let system = view.community(CommunityId::SYSTEM).unwrap();
    assert_eq!(system.replicas.len(), nodes.len(), "each node has one");
}

fn must_be_sound(record: &CommunityRecord, nodes: &BTreeSet<NodeId>, vacant: u32) {
    let on: BTreeSet<NodeId> = record.replicas.values().map(|replica| replica.node).collect();
    assert_eq!(on.len(), record.replicas.len(), "one on each node: {record:?}");
    assert!(on.is_subset(nodes), "nobody lives on a node that has left: {record:?}, {nodes:?}");
    assert!(record.replicas.keys().all(|&id| id < record.next_replica), "{record:?}");
    let voters = record.voters();
    match record.id {
        CommunityId::SYSTEM => assert!(voters % 2 == 1 && voters <= SYSTEM_VOTERS_MAX, "{record:?}"),
        _ => assert!(voters > 0 && voters + vacant as usize <= VOTERS_MAX, "{record:?}, {vacant} vacant"),
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_every_replica_lives_once_on_a_node_that_is_there_and_somebody_votes(
        orders in proptest::collection::vec(operation(), 1..60)
    ) {
        let mut cluster = founded(4);
        let mut lives = Lives::new();
        for order in orders {
            order.carry_out(&mut cluster);
            must_hold(&cluster, &mut lives);
        }
    }
}
