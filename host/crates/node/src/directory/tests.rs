//! The directory's decisions, through core's machine, as every replica makes them.

mod leaving;
mod meeting;
mod places;

use super::{
    program::{Directory, manifest},
    record::{CommunityRecord, DirectoryOperation, DirectoryResult, JoinToken, Leaving, ReplicaRecord},
    view::DirectoryView,
};
use althing_consensus::{peers::ClusterId, port::Timing};
use althing_core::{
    actor::Actor,
    batch::{Activation, Batch, Command, OpenSession, Operation, ProgramManifest},
    codec,
    ids::{CommunityId, Hash, NodeId, OperationNumber, ReplicaId, Sequence, SessionId},
    machine::Machine,
    origin::Origin,
    policy::Policy,
    program::{Fault, Program, Programs},
    time::Timestamp,
    transition::{Outcome, Reply},
};

struct Native;

impl Programs for Native {
    fn load(&mut self, _manifest: &ProgramManifest) -> Result<Box<dyn Program>, Fault> {
        Ok(Box::new(Directory))
    }
}

/// A system community and a client of it.
struct Cluster {
    machine: Machine,
    session: SessionId,
    number: u64,
}

impl Cluster {
    fn founded() -> Self {
        let mut machine = Machine::new(CommunityId::SYSTEM, Policy::default());
        let activation = Activation { actor: Actor::default(), program: manifest() };
        let opening = OpenSession { actor: Actor::default() };
        let commands = vec![Command::Activate(activation), Command::OpenSession(opening)];
        let batch = Batch { stamp: Timestamp::new(1000, 0), commands };
        machine.apply(&batch, &mut Native).unwrap();
        let mut cluster = Self { machine, session: SessionId(2), number: 0 };
        let found = DirectoryOperation::Found {
            cluster: ClusterId([7; 16]),
            peer_address: "p1".to_owned(),
            api_address: "a1".to_owned(),
        };
        cluster.change(&found).unwrap();
        cluster
    }

