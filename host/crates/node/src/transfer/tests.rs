//! Transfers from nodes that lie, hang and vanish, broken off wherever they may be; in virtual time.

use super::{CHUNK_TIMEOUT, ROOM_BYTES, Receiver, Transfers};
use crate::{
    components::Components,
    guests::GuestThreads,
    mend::Mender,
    peer::ask::Peers,
    replica::Captured,
    snapshots::{self, Builder},
    space::Space,
};
use althing_consensus::{
    peers::{Lane, PeerError, PeerRequest, PeerStream, PeerTransport},
    port::{AppliedState, Position, SnapshotBuilder as _, SnapshotFetch as _, SnapshotHandle},
    runtime::{Runtime, simulate},
};
use althing_core::{
    codec,
    ids::{CommunityId, Hash, NodeId, Sequence},
    machine::Machine,
    policy::Policy,
    refusal::{Code, Refusal},
    snapshot::Manifest,
    state::{Keyspace, State},
};
use althing_engine::{Engine, EngineOptions};
use althing_store::{memory::MemoryStore, port::Archive};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const GUILD: CommunityId = CommunityId(7);
const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);
/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(3);

/// How a node answers when it is asked for a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Sends other bytes.
    Poisons,
    /// Sends some of the bytes.
    Truncates,
    /// Never answers.
    Hangs,
    /// Has nothing.
    Lacks,
    /// Is honest so many times, and then gone.
    Vanishes(u64),
}

/// Nodes that have the same snapshot, and are asked for its chunks.
struct Town {
    runtime: Runtime,
    archive: Arc<dyn Archive>,
    manners: Mutex<BTreeMap<NodeId, Manner>>,
    asked: Mutex<Vec<(NodeId, Hash)>>,
    open_bytes: AtomicU64,
    open_bytes_max: AtomicU64,
}

impl Town {
    fn new(runtime: &Runtime, manners: impl IntoIterator<Item = (NodeId, Manner)>) -> Arc<Self> {
        Arc::new(Self {
            runtime: runtime.clone(),
            archive: MemoryStore::new().store().archive,
            manners: Mutex::new(manners.into_iter().collect()),
            asked: Mutex::default(),
            open_bytes: AtomicU64::new(0),
            open_bytes_max: AtomicU64::new(0),
        })
    }

    /// Cuts a snapshot that every node has from now on.
    async fn cut(&self, machine: &Machine, index: u64) -> SnapshotHandle {
        let position = Some(Position { index, record: Bytes::from_static(b"place") });
        let applied = AppliedState { position, membership: None };
        let captured = Captured { view: machine.view(), applied };
        let archive = self.archive.clone();
        let (last_cut, roots) = Default::default();
        let archived = crate::archiver::Marks::default();
        let mut builder =
            Builder { captured, archive, fingerprint: None, last_cut, roots, archived, falls_back_to: 0 };
        builder.build().await.unwrap()
    }

    fn asked(&self) -> Vec<(NodeId, Hash)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn answer(&self, node: NodeId, hash: Hash) -> Result<Bytes, PeerError> {
        self.asked.lock().unwrap().push((node, hash));
        let whole = self.archive.chunk(hash).await.unwrap();
        let bytes = whole.as_ref().map_or(0, Bytes::len) as u64;
        let open = self.open_bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.open_bytes_max.fetch_max(open, Ordering::SeqCst);
        self.runtime.sleep(LATENCY).await;
        self.open_bytes.fetch_sub(bytes, Ordering::SeqCst);
        let lacks = || Refusal::new(Code::Internal, "it is not here");
        let manner = *self.manners.lock().unwrap().get(&node).expect("only these may be asked");
        let sent = match manner {
            Manner::Honest => whole.ok_or_else(lacks),
            Manner::Poisons => Ok(Bytes::from(vec![7; usize::try_from(bytes).unwrap()])),
            Manner::Truncates => whole.map(|whole| whole.slice(1..)).ok_or_else(lacks),
            Manner::Lacks => Err(lacks()),
            Manner::Hangs => futures::future::pending().await,
            Manner::Vanishes(0) => {
                return Err(PeerError::Unreachable { node, why: "it is gone".into() });
            }
            Manner::Vanishes(left) => {
                self.manners.lock().unwrap().insert(node, Manner::Vanishes(left - 1));
                whole.ok_or_else(lacks)
            }
        };
        Ok(codec::encode(&sent).into())
    }
}

/// The way to the town.
struct Road(Arc<Town>);

#[async_trait]
impl PeerTransport for Road {
    async fn call(
        &self,
        to: NodeId,
        lane: Lane,
        request: PeerRequest,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        assert_eq!(lane, Lane::Bulk, "nothing else waits behind chunks");
        let hash = codec::decode(&request.body).unwrap();
        let answer = self.0.runtime.timeout(timeout, self.0.answer(to, hash)).await;
        answer.unwrap_or(Err(PeerError::TimedOut { node: to, millis: 0 }))
    }

