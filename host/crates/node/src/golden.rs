//! Golden vectors of what nodes store and say to each other: a published format is never edited, only
//! joined by another (promise P10).
//!
//! `golden/vectors.txt` holds a line for each: a name and a record in hexadecimal. A line that is there is
//! never changed: a test that fails because of one has found that this build cannot read what an earlier
//! one wrote. Lines that are not there yet are added by `ALTHING_ADD_VECTORS=1 cargo test -p althing-node
//! golden`; no line that is there is touched by that.

use crate::{
    community::Hosted,
    directory::record::{
        CommunityRecord, ComponentEntry, DirectoryOperation, DirectoryResult, JoinRecord, JoinToken, Leaving,
        NodeRecord, ReplicaRecord, Reservation, key,
    },
    distrust::{Distrust, Distrusted},
    identity::Identity,
    peer::{
        Ask, ComponentPiece, DigestAt, Forward, HistoryRead, Hold, Join, Joined, Piece, ReadHistory,
        RootTestimony, ScanRange, Testimony,
    },
    quarantine::Quarantined,
    query::{Answer, Consistency, QueryAnswer, Scanned},
    snapshots,
    status::{MemberStatus, ReplicaStatus},
    submit::Submitted,
    transfer::TransferStatus,
};
use althing_consensus::{
    peers::ClusterId,
    port::{Position, Role, Timing},
};
use althing_core::{
    actor::Actor,
    batch::{Command, OpenSession},
    codec,
    ids::{CommunityId, Hash, NodeId, ReplicaId, Sequence},
    origin::Origin,
    policy::Policy,
    refusal::{Code, Refusal},
    time::Timestamp,
    transition::{Cause, Outcome, Receipt, Rejection, Transition, Trap, TrapKind},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    env,
    fs::OpenOptions,
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

const VECTORS: &str = include_str!("golden/vectors.txt");
/// One line is added at a time.
static ADDING: Mutex<()> = Mutex::new(());

/// Checks that a vector is what this build writes, and that what it reads from it is that again.
#[track_caller]
fn check<T: Serialize + DeserializeOwned>(name: &str, value: &T) {
    let now = codec::encode(value);
    let lines = VECTORS.lines().filter_map(|line| line.split_once(' '));
    let Some((_, golden)) = lines.into_iter().find(|(line, _)| *line == name) else {
        return add(name, &now);
    };
    assert_eq!(hex::encode(&now), golden, "{name}");
    let read: T = codec::decode(&hex::decode(golden).unwrap()).unwrap();
    assert_eq!(codec::encode(&read), now, "{name}");
}

#[track_caller]
fn add(name: &str, now: &[u8]) {
    let line = format!("{name} {}", hex::encode(now));
    assert!(env::var_os("ALTHING_ADD_VECTORS").is_some(), "no vector; if the format is new, add:\n{line}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/golden/vectors.txt");
    let _one = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    writeln!(file, "{line}").unwrap();
}

const HASH: Hash = Hash([7; 32]);

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn node_record() -> NodeRecord {
    let (peer_address, api_address) = ("peer:2".to_owned(), "api:2".to_owned());
    NodeRecord { node: NodeId(2), peer_address, api_address, seen_millis: 1_800_000_000_123 }
}

/// Not the default, which may change: the one of core's own vector.
fn policy() -> Policy {
    const CORE: &str = include_str!("../../core/tests/golden/vectors.txt");
    let vector = CORE.lines().find_map(|line| line.strip_prefix("policy ")).unwrap();
    codec::decode(&hex::decode(vector).unwrap()).unwrap()
}

fn actor() -> Actor {
    Actor { id: "ada".into(), roles: vec!["judge".into()] }
}

fn transition() -> Transition {
    Transition {
        sequence: Sequence(300),
        time: Timestamp::new(5, 1),
        cause: Cause::SetPolicy,
        outcome: Outcome::Accepted { result: b("r") },
        writes: Vec::new(),
        events: Vec::new(),
        timers: Vec::new(),
        fuel: 9,
        digest: HASH,
    }
}

fn community() -> CommunityRecord {
    let voter = ReplicaRecord { node: NodeId(2), voter: true };
    CommunityRecord {
        id: CommunityId(3),
        name: "guild".into(),
        timing: Timing::WAN,
        founding_policy: policy(),
        founders: BTreeMap::from([(ReplicaId(1), NodeId(2))]),
        replicas: BTreeMap::from([
            (ReplicaId(1), voter),
            (ReplicaId(4), ReplicaRecord { voter: false, ..voter }),
        ]),
        next_replica: ReplicaId(5),
    }
}

#[test]
fn the_facts_of_a_node_keep_their_encoding() {
    let identity = Identity { cluster: ClusterId([9; 16]), node: NodeId(2), system_replica: ReplicaId(300) };
    check("fact/identity", &identity);
    check("fact/join-token", &JoinToken([8; 16]));
    check("fact/nodes", &vec![node_record()]);
    let hosted = Hosted {
        community: CommunityId(3),
        name: "guild".into(),
        replica: ReplicaId(4),
        timing: Timing::LAN,
        founding_policy: policy(),
        founders: BTreeMap::from([(ReplicaId(1), NodeId(2))]),
        founded: true,
    };
    check("fact/hosted", &vec![hosted]);
    let quarantined = Quarantined {
        community: CommunityId(3),
        name: "guild".into(),
        replica: ReplicaId(4),
        sequence: Sequence(300),
        why: "it differs".into(),
    };
    check("fact/quarantined", &vec![quarantined]);
    let distrusted = Distrusted { replica: ReplicaId(4), name: "guild".into(), why: "it was lost".into() };
    let replicas = BTreeMap::from([(CommunityId(3), distrusted)]);
    check("fact/distrusted", &Distrust { replicas, floor: Sequence(300) });
    check("fact/staged", &vec![CommunityId(3)]);
}

#[test]
fn the_history_and_the_log_id_of_snapshots_keep_their_encoding() {
    check("history", &vec![transition(), transition()]);
    let position = Some(Position { index: 400, record: b("place") });
    check("manifest/log-id", &snapshots::LogRecord { position });
    check("manifest/log-id/none", &snapshots::LogRecord { position: None });
}

#[test]
fn the_directorys_records_keep_their_keys_and_their_encoding() {
    check("directory/node", &node_record());
    check("directory/community", &community());
    let component =
        ComponentEntry { hash: HASH, bytes: 70_000, uploaded_to: NodeId(2), description: "{}".into() };
    check("directory/component", &component);
    check("directory/join", &JoinRecord { node: NodeId(2), replica: ReplicaId(3) });
    check("directory/cluster", &ClusterId([9; 16]));
    check("directory/next", &NodeId(300));
    check("directory/leaving", &leaving());
    check("directory/origin", &origin());
    check("directory/reserved", &Reservation { by: NodeId(2), record: community(), origin: origin() });
    let keys = [
        key::CLUSTER.to_vec(),
        key::NEXT_NODE.to_vec(),
        key::NEXT_COMMUNITY.to_vec(),
        key::node(NodeId(300)),
        key::community(CommunityId(300)),
        key::name("guild"),
        key::join(JoinToken([8; 16])),
        key::component(HASH),
    ];
    check("directory/keys", &keys.map(Bytes::from).to_vec());
}

#[test]
fn the_directorys_operations_and_results_keep_their_encoding() {
    let (peer_address, api_address) = ("peer:2".to_owned(), "api:2".to_owned());
    let (community, node, token) = (CommunityId(3), NodeId(2), JoinToken([8; 16]));
    let addresses = || (peer_address.clone(), api_address.clone());
    let ((found_peer, found_api), (add_peer, add_api), (see_peer, see_api)) =
        (addresses(), addresses(), addresses());
    let cluster = ClusterId([9; 16]);
    let entry = ComponentEntry { hash: HASH, bytes: 7, uploaded_to: node, description: "{}".into() };
    let operations = [
        ("found", DirectoryOperation::Found { cluster, peer_address: found_peer, api_address: found_api }),
        ("add-node", DirectoryOperation::AddNode { token, peer_address: add_peer, api_address: add_api }),
        ("see-node", DirectoryOperation::SeeNode { node, peer_address: see_peer, api_address: see_api }),
        (
            "create-community",
            DirectoryOperation::CreateCommunity {
                name: "guild".into(),
                nodes: vec![node],
                timing: Timing::LAN,
                policy: Box::new(policy()),
            },
        ),
        ("delete-community", DirectoryOperation::DeleteCommunity { community }),
        ("add-replica", DirectoryOperation::AddReplica { community, node }),
        ("promote", DirectoryOperation::Promote { community, node }),
        ("remove-replica", DirectoryOperation::RemoveReplica { community, node }),
        ("record-component", DirectoryOperation::RecordComponent(entry)),
        ("rebuild-replica", DirectoryOperation::RebuildReplica { community, node, replica: ReplicaId(4) }),
    ];
    for (name, operation) in operations.iter().chain(&later_operations()) {
        check(&format!("directory-operation/{name}"), operation);
    }
    let results = [
        ("done", DirectoryResult::Done),
        ("node", DirectoryResult::Node { node, replica: ReplicaId(4) }),
        ("community", DirectoryResult::Community(Box::new(self::community()))),
        ("replica", DirectoryResult::Replica(ReplicaId(4))),
    ];
    for (name, result) in &results {
        check(&format!("directory-result/{name}"), result);
    }
}

/// Imports, and nodes that come and go.
fn later_operations() -> [(&'static str, DirectoryOperation); 10] {
    let (community, node, replica) = (CommunityId(3), NodeId(2), ReplicaId(4));
    let reserve = DirectoryOperation::Reserve {
        name: "guild".into(),
        nodes: vec![node],
        timing: Timing::LAN,
        policy: Box::new(policy()),
        by: node,
        origin: origin(),
    };
    let add = vec![NodeId(5)];
    [
        ("reserve", reserve),
        ("begin", DirectoryOperation::Begin { community }),
        ("release", DirectoryOperation::Release { community }),
        ("move-replica", DirectoryOperation::MoveReplica { community, replica, to: NodeId(5) }),
        ("vacate-place", DirectoryOperation::VacatePlace { community, replica }),
        ("fill-place", DirectoryOperation::FillPlace { community, node }),
        (
            "set-replicas",
            DirectoryOperation::SetReplicas { community, voters: 5, add, remove: vec![replica] },
        ),
        ("leave-node", DirectoryOperation::LeaveNode(leaving())),
        ("keep-node", DirectoryOperation::KeepNode { node }),
        ("forget-node", DirectoryOperation::ForgetNode { node }),
    ]
}

fn leaving() -> Leaving {
    Leaving { node: NodeId(2), to: Some(NodeId(5)), may_vacate: true }
}

fn origin() -> Origin {
    Origin {
        cluster: "00ff".into(),
        community: CommunityId(9),
        name: "guild".into(),
        sequence: Sequence(300),
        digest: HASH,
        seal: Hash([8; 32]),
    }
}

#[test]
fn what_nodes_ask_each_other_keeps_its_encoding() {
    check("ask/submit", &Forward { commands: vec![Command::OpenSession(OpenSession { actor: actor() })] });
    check("ask/query", &Ask { actor: actor(), question: b("?"), consistency: Consistency::Linearizable });
    let at_least = Consistency::AtLeast(Sequence(300));
    let range = ScanRange { start: b("a"), end: Some(b("z")), limit: 100, consistency: at_least };
    check("ask/scan", &range);
    check("ask/scan/local", &ScanRange { end: None, consistency: Consistency::Local, ..range });
    check("ask/history", &ReadHistory { from: Sequence(300), limit: 100, wait: true });
    check("ask/chunk", &HASH);
    check("ask/component", &ComponentPiece { hash: HASH, offset: 1 << 20 });
    check("ask/hold", &Hold { components: vec![HASH], sources: vec![NodeId(2)] });
    let (peer_address, api_address) = ("peer:2".to_owned(), "api:2".to_owned());
    check("ask/join", &Join { token: JoinToken([8; 16]), peer_address, api_address });
    check("ask/transfer", &Some(NodeId(2)));
    let asked = DigestAt { community: CommunityId(3), replica: ReplicaId(4), sequence: Sequence(300) };
    check("ask/digests", &vec![asked]);
    check("ask/manifest", &Sequence(300));
}

#[test]
fn what_nodes_answer_each_other_keeps_its_encoding() {
    fn good<T>(value: T) -> Result<T, Refusal> {
        Ok(value)
    }
    let refusal = Refusal::new(Code::NoLeader, "nobody leads").with("community", 3);
    check("answer/refused", &Err::<(), _>(refusal.clone()));
    let outcome = Outcome::Accepted { result: b("r") };
    let receipt =
        Receipt { sequence: Sequence(300), time: Timestamp::new(5, 1), outcome, fuel: 9, digest: HASH };
    check("answer/submit", &good(vec![Ok(Submitted { receipt, repeated: true }), Err(refusal)]));
    check("answer/barrier", &good(300_u64));
    let rejection = Rejection { code: "no".into(), message: "because".into(), validator: None };
    let trap = Trap { kind: TrapKind::OutOfFuel, message: "m".into(), validator: None };
    let answers = [
        ("given", Answer::Given(b("a"))),
        ("rejected", Answer::Rejected(rejection)),
        ("trapped", Answer::Trapped(trap)),
    ];
    for (name, answer) in answers {
        let (sequence, time) = (Sequence(300), Timestamp::new(5, 1));
        check(
            &format!("answer/query/{name}"),
            &good(QueryAnswer { answer, sequence, time, digest: HASH, fuel: 9 }),
        );
    }
    let pairs = vec![(b("a"), b("1"))];
    check("answer/scan", &good(Scanned { pairs, next: Some(b("b")), sequence: Sequence(300), digest: HASH }));
    let (transitions, oldest, newest) = (vec![transition()], Sequence(3), Sequence(301));
    check("answer/history", &good(HistoryRead { transitions, oldest, newest }));
    check("answer/chunk", &good(b("chunk")));
    check("answer/component", &good(Piece { bytes: b("piece"), total: 70_000 }));
    let joined = Joined {
        cluster: ClusterId([9; 16]),
        node: NodeId(2),
        replica: ReplicaId(3),
        nodes: vec![node_record()],
    };
    check("answer/join", &good(joined));
    check("answer/digests", &good(vec![None, Some(Testimony { sequence: Sequence(300), digest: HASH })]));
    check(
        "answer/roots",
        &good(vec![
            None,
            Some(RootTestimony { digest: HASH, time: Timestamp::new(5, 1), root: Hash([8; 32]) }),
        ]),
    );
    check("answer/manifest", &good(Some(b("manifest"))));
}

#[test]
fn a_replicas_status_keeps_its_encoding() {
    let status = ReplicaStatus {
        community: CommunityId(3),
        name: "guild".into(),
        replica: ReplicaId(4),
        role: Role::Leader,
        leader_node: NodeId(2),
        term: 5,
        last_index: 400,
        committed_index: 399,
        applied_index: 398,
        snapshot_index: 300,
        sequence: Sequence(280),
        digest: HASH,
        state_bytes: 70_000,
        state_keys: 500,
        members: vec![MemberStatus { replica: ReplicaId(4), node: NodeId(2), voter: true }],
        are_members_settled: true,
        oldest_sequence: Sequence(3),
        fault: Some("it stopped".into()),
        waiting: 6,
        subscribers: 7,
        transfer: Some(TransferStatus {
            from: NodeId(1),
            sequence: Sequence(281),
            chunks: 9,
            chunks_here: 8,
            bytes: 700_000,
            bytes_here: 600_000,
        }),
    };
    check("answer/status", &Ok::<_, Refusal>(status));
}
