//! Nodes that leave for good.

use super::Cluster;
use crate::directory::{
    record::{DirectoryOperation, DirectoryResult, Leaving},
    view::DirectoryView,
};
use althing_core::ids::{CommunityId, NodeId, ReplicaId};

fn leave(node: u64, to: Option<u64>) -> DirectoryOperation {
    DirectoryOperation::LeaveNode(Leaving { node: NodeId(node), to: to.map(NodeId), may_vacate: false })
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

impl Cluster {
    fn nodes(&self) -> Vec<u64> {
        DirectoryView(&self.machine.view()).nodes().iter().map(|record| record.node.0).collect()
    }

    fn has_left(&self, node: u64) -> bool {
        DirectoryView(&self.machine.view()).has_left(NodeId(node))
    }
}

#[test]
fn a_node_that_is_to_leave_gets_no_replicas() {
    let mut cluster = founded(4);
    cluster.create("guild", &[1, 2]).unwrap();
    cluster.change(&leave(3, None)).unwrap();
    assert_eq!(cluster.create("other", &[1, 3]).unwrap_err(), "bad-members");
    let (community, node) = (CommunityId(1), NodeId(3));
    assert_eq!(
        cluster.change(&DirectoryOperation::AddReplica { community, node }),
        Err("bad-members".to_owned())
    );
    let moved = DirectoryOperation::MoveReplica { community, replica: ReplicaId(1), to: node };
    assert_eq!(cluster.change(&moved), Err("bad-members".to_owned()));
    assert_eq!(cluster.change(&leave(4, Some(3))), Err("bad-members".to_owned()), "it takes nobody's place");
    assert_eq!(cluster.change(&leave(4, Some(4))), Err("bad-members".to_owned()));
    cluster.change(&DirectoryOperation::KeepNode { node }).unwrap();
    cluster.change(&DirectoryOperation::AddReplica { community, node }).unwrap();
}

#[test]
fn a_node_is_forgotten_when_nothing_is_left_on_it_and_its_id_is_never_used_again() {
    let mut cluster = founded(4);
    cluster.create("guild", &[1, 4]).unwrap();
    assert_eq!(cluster.change(&forget(4)), Err("bad-request".to_owned()), "nobody said that it leaves");
    cluster.change(&leave(4, None)).unwrap();
    assert_eq!(cluster.change(&forget(4)), Err("bad-members".to_owned()));
    let moved =
        DirectoryOperation::MoveReplica { community: CommunityId(1), replica: ReplicaId(2), to: NodeId(2) };
    cluster.change(&moved).unwrap();
    cluster.change(&forget(4)).unwrap();
    assert_eq!(cluster.change(&forget(4)), Ok(DirectoryResult::Done), "asked again");
    assert_eq!(cluster.nodes(), [1, 2, 3]);
    assert!(cluster.has_left(4) && !cluster.has_left(3) && !cluster.has_left(5));
    let system = cluster.record(0).unwrap();
    assert!(system.replica_on(NodeId(4)).is_none());
    assert_eq!(system.voters(), 3);
    assert_eq!(cluster.add_node(), NodeId(5));
    assert_eq!(cluster.change(&forget(9)), Err("no-node".to_owned()));
}

#[test]
fn the_last_node_stays() {
    let mut cluster = founded(2);
    cluster.change(&leave(1, None)).unwrap();
    cluster.change(&forget(1)).unwrap();
    let votes: Vec<bool> =
        cluster.record(0).unwrap().replicas.values().map(|replica| replica.voter).collect();
    assert_eq!(votes, [true], "the other one has the vote now");
    assert_eq!(cluster.change(&leave(2, None)), Err("bad-members".to_owned()));
}

#[test]
fn a_node_that_has_left_is_not_seen_again() {
    let mut cluster = founded(2);
    cluster.change(&leave(2, None)).unwrap();
    cluster.change(&forget(2)).unwrap();
    let seen = DirectoryOperation::SeeNode {
        node: NodeId(2),
        peer_address: "p".to_owned(),
        api_address: "a".to_owned(),
    };
    assert_eq!(cluster.change(&seen), Err("no-node".to_owned()));
}