    async fn call_address(&self, _: &str, _: PeerRequest, _: Duration) -> Result<Bytes, PeerError> {
        unreachable!("chunks are asked of nodes that are known")
    }

    async fn stream(
        &self,
        _: NodeId,
        _: Lane,
        _: PeerRequest,
        _: BoxStream<'static, Bytes>,
        _: Duration,
    ) -> Result<PeerStream, PeerError> {
        unreachable!("chunks are asked for one by one")
    }

    fn set_address(&self, _: NodeId, _: String) {}

    fn address(&self, _: NodeId) -> Option<String> {
        None
    }
}

/// A community whose chunks are all different: so many pairs of 9,000 bytes.
fn machine(pairs: u16) -> Machine {
    grown(Machine::new(GUILD, Policy::default()).state().clone(), 0..pairs, 9_000)
}

fn grown(mut state: State, keys: std::ops::Range<u16>, bytes: usize) -> Machine {
    for key in keys {
        let value: Vec<u8> = key.to_be_bytes().into_iter().cycle().take(bytes).collect();
        state.put(Keyspace::Program, &key.to_be_bytes(), Some(value.into()));
    }
    Machine::restore(state).unwrap()
}

/// The node that receives.
struct Here {
    store: MemoryStore,
    transfers: Transfers,
    receiver: Arc<Receiver>,
}

fn here(town: &Arc<Town>, store: MemoryStore) -> Here {
    let (archive, runtime) = (store.store().archive, town.runtime.clone());
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(EngineOptions::default()).unwrap());
    let engine = ENGINE.clone();
    let peers = Peers::new(Arc::new(Road(town.clone())));
    let compilers = GuestThreads::in_place();
    let components = Components::new(archive.clone(), engine, compilers, peers.clone(), runtime.clone());
    let transfers = Transfers::new(archive, components, peers, runtime, Space::default());
    let nodes: Vec<NodeId> = town.manners.lock().unwrap().keys().copied().collect();
    let receiver = transfers.receiver(GUILD, Arc::new(move || nodes.clone()));
    Here { store, transfers, receiver }
}

impl Here {
    fn archive(&self) -> Arc<dyn Archive> {
        self.store.store().archive
    }

    /// What is stored here, and only what has its own name.
    async fn stored(&self, manifest: &Manifest) -> BTreeSet<Hash> {
        let mut stored = BTreeSet::new();
        for chunk in &manifest.chunks {
            if let Some(bytes) = self.archive().chunk(chunk.hash).await.unwrap() {
                assert!(chunk.names(&bytes), "wrong bytes were stored");
                stored.insert(chunk.hash);
            }
        }
        stored
    }

    async fn must_hold(&self, offered: &SnapshotHandle, wanted: &Machine) {
        let restored = snapshots::restore(&*self.archive(), &offered.manifest, Hash::default()).await;
        let (restored, applied) = restored.unwrap();
        assert_eq!(restored.state(), wanted.state());
        assert_eq!(applied, offered.applied);
    }
}

fn of(asked: &[(NodeId, Hash)], node: NodeId) -> usize {
    asked.iter().filter(|(asked, _)| *asked == node).count()
}

/// Node 1 offers and has this manner; so do, with theirs, the others. How often each was asked, and how
/// long it took.
fn transfer(manners: [(NodeId, Manner); 3]) -> (Vec<(NodeId, Hash)>, usize, Duration) {
    simulate(1, |runtime| async move {
        let town = Town::new(&runtime, manners);
        let machine = machine(300);
        let offered = town.cut(&machine, 5).await;
        let here = here(&town, MemoryStore::new());
        let began = runtime.monotonic();
        here.receiver.fetch(ONE, &offered).await.unwrap();
        let took = runtime.monotonic() - began;
        here.must_hold(&offered, &machine).await;
        let chunks = Manifest::decode(&offered.manifest).unwrap().chunks.len();
        assert!(chunks > 30, "{chunks} chunks: there is something to share");
        (town.asked(), chunks, took)
    })
}

#[test]
fn every_chunk_comes_once_from_the_node_that_offers_and_from_others_when_it_has_its_hands_full() {
    let (asked, chunks, _) = transfer([ONE, TWO, THREE].map(|node| (node, Manner::Honest)));
    let different: BTreeSet<Hash> = asked.iter().map(|(_, hash)| *hash).collect();
    assert_eq!((asked.len(), different.len()), (chunks, chunks));
    assert_eq!(asked[0].0, ONE);
    assert!(of(&asked, ONE) > 0 && of(&asked, TWO) > 0 && of(&asked, THREE) > 0);
    assert!(of(&asked, ONE) >= of(&asked, THREE));
}

