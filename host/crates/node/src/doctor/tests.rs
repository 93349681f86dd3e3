//! The doctor on what a real node has left on disk, altered in every part that has a meaning of its own;
//! and then a start on it, which must do what was foretold. Damage to the files themselves is for the
//! store's tests.

use super::{Findings, Foresight, Look, NodeForesight};
use crate::{
    Addresses, Birth, Identity, Node, NodeOptions, Placement, Role, Timing,
    distrust::{self, Distrust, Distrusted},
    farewell, identity, node, quarantine,
    quarantine::Quarantined,
};
use althing_consensus::{memory::MemoryNetwork, runtime::Runtime};
use althing_core::{
    actor::Actor,
    batch::{Activation, Command, Operation},
    codec,
    ids::{CommunityId, Hash, NodeId, OperationNumber, ReplicaId, Sequence, SessionId},
    policy::Policy,
    snapshot::Manifest,
    testing::{Step, manifest, script},
};
use althing_engine::{Engine, EngineOptions};
use althing_store::{
    port::{Archive, SnapshotRecord, Store},
    sqlite::inspect::Inspection,
};
use bytes::Bytes;
use std::{fs, path::Path, time::Duration};
use tempfile::TempDir;
use tokio::sync::OnceCell;

const GUILD: &str = "guild";
const OPERATIONS: u64 = 90;
/// Stands in every entry of the log, so that one can be found in the file.
const MARKER: &[u8] = b"this is an operation";

/// What a node left that had executed [`OPERATIONS`] and cut two snapshots.
struct Left {
    folder: TempDir,
    sequence: Sequence,
    digest: Hash,
}

static LEFT: OnceCell<Left> = OnceCell::const_new();

async fn left() -> &'static Left {
    LEFT.get_or_init(Left::make).await
}

impl Left {
    async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = start(folder.path(), Birth::Bootstrap).await.unwrap();
        while !node.is_ready() {
            node.runtime().sleep(Duration::from_millis(5)).await;
        }
        let mut policy = Policy::default();
        policy.retention.snapshot_transitions = 40;
        let made =
            node.create_community(GUILD.to_owned(), Placement::Nodes(vec![NodeId(1)]), Timing::LAN, policy);
        let id = made.await.unwrap().id;
        let activation = Activation { actor: Actor::default(), program: manifest("1", &[], &[]) };
        node.command(id, Command::Activate(activation)).await.unwrap();
        let session = node.open_session(GUILD, Actor::default()).await.unwrap().receipt.sequence;
        for number in 1..=OPERATIONS {
            let step = Step::Append(Bytes::from_static(b"tale"), Bytes::from_static(MARKER));
            let operation = Operation {
                session: SessionId(session.0),
                number: OperationNumber(number),
                acknowledged: OperationNumber(number - 1),
                after: OperationNumber(0),
                actor: Actor::default(),
                payload: script(&[step]),
            };
            node.submit(GUILD, vec![operation]).await.unwrap().remove(0).unwrap();
        }
        // Cut beside the execution, and the log is purged behind it: all that is done before it stops.
        let store = &node.shared().store;
        while store.archive.snapshots(id).await.unwrap().len() < 2
            || store.wal.state(id).await.unwrap().purged.is_none()
        {
            node.runtime().sleep(Duration::from_millis(5)).await;
        }
        let (sequence, digest) = stands(&node).await;
        node.shutdown().await;
        Self { folder, sequence, digest }
    }

    /// A copy, of which the archive is written anew, as `alter` has it.
    async fn altered(&self, alter: impl AsyncFn(Part) -> Option<Part>) -> TempDir {
        let copy = copied(self.folder.path());
        let store = Store::open(copy.path()).await.unwrap();
        let empty = tempfile::tempdir().unwrap();
        let target = Store::open(empty.path()).await.unwrap();
        write_anew(&*store.archive, &*target.archive, alter).await;
        store.close().await;
        target.close().await;
        for file in ["archive.db", "archive.mark", "facts", "facts.copy"] {
            fs::copy(empty.path().join(file), copy.path().join(file)).unwrap();
        }
        copy
    }
}

