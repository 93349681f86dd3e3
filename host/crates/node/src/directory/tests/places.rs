//! Replicas that move, and places that are vacant.

use super::Cluster;
use crate::directory::{
    record::{DirectoryOperation, DirectoryResult, ReplicaRecord},
    view::DirectoryView,
};
use althing_core::ids::{CommunityId, NodeId, ReplicaId};

const COMMUNITY: CommunityId = CommunityId(1);

fn move_to(replica: u64, node: u64) -> DirectoryOperation {
    DirectoryOperation::MoveReplica { community: COMMUNITY, replica: ReplicaId(replica), to: NodeId(node) }
}

fn vacate(replica: u64) -> DirectoryOperation {
    DirectoryOperation::VacatePlace { community: COMMUNITY, replica: ReplicaId(replica) }
}

fn fill(node: u64) -> DirectoryOperation {
    DirectoryOperation::FillPlace { community: COMMUNITY, node: NodeId(node) }
}

fn set(voters: u32, add: &[u64], remove: &[u64]) -> DirectoryOperation {
    DirectoryOperation::SetReplicas {
        community: COMMUNITY,
        voters,
        add: add.iter().copied().map(NodeId).collect(),
        remove: remove.iter().copied().map(ReplicaId).collect(),
    }
}

/// So many nodes, and "guild" on the first three.
fn founded(nodes: u64) -> Cluster {
    let mut cluster = Cluster::founded();
    for _ in 1..nodes {
        cluster.add_node();
    }
    cluster.create("guild", &[1, 2, 3]).unwrap();
    cluster
}

impl Cluster {
    fn places(&self) -> Vec<(u64, u64, bool)> {
        let replicas = self.record(1).unwrap().replicas.into_iter();
        replicas.map(|(id, replica)| (id.0, replica.node.0, replica.voter)).collect()
    }

    fn vacant(&self) -> u32 {
        DirectoryView(&self.machine.view()).vacant(COMMUNITY)
    }
}

#[test]
fn a_replica_moves_once_under_an_id_that_was_never_used_and_keeps_its_role() {
    let mut cluster = founded(5);
    assert_eq!(cluster.change(&move_to(2, 4)), Ok(DirectoryResult::Replica(ReplicaId(4))));
    assert_eq!(cluster.change(&move_to(2, 4)), Ok(DirectoryResult::Replica(ReplicaId(4))), "asked again");
    assert_eq!(cluster.places(), [(1, 1, true), (3, 3, true), (4, 4, true)]);
    assert_eq!(cluster.change(&move_to(4, 3)), Err("bad-members".to_owned()), "there is one");
    assert_eq!(cluster.change(&move_to(4, 9)), Err("no-node".to_owned()));
    assert_eq!(cluster.change(&move_to(9, 5)), Err("no-replica".to_owned()));
    cluster.change(&DirectoryOperation::AddReplica { community: COMMUNITY, node: NodeId(2) }).unwrap();
    cluster.change(&move_to(5, 5)).unwrap();
    assert_eq!(
        cluster.record(1).unwrap().replicas[&ReplicaId(6)],
        ReplicaRecord { node: NodeId(5), voter: false }
    );
    let system = DirectoryOperation::MoveReplica {
        community: CommunityId::SYSTEM,
        replica: ReplicaId(1),
        to: NodeId(2),
    };
    assert_eq!(cluster.change(&system), Err("bad-request".to_owned()));
}

#[test]
fn a_vacant_place_is_filled_once() {
    let mut cluster = founded(4);
    assert_eq!(cluster.change(&fill(4)), Err("bad-members".to_owned()), "none is vacant");
    cluster.change(&vacate(3)).unwrap();
    assert_eq!(cluster.change(&vacate(3)), Ok(DirectoryResult::Replica(ReplicaId(3))), "asked again");
    assert_eq!(cluster.vacant(), 1);
    assert_eq!(cluster.change(&fill(2)), Err("bad-members".to_owned()), "it votes already");
    assert_eq!(cluster.change(&fill(4)), Ok(DirectoryResult::Replica(ReplicaId(4))));
    assert_eq!(cluster.vacant(), 0);
    assert_eq!(cluster.change(&fill(3)), Err("bad-members".to_owned()));
    assert_eq!(cluster.places(), [(1, 1, true), (2, 2, true), (4, 4, true)]);
}

#[test]
fn what_is_removed_by_hand_leaves_no_vacant_place_and_what_is_promoted_takes_one() {
    let mut cluster = founded(4);
    let (community, node) = (COMMUNITY, NodeId(3));
    cluster.change(&DirectoryOperation::RemoveReplica { community, node }).unwrap();
    assert_eq!(cluster.vacant(), 0);
    cluster.change(&vacate(2)).unwrap();
    assert_eq!(cluster.vacant(), 1);
    let node = NodeId(4);
    cluster.change(&DirectoryOperation::AddReplica { community, node }).unwrap();
    assert_eq!(cluster.vacant(), 1, "a learner takes no voter's place");
    cluster.change(&DirectoryOperation::Promote { community, node }).unwrap();
    cluster.change(&DirectoryOperation::Promote { community, node }).unwrap();
    assert_eq!(cluster.vacant(), 0);
    assert_eq!(cluster.change(&vacate(1)), Ok(DirectoryResult::Replica(ReplicaId(1))));
    assert_eq!(cluster.change(&vacate(4)), Err("bad-members".to_owned()), "the last vote stays");
}

#[test]
fn the_number_of_voters_is_set_and_what_is_missing_is_vacant() {
    let mut cluster = founded(8);
    cluster.change(&set(5, &[4, 5], &[])).unwrap();
    assert_eq!((cluster.places().len(), cluster.vacant()), (5, 0));
    assert_eq!(cluster.change(&set(5, &[6], &[])), Err("members-changing".to_owned()), "six would vote");
    assert_eq!(cluster.change(&set(8, &[], &[])), Err("bad-members".to_owned()));
    cluster.change(&set(7, &[6], &[])).unwrap();
    assert_eq!(cluster.vacant(), 1);
    cluster.change(&set(1, &[], &[2, 3, 4, 5, 6])).unwrap();
    assert_eq!((cluster.places(), cluster.vacant()), (vec![(1, 1, true)], 0));
    assert_eq!(cluster.change(&set(0, &[], &[1])), Err("bad-members".to_owned()));
    // A learner becomes a voter under its own id.
    let (community, node) = (COMMUNITY, NodeId(7));
    cluster.change(&DirectoryOperation::AddReplica { community, node }).unwrap();
    cluster.change(&set(2, &[7], &[])).unwrap();
    assert_eq!(cluster.places(), [(1, 1, true), (7, 7, true)]);
}