#[test]
fn a_node_that_sends_wrong_bytes_is_asked_no_more_and_the_others_give() {
    for manner in [Manner::Poisons, Manner::Truncates] {
        let (asked, chunks, _) = transfer([(ONE, manner), (TWO, Manner::Honest), (THREE, manner)]);
        assert!((1..=2).contains(&of(&asked, ONE)), "only what was under way before its first answer");
        assert!(of(&asked, THREE) <= 2);
        assert_eq!(of(&asked, TWO), chunks);
    }
}

#[test]
fn a_node_that_hangs_costs_its_own_chunks_some_time_and_the_others_none() {
    let (asked, chunks, took) =
        transfer([(ONE, Manner::Hangs), (TWO, Manner::Honest), (THREE, Manner::Lacks)]);
    assert_eq!(of(&asked, TWO), chunks);
    assert!(took < CHUNK_TIMEOUT * 2, "{took:?}");
    let others: BTreeSet<Hash> =
        asked.iter().filter(|(node, _)| *node == ONE).map(|(_, hash)| *hash).collect();
    assert!(others.len() <= 2, "it was not asked for more before it had answered");
}

/// What is damaged is fetched with the same manners as what is sent.
#[test]
fn a_node_that_hangs_does_not_hold_up_the_mending_of_many_chunks() {
    simulate(1, |runtime| async move {
        let manners = [(ONE, Manner::Hangs), (TWO, Manner::Honest), (THREE, Manner::Lacks)];
        let town = Town::new(&runtime, manners);
        let machine = machine(1000);
        let offered = town.cut(&machine, 5).await;
        let manifest = Manifest::decode(&offered.manifest).unwrap();
        let here = here(&town, MemoryStore::new());
        let mender = Mender::new(here.archive(), Peers::new(Arc::new(Road(town.clone()))));
        let began = runtime.monotonic();
        assert!(mender.complete(&manifest, &[ONE, TWO, THREE]).await.unwrap());
        let took = runtime.monotonic() - began;
        assert!(took < Duration::from_secs(25), "{took:?} for {} chunks", manifest.chunks.len());
        let asked = town.asked();
        assert!(of(&asked, ONE) <= 4, "it was given up");
        assert_eq!(of(&asked, TWO), manifest.chunks.len());
        here.must_hold(&offered, &machine).await;
    });
}