/// Something in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Fact(&'static str, Bytes),
    Component(Hash, Bytes),
    Chunk(CommunityId, Sequence, Hash, Bytes),
    Snapshot(CommunityId, SnapshotRecord, Vec<Hash>),
}

/// What every archive here has besides what the node wrote.
const COMPONENT: &[u8] = b"a component";

async fn write_anew(from: &dyn Archive, to: &dyn Archive, alter: impl AsyncFn(Part) -> Option<Part>) {
    let mut parts = vec![Part::Component(Hash::of_component(COMPONENT), COMPONENT.into())];
    for name in [identity::FACT, identity::NODES_FACT, node::HOSTED_FACT] {
        parts.push(Part::Fact(name, from.fact(name).await.unwrap().unwrap()));
    }
    parts.push(Part::Fact(quarantine::FACT, codec::encode(&Vec::<Quarantined>::new()).into()));
    for community in [CommunityId::SYSTEM, CommunityId(1)] {
        for record in from.snapshots(community).await.unwrap() {
            let mut hashes = Vec::new();
            for chunk in Manifest::decode(&record.manifest).unwrap().chunks {
                let bytes = from.chunk(chunk.hash).await.unwrap().unwrap();
                hashes.push(chunk.hash);
                parts.push(Part::Chunk(community, record.sequence, chunk.hash, bytes));
            }
            parts.push(Part::Snapshot(community, record, hashes));
        }
    }
    for part in parts {
        match alter(part).await {
            Some(Part::Fact(name, value)) => to.put_fact(name, value).await.unwrap(),
            Some(Part::Component(hash, bytes)) => to.put_component(hash, bytes).await.unwrap(),
            Some(Part::Chunk(_, _, hash, bytes)) => to.put_chunks(vec![(hash, bytes)]).await.unwrap(),
            Some(Part::Snapshot(community, record, hashes)) => {
                to.put_snapshot(community, record, hashes).await.unwrap();
            }
            None => {}
        }
    }
}

fn copied(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

fn engine() -> Engine {
    Engine::new(EngineOptions::default()).unwrap()
}

/// A node alone in the world, on a directory.
async fn start(folder: &Path, birth: Birth) -> Result<Node, String> {
    let runtime = Runtime::tokio();
    let transport = MemoryNetwork::new(runtime.clone()).transport(NodeId(1));
    let addresses = Addresses { peer: MemoryNetwork::address(NodeId(1)), api: "api:1".to_owned() };
    let store = Store::open(folder).await.map_err(|error| error.to_string())?;
    let settled = Identity::settle(birth, &addresses, &store.archive, &transport, &runtime).await;
    let started = match settled {
        Ok(identity) => {
            let options = NodeOptions {
                identity,
                addresses,
                store: store.clone(),
                engine: engine(),
                runtime,
                transport,
                guest_threads: 0,
                log_kept: Some(20),
                reserve: None,
                evidence: None,
                archive: None,
            };
            Node::start(options)
                .await
                .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))
        }
        Err(error) => Err(error.to_string()),
    };
    if started.is_err() {
        store.close().await;
    }
    started
}

/// Where the guild's replica stands, once it leads.
async fn stands(node: &Node) -> (Sequence, Hash) {
    let replica = settled(node).await.unwrap();
    (replica.0, replica.1)
}

