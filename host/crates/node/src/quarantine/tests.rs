//! A replica whose live state is changed behind everybody's back: it is noticed, it serves nothing
//! more, clients go on, and a rebuild heals it. Real nodes over memory, in virtual time; the hook that
//! flips the byte exists in these tests only.

mod state;

use super::Difference;
use crate::{
    Addresses, Birth, Consistency, Identity, Node, NodeOptions, Placement, ReplicaStatus, Role, Timing,
    replica::Replica,
};
use althing_consensus::{
    memory::MemoryNetwork,
    peers::Handlers,
    runtime::{Runtime, simulate},
};
use althing_core::{
    actor::Actor,
    batch::{Activation, Command, Operation},
    ids::{CommunityId, Hash, NodeId, OperationNumber, Sequence, SessionId},
    policy::Policy,
    refusal::{Code, Retry},
    testing::{Step, manifest, script},
};
use althing_engine::{Engine, EngineOptions};
use althing_store::{memory::MemoryStore, segments::MemoryFiles};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Flips a byte of a replica's live state, once, before it executes the next time.
#[derive(Clone, Default)]
pub(crate) struct Tamper(Arc<Mutex<Option<CommunityId>>>);

impl Tamper {
    fn arm(&self, community: CommunityId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(community);
    }

    pub(crate) fn touch(&self, community: CommunityId, replica: &mut Replica) {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *armed == Some(community) {
            *armed = None;
            replica.flip(b"tale");
        }
    }
}

/// How long an operation may go without an answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const GUILD: &str = "guild";
/// Each is another course of the same story.
const SEEDS: std::ops::Range<u64> = 0..3;

/// A cluster with the community "guild", whose members tell one tale, each adding to it.
pub(crate) struct Stage {
    pub(crate) runtime: Runtime,
    pub(crate) network: MemoryNetwork,
    engine: Engine,
    folder: tempfile::TempDir,
    pub(crate) nodes: BTreeMap<u64, (Node, MemoryStore)>,
    /// Where the nodes that have one archive; to be known before they start.
    pub(crate) archives: BTreeMap<u64, MemoryFiles>,
    session: SessionId,
    number: u64,
}

impl Stage {
    pub(crate) async fn set(runtime: Runtime, voters: u64) -> Self {
        let network = MemoryNetwork::new(runtime.clone());
        let mut stage = Self {
            runtime,
            network,
            engine: Engine::new(EngineOptions::default()).unwrap(),
            folder: tempfile::tempdir().unwrap(),
            nodes: BTreeMap::new(),
            archives: BTreeMap::new(),
            session: SessionId(0),
            number: 0,
        };
        stage.up(1, MemoryStore::new(), Birth::Bootstrap).await;
        for id in 2..=3 {
            stage
                .up(id, MemoryStore::new(), Birth::Join { address: MemoryNetwork::address(NodeId(1)) })
                .await;
        }
        let nodes = (1..=voters).map(NodeId).collect();
        let first = stage.node(1);
        let mut policy = Policy::default();
        policy.retention.snapshot_transitions = 40;
        let made = first.create_community(GUILD.to_owned(), Placement::Nodes(nodes), Timing::LAN, policy);
        let id = made.await.unwrap().id;
        let activation = Activation { actor: Actor::default(), program: manifest("1", &[], &[]) };
        first.command(id, Command::Activate(activation)).await.unwrap();
        let opened = first.open_session(GUILD, Actor::default()).await.unwrap();
        stage.session = SessionId(opened.receipt.sequence.0);
        stage
    }

    pub(crate) async fn up(&mut self, id: u64, store: MemoryStore, birth: Birth) {
        let transport = self.network.transport(NodeId(id));
        let addresses = Self::addresses(id);
        let stored = store.store();
        let identity = Identity::settle(birth, &addresses, &stored.archive, &transport, &self.runtime).await;
        self.run(identity.unwrap(), store).await;
    }

    /// Runs a node that knows who it is.
    pub(crate) async fn run(&mut self, identity: Identity, store: MemoryStore) {
        let id = identity.node.0;
        let transport = self.network.transport(NodeId(id));
        let options = NodeOptions {
            identity,
            addresses: Self::addresses(id),
            store: store.store(),
            engine: self.engine.clone(),
            runtime: self.runtime.clone(),
            transport,
            guest_threads: 0,
            log_kept: Some(20),
            reserve: None,
            evidence: Some(self.evidence(id)),
            archive: self.archives.get(&id).map(crate::archiver::tests::archive_on),
        };
        let node = Node::start(options).await.unwrap();
        self.nodes.insert(id, (node, store));
        self.serve(id);
    }

    /// Lets the others reach a node.
    pub(crate) fn serve(&self, id: u64) {
        let node = self.node(id);
        let handlers =
            Handlers::new().with("raft/", node.consensus_handler()).with("node/", node.peer_handler());
        self.network.serve(NodeId(id), handlers);
    }