#[test]
fn a_node_that_vanishes_half_way_is_left_for_the_others() {
    let (asked, chunks, took) =
        transfer([(ONE, Manner::Vanishes(10)), (TWO, Manner::Honest), (THREE, Manner::Lacks)]);
    assert!(of(&asked, ONE) >= 10);
    assert_eq!(of(&asked, TWO), chunks - 10);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn what_nobody_gives_is_refused_and_says_who_was_asked() {
    simulate(1, |runtime| async move {
        let manners = [(ONE, Manner::Lacks), (TWO, Manner::Poisons), (THREE, Manner::Vanishes(0))];
        let town = Town::new(&runtime, manners);
        let offered = town.cut(&machine(300), 5).await;
        let here = here(&town, MemoryStore::new());
        let refused = here.receiver.fetch(ONE, &offered).await.unwrap_err().to_string();
        for told in ["node 1: it is not here", "node 2: it sent", "node 3: node 3 is unreachable"] {
            assert!(refused.contains(told), "{refused}");
        }
        let manifest = Manifest::decode(&offered.manifest).unwrap();
        assert_eq!(here.stored(&manifest).await, BTreeSet::new());
        assert_eq!(here.transfers.status(GUILD, Sequence(0)), None, "it is over");
    });
}

/// Breaks a transfer off after a time and crashes; whether there was something to break off.
fn interrupted(after: Duration) -> bool {
    simulate(3, |runtime| async move {
        let town = Town::new(&runtime, [(ONE, Manner::Honest), (TWO, Manner::Honest)]);
        let machine = machine(300);
        let offered = town.cut(&machine, 5).await;
        let manifest = Manifest::decode(&offered.manifest).unwrap();
        let here_first = here(&town, MemoryStore::new());
        if runtime.timeout(after, here_first.receiver.fetch(ONE, &offered)).await.is_some() {
            return false;
        }
        let had = here_first.stored(&manifest).await;
        let again = here(&town, here_first.store.crash());
        // Another community's snapshot goes before anybody asks for what has come.
        again.archive().remove_community(CommunityId(99)).await.unwrap();
        assert_eq!(again.stored(&manifest).await, had);
        town.asked();
        again.receiver.fetch(TWO, &offered).await.unwrap();
        let asked: Vec<Hash> = town.asked().into_iter().map(|(_, hash)| hash).collect();
        let wanted: BTreeSet<Hash> =
            manifest.chunks.iter().map(|chunk| chunk.hash).filter(|hash| !had.contains(hash)).collect();
        assert_eq!(asked.len(), wanted.len(), "each comes once");
        assert_eq!(asked.into_iter().collect::<BTreeSet<_>>(), wanted, "and only what was not here");
        again.must_hold(&offered, &machine).await;
        true
    })
}

#[test]
fn broken_off_at_any_chunk_it_goes_on_where_it_stopped() {
    let step = Duration::from_millis(1);
    let points = (0..).map(|point| step * point).take_while(|&after| interrupted(after)).count();
    assert!(points > 10, "it was broken off at {points} points");
}

#[test]
fn of_another_snapshot_only_what_differs_comes_and_the_one_before_ends() {
    simulate(1, |runtime| async move {
        let town = Town::new(&runtime, [(ONE, Manner::Vanishes(12)), (TWO, Manner::Honest)]);
        let older = machine(300);
        let first = town.cut(&older, 5).await;
        let here = here(&town, MemoryStore::new());
        let newer = grown(older.state().clone(), 290..320, 9_000);
        let second = town.cut(&newer, 9).await;
        town.manners.lock().unwrap().insert(TWO, Manner::Hangs);
        let seen = async {
            while town.asked.lock().unwrap().len() < 20 {
                runtime.sleep(LATENCY).await;
            }
            let status = here.transfers.status(GUILD, Sequence(0)).unwrap();
            assert_eq!((status.from, status.chunks_here), (ONE, 12), "{status:?}");
            town.manners.lock().unwrap().insert(TWO, Manner::Honest);
            town.asked();
            here.receiver.fetch(TWO, &second).await
        };
        let (ended, came) = futures::future::join(here.receiver.fetch(ONE, &first), seen).await;
        assert!(ended.unwrap_err().to_string().contains("another snapshot was offered"));
        came.unwrap();
        here.must_hold(&second, &newer).await;
        let manifest = Manifest::decode(&second.manifest).unwrap();
        let asked = of(&town.asked(), TWO);
        assert!(
            asked + 12 <= manifest.chunks.len() + 1,
            "{asked} of {} were asked for",
            manifest.chunks.len()
        );
        // All is here, and is shown until the state that is made of it is in use.
        let status = here.transfers.status(GUILD, Sequence(0));
        assert_eq!(status.is_some(), manifest.sequence > Sequence(0));
    });
}

#[test]
fn what_is_under_way_is_bounded_in_bytes() {
    simulate(1, |runtime| async move {
        let town = Town::new(&runtime, [ONE, TWO, THREE].map(|node| (node, Manner::Honest)));
        let machine = grown(machine(1).state().clone(), 1..80, 1 << 20);
        let offered = town.cut(&machine, 5).await;
        let here = here(&town, MemoryStore::new());
        here.receiver.fetch(ONE, &offered).await.unwrap();
        here.must_hold(&offered, &machine).await;
        let most = town.open_bytes_max.load(Ordering::SeqCst);
        let room = u64::from(ROOM_BYTES);
        assert!((room / 2..=room).contains(&most), "{most} bytes were asked for at once");
    });
}

#[test]
fn a_manifest_that_is_not_what_was_offered_is_refused_before_anything_is_asked_for() {
    simulate(1, |runtime| async move {
        let town = Town::new(&runtime, [(ONE, Manner::Honest)]);
        let offered = town.cut(&machine(30), 5).await;
        let here = here(&town, MemoryStore::new());
        let manifest = Manifest::decode(&offered.manifest).unwrap();
        let mut refusals = Vec::new();
        let other = Manifest { community: CommunityId(8), ..manifest.clone() };
        let twice = {
            let mut chunks = manifest.chunks.clone();
            chunks.extend_from_within(..1);
            Manifest { state_root: althing_core::snapshot::state_root(&chunks), chunks, ..manifest }
        };
        let torn = offered.manifest.slice(..offered.manifest.len() - 1);
        for bytes in [other.encode(), twice.encode(), torn] {
            let wrong = SnapshotHandle { manifest: bytes, ..offered.clone() };
            refusals.push(here.receiver.fetch(ONE, &wrong).await.unwrap_err().to_string());
        }
        let elsewhere = SnapshotHandle { applied: AppliedState::default(), ..offered };
        refusals.push(here.receiver.fetch(ONE, &elsewhere).await.unwrap_err().to_string());
        let wanted =
            ["of community 8", "manifest is refused", "manifest is refused", "another place in the log"];
        for (refusal, wanted) in refusals.iter().zip(wanted) {
            assert!(refusal.contains(wanted), "{refusal}");
        }
        assert_eq!(town.asked(), []);
    });
}