    fn change(&mut self, operation: &DirectoryOperation) -> Result<DirectoryResult, String> {
        self.number += 1;
        let command = Command::Operation(Operation {
            session: self.session,
            number: OperationNumber(self.number),
            acknowledged: OperationNumber(self.number - 1),
            after: OperationNumber(0),
            actor: Actor::default(),
            payload: codec::encode(operation).into(),
        });
        let batch = Batch { stamp: Timestamp::new(2000, 0), commands: vec![command] };
        let applied = self.machine.apply(&batch, &mut Native).unwrap();
        match &applied.replies[0] {
            Reply::Done(receipt) => match &receipt.outcome {
                Outcome::Accepted { result } => Ok(codec::decode(result).unwrap()),
                Outcome::Rejected(rejection) => Err(rejection.code.clone()),
                Outcome::Trapped(trap) => panic!("{trap:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn add_node(&mut self) -> NodeId {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&self.number.to_be_bytes());
        self.join(JoinToken(token))
    }

    fn join(&mut self, token: JoinToken) -> NodeId {
        let (peer_address, api_address) = ("p".to_owned(), "a".to_owned());
        match self.change(&DirectoryOperation::AddNode { token, peer_address, api_address }).unwrap() {
            DirectoryResult::Node { node, .. } => node,
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, name: &str, nodes: &[u64]) -> Result<CommunityRecord, String> {
        let create = DirectoryOperation::CreateCommunity {
            name: name.to_owned(),
            nodes: nodes.iter().copied().map(NodeId).collect(),
            timing: Timing::LAN,
            policy: Box::default(),
        };
        self.change(&create).map(|result| match result {
            DirectoryResult::Community(record) => *record,
            other => panic!("{other:?}"),
        })
    }

    fn record(&self, id: u64) -> Option<CommunityRecord> {
        DirectoryView(&self.machine.view()).community(CommunityId(id))
    }
}

#[test]
fn the_cluster_is_founded_once() {
    let mut cluster = Cluster::founded();
    let again = |id| DirectoryOperation::Found {
        cluster: ClusterId([id; 16]),
        peer_address: String::new(),
        api_address: String::new(),
    };
    assert_eq!(cluster.change(&again(7)), Ok(DirectoryResult::Done), "the founder may repeat itself");
    assert_eq!(cluster.change(&again(8)), Err("already-founded".to_owned()));
    assert_eq!(DirectoryView(&cluster.machine.view()).cluster(), Some(ClusterId([7; 16])));
}

#[test]
fn the_system_community_votes_with_an_odd_number_of_at_most_five() {
    let mut cluster = Cluster::founded();
    let votes = |cluster: &Cluster| {
        cluster.record(0).unwrap().replicas.values().filter(|replica| replica.voter).count()
    };
    let counted: Vec<usize> = (0..6)
        .map(|_| {
            cluster.add_node();
            votes(&cluster)
        })
        .collect();
    assert_eq!(counted, [1, 3, 3, 5, 5, 5]);
    let leave = Leaving { node: NodeId(2), to: None, may_vacate: false };
    cluster.change(&DirectoryOperation::LeaveNode(leave)).unwrap();
    cluster.change(&DirectoryOperation::ForgetNode { node: NodeId(2) }).unwrap();
    assert_eq!(votes(&cluster), 5, "another takes the vote over");
}

#[test]
fn a_node_that_asks_again_under_its_token_is_taken_in_once() {
    let mut cluster = Cluster::founded();
    let (first, second) = (JoinToken([1; 16]), JoinToken([2; 16]));
    assert_eq!(cluster.join(first), NodeId(2));
    assert_eq!(cluster.join(first), NodeId(2));
    assert_eq!(cluster.record(0).unwrap().replicas.len(), 2);
    assert_eq!(cluster.join(second), NodeId(3));
}

#[test]
fn a_community_has_a_bounded_number_of_voters() {
    let mut cluster = Cluster::founded();
    for _ in 0..7 {
        cluster.add_node();
    }
    assert_eq!(cluster.create("many", &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap_err(), "bad-members");
    cluster.create("many", &[1, 2, 3, 4, 5, 6, 7]).unwrap();
    let (community, node) = (CommunityId(1), NodeId(8));
    cluster.change(&DirectoryOperation::AddReplica { community, node }).unwrap();
    let promote = DirectoryOperation::Promote { community, node };
    assert_eq!(cluster.change(&promote), Err("bad-members".to_owned()));
}

#[test]
fn a_community_is_created_on_nodes_that_exist_under_a_name_that_is_free() {
    let mut cluster = Cluster::founded();
    cluster.add_node();
    let record = cluster.create("roster", &[1, 2]).unwrap();
    assert_eq!(record.id, CommunityId(1));
    assert_eq!(record.replicas.values().map(|replica| replica.node.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(cluster.create("roster", &[1]).unwrap_err(), "community-exists");
    assert_eq!(cluster.create("other", &[9]).unwrap_err(), "no-node");
    assert_eq!(cluster.create("other", &[1, 1]).unwrap_err(), "bad-members");
    assert_eq!(cluster.create("other", &[]).unwrap_err(), "bad-members");
    for name in ["", "Upper", "1st", "with space", &"x".repeat(65)] {
        assert_eq!(cluster.create(name, &[1]).unwrap_err(), "bad-request", "{name:?}");
    }
}

#[test]
fn ids_of_communities_and_replicas_are_never_used_again() {
    let mut cluster = Cluster::founded();
    cluster.add_node();
    cluster.create("first", &[1]).unwrap();
    let community = CommunityId(1);
    let node = NodeId(2);
    assert_eq!(
        cluster.change(&DirectoryOperation::AddReplica { community, node }),
        Ok(DirectoryResult::Replica(ReplicaId(2)))
    );
    cluster.change(&DirectoryOperation::RemoveReplica { community, node }).unwrap();
    assert_eq!(
        cluster.change(&DirectoryOperation::AddReplica { community, node }),
        Ok(DirectoryResult::Replica(ReplicaId(3)))
    );
    cluster.change(&DirectoryOperation::DeleteCommunity { community }).unwrap();
    assert!(cluster.record(1).is_none());
    assert!(DirectoryView(&cluster.machine.view()).has_existed(community));
    assert_eq!(cluster.create("first", &[1]).unwrap().id, CommunityId(2));
}

#[test]
fn a_replica_is_promoted_and_the_last_vote_stays() {
    let mut cluster = Cluster::founded();
    cluster.add_node();
    cluster.create("first", &[1]).unwrap();
    let community = CommunityId(1);
    assert_eq!(
        cluster.change(&DirectoryOperation::RemoveReplica { community, node: NodeId(1) }),
        Err("bad-members".to_owned())
    );
    cluster.change(&DirectoryOperation::AddReplica { community, node: NodeId(2) }).unwrap();
    cluster.change(&DirectoryOperation::Promote { community, node: NodeId(2) }).unwrap();
    let voter = ReplicaRecord { node: NodeId(2), voter: true };
    assert_eq!(cluster.record(1).unwrap().replicas[&ReplicaId(2)], voter);
    cluster.change(&DirectoryOperation::RemoveReplica { community, node: NodeId(1) }).unwrap();
    assert_eq!(
        cluster.change(&DirectoryOperation::Promote { community, node: NodeId(1) }),
        Err("no-replica".to_owned())
    );
}

#[test]
fn a_replica_is_rebuilt_once_under_an_id_that_was_never_used() {
    let mut cluster = Cluster::founded();
    cluster.add_node();
    cluster.create("pair", &[1, 2]).unwrap();
    let community = CommunityId(1);
    let rebuild = |node, replica| DirectoryOperation::RebuildReplica {
        community,
        node: NodeId(node),
        replica: ReplicaId(replica),
    };
    assert_eq!(cluster.change(&rebuild(2, 2)), Ok(DirectoryResult::Replica(ReplicaId(3))));
    assert_eq!(cluster.change(&rebuild(2, 2)), Ok(DirectoryResult::Replica(ReplicaId(3))), "asked again");
    let record = cluster.record(1).unwrap();
    let voter = |node| ReplicaRecord { node: NodeId(node), voter: true };
    assert_eq!(
        record.replicas.into_iter().collect::<Vec<_>>(),
        [(ReplicaId(1), voter(1)), (ReplicaId(3), voter(2))]
    );
    assert!(!record.founders.contains_key(&ReplicaId(3)), "it founds nothing");
    assert_eq!(cluster.change(&rebuild(2, 3)), Ok(DirectoryResult::Replica(ReplicaId(4))));
    assert_eq!(cluster.change(&rebuild(2, 9)), Err("no-replica".to_owned()), "no such life yet");
    assert_eq!(cluster.change(&rebuild(9, 1)), Err("no-replica".to_owned()));
}

#[test]
fn a_learner_that_is_rebuilt_gets_no_vote_and_the_last_voter_is_not_rebuilt() {
    let mut cluster = Cluster::founded();
    cluster.add_node();
    cluster.create("first", &[1]).unwrap();
    let community = CommunityId(1);
    cluster.change(&DirectoryOperation::AddReplica { community, node: NodeId(2) }).unwrap();
    let rebuild = |node, replica| DirectoryOperation::RebuildReplica {
        community,
        node: NodeId(node),
        replica: ReplicaId(replica),
    };
    assert_eq!(cluster.change(&rebuild(2, 2)), Ok(DirectoryResult::Replica(ReplicaId(3))));
    assert!(!cluster.record(1).unwrap().replicas[&ReplicaId(3)].voter);
    assert_eq!(cluster.change(&rebuild(1, 1)), Err("bad-members".to_owned()));
}

#[test]
fn a_node_gets_a_fresh_replica_of_the_system_community_once_and_the_oldest_vote() {
    let mut cluster = Cluster::founded();
    let back = |node, replica| DirectoryOperation::RebuildReplica {
        community: CommunityId::SYSTEM,
        node: NodeId(node),
        replica: ReplicaId(replica),
    };
    assert_eq!(cluster.change(&back(1, 1)), Err("bad-members".to_owned()), "nobody else votes");
    cluster.add_node();
    assert_eq!(cluster.change(&back(1, 1)), Err("bad-members".to_owned()), "the second one has no vote");
    assert_eq!(cluster.change(&back(2, 2)), Ok(DirectoryResult::Replica(ReplicaId(3))));
    cluster.add_node();
    // The founder too, and asked again it is the same.
    for _ in 0..2 {
        assert_eq!(cluster.change(&back(1, 1)), Ok(DirectoryResult::Replica(ReplicaId(5))));
    }
    let voters = |cluster: &Cluster| {
        let replicas = cluster.record(0).unwrap().replicas;
        replicas.into_iter().filter(|(_, replica)| replica.voter).map(|(id, _)| id.0).collect::<Vec<_>>()
    };
    assert_eq!(voters(&cluster), [3, 4, 5]);
    // With a fourth node, the one that was there all the time takes the vote over.
    cluster.add_node();
    assert_eq!(voters(&cluster), [3, 4, 5]);
    assert_eq!(cluster.change(&back(2, 3)), Ok(DirectoryResult::Replica(ReplicaId(7))));
    assert_eq!(voters(&cluster), [4, 5, 6]);
}

#[test]
fn the_system_community_is_not_deleted() {
    let mut cluster = Cluster::founded();
    let community = CommunityId::SYSTEM;
    assert_eq!(
        cluster.change(&DirectoryOperation::DeleteCommunity { community }),
        Err("bad-request".to_owned())
    );
}

fn reserve(cluster: &mut Cluster, name: &str, nodes: &[u64]) -> Result<CommunityRecord, String> {
    let origin = Origin {
        cluster: "00".into(),
        community: CommunityId(3),
        name: "guild".into(),
        sequence: Sequence(9),
        digest: Hash([1; 32]),
        seal: Hash([2; 32]),
    };
    let reserve = DirectoryOperation::Reserve {
        name: name.to_owned(),
        nodes: nodes.iter().copied().map(NodeId).collect(),
        timing: Timing::WAN,
        policy: Box::default(),
        by: NodeId(1),
        origin,
    };
    cluster.change(&reserve).map(community)
}

fn community(result: DirectoryResult) -> CommunityRecord {
    match result {
        DirectoryResult::Community(record) => *record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reserved_community_is_nobodys_until_it_begins() {
    let mut cluster = Cluster::founded();
    cluster.add_node();
    let reserved = reserve(&mut cluster, "guild", &[1, 2]).unwrap();
    assert!(reserved.founders.is_empty(), "nobody founds it with a first entry");
    assert!(reserved.replicas.values().all(|replica| replica.voter) && reserved.replicas.len() == 2);
    let view = cluster.machine.view();
    let view = DirectoryView(&view);
    assert!(view.find("guild").is_none() && view.community(reserved.id).is_none());
    assert!(view.has_existed(reserved.id), "its id is given");
    assert_eq!(view.reserved()[0].record, reserved);

    let begin = DirectoryOperation::Begin { community: reserved.id };
    assert_eq!(community(cluster.change(&begin).unwrap()), reserved);
    assert_eq!(community(cluster.change(&begin).unwrap()), reserved, "asked again, the same");
    let release = DirectoryOperation::Release { community: reserved.id };
    cluster.change(&release).unwrap();
    let view = cluster.machine.view();
    let view = DirectoryView(&view);
    assert_eq!(view.find("guild"), Some(reserved.clone()), "it cannot be given up any more");
    assert!(view.reserved().is_empty());
    assert_eq!(view.origin(reserved.id).map(|origin| origin.seal), Some(Hash([2; 32])));

    cluster.change(&DirectoryOperation::DeleteCommunity { community: reserved.id }).unwrap();
    assert_eq!(DirectoryView(&cluster.machine.view()).origin(reserved.id), None);
    assert_eq!(cluster.change(&begin), Err("no-community".to_owned()));
}

#[test]
fn a_community_that_was_given_up_never_begins_and_its_name_was_never_taken() {
    let mut cluster = Cluster::founded();
    let first = reserve(&mut cluster, "guild", &[1]).unwrap();
    let second = reserve(&mut cluster, "guild", &[1]).unwrap();
    assert!(second.id > first.id);
    cluster.change(&DirectoryOperation::Release { community: first.id }).unwrap();
    let begin = |community| DirectoryOperation::Begin { community };
    assert_eq!(cluster.change(&begin(first.id)), Err("no-community".to_owned()));
    let other = cluster.create("guild", &[1]).unwrap();
    assert!(other.id > second.id);
    assert_eq!(cluster.change(&begin(second.id)), Err("community-exists".to_owned()));
    assert_eq!(reserve(&mut cluster, "guild", &[1]), Err("community-exists".to_owned()));
    assert_eq!(reserve(&mut cluster, "hall", &[7]), Err("no-node".to_owned()));
    assert_eq!(reserve(&mut cluster, "Hall", &[1]), Err("bad-request".to_owned()));
}