    pub(crate) fn addresses(id: u64) -> Addresses {
        Addresses { peer: MemoryNetwork::address(NodeId(id)), api: format!("api:{id}") }
    }

    pub(crate) async fn restart(&mut self, id: u64) {
        let store = self.down(id).await;
        self.up(id, store, Birth::Restart).await;
    }

    /// Ends a node without a goodbye; its disk, as a crash leaves it.
    pub(crate) async fn down(&mut self, id: u64) -> MemoryStore {
        let (node, store) = self.nodes.remove(&id).unwrap();
        self.network.stop(NodeId(id));
        let store = store.crash();
        node.shutdown().await;
        store
    }

    fn evidence(&self, id: u64) -> std::path::PathBuf {
        self.folder.path().join(format!("node-{id}"))
    }

    pub(crate) fn node(&self, id: u64) -> Node {
        self.nodes[&id].0.clone()
    }

    pub(crate) async fn replica(&self, id: u64) -> Option<ReplicaStatus> {
        let status = self.node(id).status().await;
        status.replicas.into_iter().find(|replica| replica.name == GUILD)
    }

    pub(crate) async fn leader(&self) -> u64 {
        loop {
            for &id in self.nodes.keys() {
                if self.replica(id).await.is_some_and(|replica| replica.role == Role::Leader) {
                    return id;
                }
            }
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
    }

    /// How long the tale is, as far as anybody was told.
    pub(crate) fn told(&self) -> u64 {
        self.number
    }

    /// Adds to the tale.
    pub(crate) async fn tell(&mut self) {
        let word = Step::Append(Bytes::from_static(b"tale"), Bytes::from_static(b"."));
        self.say(&[word]).await;
    }

    /// Gives the community so many values of 9,000 bytes, so that its state has several chunks.
    pub(crate) async fn fill(&mut self, values: u8) {
        for key in 0..values {
            let value = Bytes::from(vec![key; 9_000]);
            self.say(&[Step::Set(Bytes::from(format!("page {key}")), value)]).await;
        }
    }

    /// Submits an operation, through one node after the other until it is answered.
    async fn say(&mut self, steps: &[Step]) {
        self.number += 1;
        self.ask(steps).await;
    }

    /// Submits the last operation again, as a client does that had no answer.
    async fn repeat(&self, steps: &[Step]) {
        self.ask(steps).await;
    }

    async fn ask(&self, steps: &[Step]) {
        let operation = Operation {
            session: self.session,
            number: OperationNumber(self.number),
            acknowledged: OperationNumber(self.number - 1),
            after: OperationNumber(0),
            actor: Actor::default(),
            payload: script(steps),
        };
        let began = self.runtime.monotonic();
        let mut last = None;
        while self.runtime.monotonic() - began < ANSWER_PATIENCE {
            for (node, _) in self.nodes.values() {
                let told = node.submit(GUILD, vec![operation.clone()]).await;
                match told.unwrap_or_else(|refusal| vec![Err(refusal)]).remove(0) {
                    Ok(_) => return,
                    Err(refusal) => {
                        assert_ne!(refusal.code.retry(), Retry::Never, "{refusal:?}");
                        last = Some(refusal);
                    }
                }
            }
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
        let replicas = futures::future::join_all(self.nodes.keys().map(|&id| self.replica(id))).await;
        panic!("nobody answers: {last:?}; {replicas:#?}");
    }

    /// Changes a replica's state, lets clients go on, and waits until it is noticed; how long that took.
    async fn flip(&mut self, victim: u64) -> Duration {
        let node = self.node(victim);
        let community = node.community(GUILD).unwrap().id;
        node.shared().tamper.arm(community);
        self.tell().await;
        let began = self.runtime.monotonic();
        while node.quarantined().is_empty() {
            let waited = self.runtime.monotonic() - began;
            assert!(waited < Duration::from_secs(10), "it was not noticed");
            self.runtime.sleep(Duration::from_millis(10)).await;
        }
        self.runtime.monotonic() - began
    }

    async fn must_serve_nothing(&self, victim: u64) {
        let node = self.node(victim);
        let replica = self.replica(victim).await.unwrap();
        assert_eq!(replica.role, Role::Stopped);
        assert!(replica.fault.unwrap().contains("quarantined"));
        let read = node.scan(GUILD, Bytes::new(), None, 10, Consistency::Local).await;
        assert_eq!(read.unwrap_err().code, Code::ReplicaStopped);
        let history = node.history(GUILD, Sequence(1), 10).await;
        assert_eq!(history.unwrap_err().code, Code::ReplicaStopped);
        let [kept] = &node.quarantined()[..] else { panic!("one is quarantined") };
        assert_eq!(kept.name, GUILD);
    }

    /// All replicas at one sequence with one digest.
    pub(crate) async fn must_agree(&self) {
        let began = self.runtime.monotonic();
        loop {
            let mut reached = Vec::new();
            for &id in self.nodes.keys() {
                let replica = self.replica(id).await;
                reached.extend(replica.filter(|replica| replica.fault.is_none()));
            }
            let first = reached.first().map(|replica| replica.sequence);
            if reached.len() == 3 && reached.iter().all(|replica| Some(replica.sequence) == first) {
                assert!(reached.windows(2).all(|pair| pair[0].digest == pair[1].digest), "{reached:?}");
                return;
            }
            assert!(self.runtime.monotonic() - began < Duration::from_secs(60), "{reached:?}");
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn close(self) {
        for (node, _) in self.nodes.values() {
            node.shutdown().await;
        }
    }
}

/// The one file of evidence in a folder.
fn evidence(folder: &Path) -> serde_json::Value {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The names of an object's fields, sorted.
fn names(object: &serde_json::Value) -> String {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names.join(" ")
}

/// The whole story, with a follower or the leader as the victim.
async fn story(runtime: Runtime, is_leader: bool) {
    let mut stage = Stage::set(runtime, 3).await;
    for _ in 0..30 {
        stage.tell().await;
    }
    stage.runtime.sleep(Duration::from_secs(1)).await;
    let leader = stage.leader().await;
    let victim = if is_leader { leader } else { 1 + leader % 3 };
    let noticed = stage.flip(victim).await;
    assert!(noticed <= Duration::from_secs(1), "noticed after {noticed:?}");
    stage.must_serve_nothing(victim).await;

    // Clients go on, also through the node that is no help.
    for _ in 0..60 {
        stage.tell().await;
    }
    let new = stage.leader().await;
    assert_ne!(new, victim);
    let told = evidence(&stage.evidence(victim));
    let fields = "agreed_up_to community compared_at majority_digest name node own_digest own_transition replica why \
                  witness_node witness_transition";
    assert_eq!(names(&told), fields, "a format that people keep");
    let (own, theirs) = (&told["own_transition"], &told["witness_transition"]);
    assert_eq!(own["sequence"], theirs["sequence"], "{told}");
    assert_ne!(own["writes"], theirs["writes"], "{told}");
    let tale = theirs["writes"][0]["value"].as_str().unwrap();
    assert!(tale.chars().all(|word| word == '.'), "decoded: {told}");

    // It stays so across a restart.
    stage.restart(victim).await;
    stage.runtime.sleep(Duration::from_secs(2)).await;
    let replica = stage.replica(victim).await.expect("it is shown");
    assert!(replica.fault.unwrap().contains("quarantined"));
    stage.tell().await;

    let old = stage.node(victim).quarantined()[0].replica;
    let fresh = stage.node(new).rebuild_replica(GUILD, NodeId(victim), None).await.unwrap();
    assert!(fresh > old);
    assert_eq!(stage.node(victim).quarantined(), [], "it is over");
    stage.tell().await;
    stage.must_agree().await;
    assert_eq!(stage.replica(victim).await.unwrap().replica, fresh);
    stage.close().await;
}

#[test]
fn a_follower_whose_state_was_changed_is_quarantined_and_a_rebuild_heals_it() {
    for seed in SEEDS {
        println!("seed {seed}");
        simulate(seed, async |runtime| story(runtime, false).await);
    }
}

#[test]
fn a_leader_whose_state_was_changed_answers_nothing_more_and_a_rebuild_heals_it() {
    for seed in SEEDS {
        println!("seed {seed}");
        simulate(seed, async |runtime| story(runtime, true).await);
    }
}

#[test]
fn where_no_digest_has_a_majority_all_stop() {
    simulate(3, async |runtime| {
        let mut stage = Stage::set(runtime, 2).await;
        for _ in 0..10 {
            stage.tell().await;
        }
        stage.flip(2).await;
        stage.runtime.sleep(Duration::from_secs(2)).await;
        for id in [1, 2] {
            stage.must_serve_nothing(id).await;
        }
        stage.close().await;
    });
}

#[test]
fn replicas_that_agree_are_left_alone() {
    simulate(4, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        for _ in 0..100 {
            stage.tell().await;
        }
        stage.restart(2).await;
        for _ in 0..20 {
            stage.tell().await;
        }
        stage.runtime.sleep(Duration::from_secs(5)).await;
        stage.must_agree().await;
        assert!(stage.nodes.values().all(|(node, _)| node.quarantined().is_empty()));
        stage.close().await;
    });
}

#[test]
fn what_is_found_of_a_replica_that_is_gone_does_not_stop_the_one_in_its_place() {
    simulate(5, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        stage.tell().await;
        let node = stage.node(2);
        let gone = node.hosted(node.find(GUILD).unwrap()).unwrap();
        let fresh = stage.node(1).rebuild_replica(GUILD, NodeId(2), None).await.unwrap();
        assert!(fresh > gone.hosted.replica);
        let difference = Difference {
            agreed: Sequence(1),
            at: Sequence(2),
            own: Hash([1; 32]),
            majority: Some(Hash([2; 32])),
            witness: None,
        };
        node.quarantine(&gone, difference).await;
        assert_eq!(node.quarantined(), []);
        stage.tell().await;
        stage.must_agree().await;
        stage.close().await;
    });
}