/// Where the guild's replica stands once it leads, or why it does not.
async fn settled(node: &Node) -> Result<(Sequence, Hash), String> {
    loop {
        let status = node.status().await;
        let guild = status.replicas.into_iter().find(|replica| replica.name == GUILD);
        match guild {
            Some(replica) if replica.fault.is_some() => return Err(replica.fault.unwrap_or_default()),
            Some(replica) if replica.role == Role::Leader => return Ok((replica.sequence, replica.digest)),
            _ => node.runtime().sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn findings(folder: &Path, is_deep: bool) -> Findings {
    let scratch = tempfile::tempdir().unwrap();
    let inspection = Inspection::of(folder, scratch.path()).await.unwrap();
    let look = Look { engine: engine().fingerprint(), is_deep };
    let found = Findings::of(&inspection, look, |_| {}).await;
    inspection.close().await;
    found
}

fn guild(findings: &Findings) -> &super::CommunityFindings {
    findings.communities.iter().find(|found| found.name.as_deref() == Some(GUILD)).expect("it is remembered")
}

/// What is foretold of the guild.
fn foretold(findings: &Findings) -> &Foresight {
    guild(findings).on_start.as_ref().expect("the archive can be read")
}

/// Starts a node where a replica is foretold to come back, and looks whether all of it does.
async fn must_come_back(folder: &Path) {
    let node = start(folder, Birth::Restart).await.unwrap();
    let all = left().await;
    assert_eq!(settled(&node).await, Ok((all.sequence, all.digest)));
    node.shutdown().await;
}

/// Starts a node where a replica is foretold not to come back; why it does not.
async fn must_not_come_back(folder: &Path) -> String {
    let node = start(folder, Birth::Restart).await.unwrap();
    let why = settled(&node).await.unwrap_err();
    node.shutdown().await;
    why
}

#[tokio::test]
async fn what_is_sound_is_told_in_full_and_comes_back() {
    let copy = copied(left().await.folder.path());
    for is_deep in [false, true] {
        let found = findings(copy.path(), is_deep).await;
        assert!(found.is_sound(), "{:?}", found.damages);
        assert_eq!(found.on_start, Some(NodeForesight::Serves(NodeId(1))));
        let identity = found.identity.as_ref().unwrap();
        assert_eq!((identity.node, identity.system_replica), (NodeId(1), ReplicaId(1)));
        assert_eq!(found.communities.len(), 2);
        let guild = guild(&found);
        let [newest, older] = &guild.snapshots[..] else { panic!("two snapshots: {guild:?}") };
        assert_eq!((newest.sequence, older.sequence), (Sequence(80), Sequence(40)));
        assert_eq!(newest.sound_chunks, is_deep.then_some(newest.chunks));
        let log = guild.log.as_ref().unwrap();
        let (first, last) = log.held.unwrap();
        assert!(first > 0 && log.damaged.is_empty(), "{log:?}");
        assert_eq!(log.records.vote, Some(ReplicaId(1)));
        assert_eq!(guild.members.as_ref().unwrap().voters.len(), 1);
        assert_eq!(guild.history.unwrap().1, left().await.sequence);
        assert_eq!(guild.program.as_ref().unwrap().name, "scripted");
        assert_eq!(guild.missing_components, [Hash([1; 32])], "scripts have no components");
        let Foresight::Restores { snapshot, passed_over, executes, undecided } = foretold(&found) else {
            panic!("{:?}", foretold(&found));
        };
        assert_eq!((*snapshot, &passed_over[..]), (Some(Sequence(80)), &[][..]));
        assert_eq!(newest.log_index + executes + undecided, last, "all of its log");
    }
    must_come_back(copy.path()).await;
}

#[tokio::test]
async fn a_directory_of_nobody_is_told_as_such() {
    let empty = tempfile::tempdir().unwrap();
    let found = findings(empty.path(), true).await;
    assert!(found.is_sound() && found.communities.is_empty());
    assert_eq!(found.on_start, Some(NodeForesight::IsNobody));
    let told = start(empty.path(), Birth::Restart).await.err().unwrap();
    assert!(told.contains("belongs to no cluster yet"), "{told}");
}

#[tokio::test]
async fn a_damaged_manifest_is_passed_over_and_so_is_a_chunk_that_is_another() {
    let manifest = left().await.altered(async |part| match part {
        Part::Snapshot(CommunityId(1), mut record, hashes) if record.sequence == Sequence(80) => {
            let mut bytes = record.manifest.to_vec();
            bytes[40] ^= 1;
            record.manifest = bytes.into();
            Some(Part::Snapshot(CommunityId(1), record, hashes))
        }
        part => Some(part),
    });
    let chunk = left().await.altered(async |part| match part {
        Part::Chunk(CommunityId(1), Sequence(80), hash, bytes) => {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            Some(Part::Chunk(CommunityId(1), Sequence(80), hash, bytes.into()))
        }
        part => Some(part),
    });
    for (folder, is_deep, what) in
        [(manifest.await, false, "is damaged"), (chunk.await, true, "not that chunk's")]
    {
        let found = findings(folder.path(), is_deep).await;
        let [damage] = &found.damages[..] else { panic!("one damage: {:?}", found.damages) };
        assert!(damage.place.contains("guild") && damage.place.contains("its snapshot at 80"), "{damage}");
        assert!(damage.what.contains(what), "{damage}");
        // Whether the log reaches back to the older one is a matter of how much of it was kept.
        match foretold(&found) {
            Foresight::Restores { snapshot: Some(Sequence(40)), .. } => must_come_back(folder.path()).await,
            Foresight::Cannot { why } => {
                assert!(why.contains("none of its 2 snapshots can be used"), "{why}");
                must_not_come_back(folder.path()).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The places of [`MARKER`] in the log's file, many of them in pages that nothing uses any more.
fn places(folder: &Path) -> Vec<usize> {
    let bytes = fs::read(folder.join("wal.db")).unwrap();
    (0..bytes.len() - MARKER.len()).filter(|&at| bytes[at..].starts_with(MARKER)).collect()
}

fn flip(folder: &Path, at: usize) {
    let path = folder.join("wal.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn an_entry_of_the_log_that_is_another_keeps_its_community_out_if_a_start_reads_it() {
    let (mut out, mut back) = (0, 0);
    for at in places(left().await.folder.path()) {
        let copy = copied(left().await.folder.path());
        flip(copy.path(), at);
        let found = findings(copy.path(), false).await;
        let [damage] = &found.damages[..] else { continue };
        assert!(
            damage.place.contains("guild") && damage.what.contains("are not what was written"),
            "{damage}"
        );
        assert_eq!(found.on_start, Some(NodeForesight::Serves(NodeId(1))));
        let [index] = guild(&found).log.as_ref().unwrap().damaged[..] else { panic!("{found:?}") };
        assert!(damage.what.contains(&index.to_string()));
        match foretold(&found) {
            Foresight::ComesBackFresh { why } => {
                out += 1;
                // Nobody else is there through whom it could.
                let told = must_not_come_back(copy.path()).await;
                assert!(told.contains(why.trim_start_matches("damaged: ")), "{told}");
            }
            _ => {
                back += 1;
                must_come_back(copy.path()).await;
            }
        }
    }
    assert!(out > 5 && back > 5, "{out} of them keep it out, {back} do not");
}

#[tokio::test]
async fn facts_that_cannot_be_read_are_named_with_what_comes_of_it() {
    for name in [identity::FACT, identity::NODES_FACT, node::HOSTED_FACT, quarantine::FACT] {
        let folder = left()
            .await
            .altered(async |part| match part {
                Part::Fact(found, _) if found == name => {
                    Some(Part::Fact(found, Bytes::from_static(b"\x01\xff")))
                }
                part => Some(part),
            })
            .await;
        let found = findings(folder.path(), false).await;
        let [damage] = &found.damages[..] else { panic!("one damage: {:?}", found.damages) };
        assert!(damage.place.contains(name), "{damage}");
        let ends = matches!(found.on_start, Some(NodeForesight::Ends { .. }));
        assert_eq!(ends, name == identity::FACT);
        match start(folder.path(), Birth::Restart).await {
            Ok(node) => {
                assert!(!ends);
                node.shutdown().await;
            }
            Err(told) => assert!(ends && told.contains("identity"), "{told}"),
        }
    }
}

#[tokio::test]
async fn a_component_that_is_another_is_named() {
    let name = Hash::of_component(COMPONENT);
    let folder = left()
        .await
        .altered(async |part| match part {
            Part::Component(hash, _) => Some(Part::Component(hash, Bytes::from_static(b"another"))),
            part => Some(part),
        })
        .await;
    let found = findings(folder.path(), false).await;
    let [damage] = &found.damages[..] else { panic!("one damage: {:?}", found.damages) };
    assert!(damage.place.contains(&name.to_string()), "{damage}");
    assert_eq!(found.components.iter().map(|component| component.is_sound).collect::<Vec<_>>(), [false]);
    let sound = findings(left().await.altered(async |part| Some(part)).await.path(), true).await;
    assert!(sound.is_sound() && sound.components[0].is_sound, "{:?}", sound.damages);
}

#[tokio::test]
async fn a_quarantine_is_told_and_is_no_damage() {
    let quarantined = Quarantined {
        community: CommunityId(1),
        name: GUILD.to_owned(),
        replica: ReplicaId(1),
        sequence: Sequence(60),
        why: "quarantined: as a test has it".to_owned(),
    };
    let folder = left()
        .await
        .altered(async |part| match part {
            Part::Fact(name, _) if name == quarantine::FACT => {
                Some(Part::Fact(name, codec::encode(&vec![quarantined.clone()]).into()))
            }
            part => Some(part),
        })
        .await;
    let found = findings(folder.path(), true).await;
    assert!(found.is_sound(), "{:?}", found.damages);
    assert_eq!(foretold(&found), &Foresight::Quarantined { why: quarantined.why.clone() });
    assert_eq!(must_not_come_back(folder.path()).await, quarantined.why);
}

#[tokio::test]
async fn a_community_without_snapshots_and_with_a_purged_log_does_not_come_back() {
    let folder = left()
        .await
        .altered(async |part| match part {
            Part::Snapshot(CommunityId(1), ..) => None,
            part => Some(part),
        })
        .await;
    let found = findings(folder.path(), false).await;
    let Foresight::ComesBackFresh { why } = foretold(&found) else { panic!("{:?}", foretold(&found)) };
    assert!(why.contains("there is no snapshot, and its log begins only after entry"), "{why}");
    // Not as what it was; and there is nobody here who could give it what it lacks.
    must_not_come_back(folder.path()).await;
}

#[tokio::test]
async fn a_log_that_has_lost_something_is_told_with_what_is_left_of_it() {
    let copy = copied(left().await.folder.path());
    fs::remove_file(copy.path().join("wal.db")).unwrap();
    let found = findings(copy.path(), false).await;
    let [damage] = &found.damages[..] else { panic!("one damage: {:?}", found.damages) };
    assert_eq!(damage.place, "wal.db");
    let Some(told @ NodeForesight::ComesBackFresh { .. }) = &found.on_start else {
        panic!("{:?}", found.on_start)
    };
    assert!(told.to_string().contains("comes back under fresh replica ids"), "{told}");
    assert_eq!(guild(&found).snapshots.len(), 2, "the archive is told all the same");
    let told = start(copy.path(), Birth::Restart).await.err().unwrap();
    assert!(told.contains("must not vote"), "{told}");
}

#[tokio::test]
async fn a_replica_that_is_distrusted_comes_back_fresh_and_a_node_that_has_left_does_not() {
    let distrusted = |id| {
        let why = "its log was lost".to_owned();
        let mut distrust = Distrust::default();
        distrust.add(id, Distrusted { replica: ReplicaId(1), name: GUILD.to_owned(), why });
        codec::encode(&distrust).into()
    };
    let with = async |fact: &'static str, value: Bytes| {
        let folder = left()
            .await
            .altered(async |part| match part {
                Part::Fact(name, _) if name == quarantine::FACT => Some(Part::Fact(fact, value.clone())),
                part => Some(part),
            })
            .await;
        findings(folder.path(), false).await
    };
    let guild = with(distrust::FACT, distrusted(CommunityId(1))).await;
    let Foresight::ComesBackFresh { why } = foretold(&guild) else { panic!("{:?}", foretold(&guild)) };
    assert_eq!(why, "its log was lost");
    assert_eq!(guild.on_start, Some(NodeForesight::Serves(NodeId(1))), "the others run");
    let system = with(distrust::FACT, distrusted(CommunityId::SYSTEM)).await;
    assert!(matches!(system.on_start, Some(NodeForesight::ComesBackFresh { .. })), "{:?}", system.on_start);
    let unreadable = with(distrust::FACT, Bytes::from_static(b"what?")).await;
    assert!(!unreadable.is_sound());
    assert!(matches!(unreadable.on_start, Some(NodeForesight::Ends { .. })), "{:?}", unreadable.on_start);
    let gone = with(farewell::FACT, Bytes::new()).await;
    let Some(NodeForesight::Ends { why, .. }) = gone.on_start else { panic!("{:?}", gone.on_start) };
    assert!(why.contains("left its cluster for good"));
}
