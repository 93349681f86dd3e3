//! Importing on real nodes over memory, in virtual time: what comes goes on, and what is broken off, at any
//! moment and by anybody, leaves nothing or all.

use super::{History, Import};
use crate::{
    Addresses, Birth, Consistency, Identity, Node, NodeOptions, Placement, ReplicaStatus, Timing,
    directory::view::DirectoryView,
};
use althing_consensus::{
    memory::MemoryNetwork,
    peers::Handlers,
    runtime::{Runtime, simulate},
};
use althing_core::{
    actor::Actor,
    batch::{Activation, Command, Operation},
    codec, digest,
    ids::{CommunityId, Hash, NodeId, OperationNumber, Sequence, SessionId},
    origin::Origin,
    policy::Policy,
    portable::{End, Header, Kind, Part},
    refusal::{Code, Refusal},
    snapshot::{Chunk, Manifest, state_root},
    testing::{Step, manifest, script},
    transition::{Cause, Receipt, Transition},
};
use althing_engine::{Engine, EngineOptions};
use althing_store::memory::MemoryStore;
use bytes::Bytes;
use futures::TryStreamExt as _;
use std::{collections::BTreeMap, time::Duration};

const GUILD: &str = "guild";
const COPY: &str = "copy";
/// Operations in the guild before it is exported.
const WORDS: u64 = 30;
/// Transitions that come along with it.
const COME_ALONG: usize = 12;

/// Three nodes, and the community "guild" on the first.
struct Stage {
    runtime: Runtime,
    network: MemoryNetwork,
    engine: Engine,
    nodes: BTreeMap<u64, (Node, MemoryStore)>,
    session: SessionId,
}

/// What an export brings.
struct Exported {
    import: Import,
    chunks: Vec<(Hash, Bytes)>,
    manifest: Manifest,
    /// The last operation's answer.
    last: Receipt,
}

/// A manifest in pieces of a hundred bytes.
fn pieces(manifest: &Manifest) -> Vec<Chunk> {
    manifest.encode().chunks(100).map(|piece| Chunk::of(Bytes::copy_from_slice(piece))).collect()
}

impl Stage {
    async fn set(runtime: Runtime) -> Self {
        let network = MemoryNetwork::new(runtime.clone());
        let engine = Engine::new(EngineOptions::default()).unwrap();
        let mut stage = Self { runtime, network, engine, nodes: BTreeMap::new(), session: SessionId(0) };
        stage.up(1, MemoryStore::new(), Birth::Bootstrap).await;
        for id in 2..=3 {
            let address = MemoryNetwork::address(NodeId(1));
            stage.up(id, MemoryStore::new(), Birth::Join { address }).await;
        }
        let first = stage.node(1);
        let placement = Placement::Nodes(vec![NodeId(1)]);
        let made = first.create_community(GUILD.to_owned(), placement, Timing::LAN, Policy::default()).await;
        let activation = Activation { actor: Actor::default(), program: manifest("1", &[], &[]) };
        first.command(made.unwrap().id, Command::Activate(activation)).await.unwrap();
        // A script has no component, and an export holds one for every program.
        let component = (Hash([1; 32]), Bytes::from_static(b"script"));
        first.shared().store.archive.put_component(component.0, component.1).await.unwrap();
        let opened = first.open_session(GUILD, Actor::default()).await.unwrap();
        stage.session = SessionId(opened.receipt.sequence.0);
        stage
    }

    async fn up(&mut self, id: u64, store: MemoryStore, birth: Birth) {
        let transport = self.network.transport(NodeId(id));
        let addresses = Addresses { peer: MemoryNetwork::address(NodeId(id)), api: format!("api:{id}") };
        let stored = store.store();
        let identity = Identity::settle(birth, &addresses, &stored.archive, &transport, &self.runtime).await;
        let options = NodeOptions {
            identity: identity.unwrap(),
            addresses,
            store: stored,
            engine: self.engine.clone(),
            runtime: self.runtime.clone(),
            transport,
            guest_threads: 0,
            log_kept: Some(20),
            reserve: None,
            evidence: None,
            archive: None,
        };
        let node = Node::start(options).await.unwrap();
        let handlers =
            Handlers::new().with("raft/", node.consensus_handler()).with("node/", node.peer_handler());
        self.network.serve(NodeId(id), handlers);
        self.nodes.insert(id, (node, store));
    }

    async fn restart(&mut self, id: u64) {
        let (node, store) = self.nodes.remove(&id).unwrap();
        self.network.stop(NodeId(id));
        let store = store.crash();
        node.shutdown().await;
        self.up(id, store, Birth::Restart).await;
    }

    fn node(&self, id: u64) -> Node {
        self.nodes[&id].0.clone()
    }

    /// Submits the operation of a number, until it is answered; and whether that was an answer given before.
    async fn tell(&self, id: u64, community: &str, number: u64) -> (Receipt, bool) {
        let operation = Operation {
            session: self.session,
            number: OperationNumber(number),
            acknowledged: OperationNumber(number - 1),
            after: OperationNumber(0),
            actor: Actor::default(),
            payload: script(&[Step::Append(Bytes::from_static(b"tale"), Bytes::from(format!(" {number}")))]),
        };
        for _ in 0..200 {
            let told = self.node(id).submit(community, vec![operation.clone()]).await;
            match told.unwrap_or_else(|refusal| vec![Err(refusal)]).remove(0) {
                Ok(told) => return (told.receipt, told.repeated),
                Err(_) => self.runtime.sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("{community} does not answer");
    }

    /// The guild as it is after some operations, with the last of its history.
    async fn export(&self) -> Exported {
        let mut last = None;
        for number in 1..=WORDS {
            last = Some(self.tell(1, GUILD, number).await.0);
        }
        let node = self.node(1);
        node.create_snapshot(GUILD).await.unwrap();
        let parts: Vec<Part> = node.export(GUILD).await.unwrap().try_collect().await.unwrap();
        let of = |kind: Kind| parts.iter().filter(move |part| part.kind == kind).map(|part| &part.body);
        let header: Header = codec::decode(of(Kind::Header).next().unwrap()).unwrap();
        let end: End = codec::decode(of(Kind::End).next().unwrap()).unwrap();
        let state = Manifest::decode(of(Kind::Manifest).next().unwrap()).unwrap();
        assert_eq!(state.sequence, end.sequence, "nothing happened since the snapshot");
        let told = node.history(GUILD, Sequence(1), 1024).await.unwrap().transitions;
        let (before, along) = told.split_at(told.len() - COME_ALONG);
        let pages: Vec<Chunk> =
            along.chunks(5).map(|page| Chunk::of(codec::encode(&page.to_vec()).into())).collect();
        let mut chunks: Vec<Chunk> = of(Kind::Chunk).cloned().map(Chunk::of).collect();
        let history = History {
            before: before.last().unwrap().digest,
            pages: pages.iter().map(Chunk::reference).collect(),
        };
        chunks.extend(pages);
        let origin = Origin {
            cluster: header.cluster,
            community: header.community,
            name: header.name,
            sequence: end.sequence,
            digest: end.digest,
            seal: Hash([7; 32]),
        };
        let manifest = Manifest { log_index: 0, log_id: Bytes::new(), membership: Bytes::new(), ..state };
        let pieces = pieces(&manifest);
        let import = Import {
            name: COPY.to_owned(),
            placement: Placement::Nodes((1..=3).map(NodeId).collect()),
            timing: Timing::LAN,
            manifest: pieces.iter().map(|piece| piece.hash).collect(),
            origin,
            history,
        };
        let chunks = chunks.into_iter().chain(pieces).map(|chunk| (chunk.hash, chunk.bytes)).collect();
        Exported { import, chunks, manifest, last: last.unwrap() }
    }

    async fn import(&self, id: u64, exported: &Exported) -> Result<CommunityId, Refusal> {
        let node = self.node(id);
        node.upload_chunks(exported.chunks.clone()).await?;
        node.import_community(exported.import.clone()).await.map(|record| record.id)
    }

    async fn replica(&self, id: u64) -> Option<ReplicaStatus> {
        let status = self.node(id).status().await;
        status.replicas.into_iter().find(|replica| replica.name == COPY)
    }

    /// Waits until these nodes' copies are at one sequence from `at_least` on, with one digest.
    async fn agreed(&self, ids: &[u64], at_least: u64) {
        for _ in 0..1200 {
            let mut reached = Vec::new();
            for &id in ids {
                let replica = self.replica(id).await;
                reached.extend(replica.filter(|replica| replica.sequence.0 >= at_least));
            }
            assert!(reached.iter().all(|replica| replica.fault.is_none()), "{reached:?}");
            if reached.len() == ids.len()
                && reached.windows(2).all(|pair| pair[0].sequence == pair[1].sequence)
            {
                assert!(reached.windows(2).all(|pair| pair[0].digest == pair[1].digest), "{reached:?}");
                return;
            }
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
        panic!("{ids:?} do not agree from {at_least} on");
    }

    fn must_not_be_seen(&self) {
        for (node, _) in self.nodes.values() {
            assert!(DirectoryView(&node.directory()).find(COPY).is_none(), "it never began, and is there");
        }
    }

    async fn histories(&self) -> Vec<Vec<Transition>> {
        let mut histories = Vec::new();
        for (node, _) in self.nodes.values() {
            histories.push(node.history(COPY, Sequence(0), 1024).await.unwrap().transitions);
        }
        histories
    }

    /// Waits until nobody holds anything of a copy that never began.
    async fn must_be_gone(&self) {
        for _ in 0..1200 {
            if self.is_gone().await {
                return;
            }
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
        panic!("something is left of an import that was broken off");
    }

    async fn is_gone(&self) -> bool {
        let mut is_gone = true;
        for (node, store) in self.nodes.values() {
            let directory = node.directory();
            let view = DirectoryView(&directory);
            is_gone &= view.find(COPY).is_none() && view.reserved().is_empty();
            let archive = store.store().archive;
            for id in (2..10).map(CommunityId) {
                is_gone &= archive.snapshots(id).await.unwrap().is_empty();
                is_gone &= archive.history_held(id).await.unwrap().is_none();
            }
        }
        is_gone
    }

    async fn close(self) {
        for (node, _) in self.nodes.values() {
            node.shutdown().await;
        }
    }
}

#[test]
fn an_imported_community_goes_on_where_the_other_one_was() {
    simulate(1, async |runtime| {
        let mut stage = Stage::set(runtime).await;
        let exported = stage.export().await;
        let origin = exported.import.origin.clone();
        let id = stage.import(2, &exported).await.unwrap();
        assert_ne!(id, origin.community);
        stage.agreed(&[1, 2, 3], origin.sequence.0 + 1).await;
        for history in stage.histories().await {
            assert_eq!(history.len(), COME_ALONG + 1);
            let imported = history.last().unwrap();
            assert_eq!(imported.cause, Cause::Import(origin.clone()));
            assert_eq!(imported.digest, digest::step(origin.digest, imported));
        }
        assert_eq!(stage.node(3).origin(id), Some(origin.clone()));
        assert_eq!(stage.import(3, &exported).await.unwrap(), id, "asked again, it is there");

        // What was answered is answered again; what follows follows.
        let (receipt, repeated) = stage.tell(3, COPY, WORDS).await;
        assert!(repeated);
        assert_eq!(receipt, exported.last);
        assert!(!stage.tell(1, COPY, WORDS + 1).await.1);
        let tale = stage.node(2).scan(COPY, Bytes::new(), None, 10, Consistency::Linearizable).await.unwrap();
        assert!(tale.pairs[0].1.ends_with(b" 29 30 31"), "{tale:?}");

        // It can be exported in its turn, from the snapshot that it began with.
        stage.agreed(&[1, 2, 3], origin.sequence.0 + 2).await;
        let parts: Vec<Part> = stage.node(1).export(COPY).await.unwrap().try_collect().await.unwrap();
        let begins = parts.iter().find(|part| part.kind == Kind::Manifest).unwrap();
        assert_eq!(begins.name, origin.sequence.next().to_string());
        let end: End = codec::decode(&parts.last().unwrap().body).unwrap();
        assert_eq!((end.sequence.0, end.transitions), (origin.sequence.0 + 2, 1));

        // All of it is durable.
        for id in [1, 2, 3] {
            stage.restart(id).await;
        }
        assert!(!stage.tell(1, COPY, WORDS + 2).await.1);
        stage.agreed(&[1, 2, 3], origin.sequence.0 + 3).await;
        stage.close().await;
    });
}

#[test]
fn a_replica_that_comes_later_begins_with_a_snapshot() {
    simulate(2, async |runtime| {
        let stage = Stage::set(runtime).await;
        let mut exported = stage.export().await;
        exported.import.placement = Placement::Nodes(vec![NodeId(1)]);
        // The node that is asked is not to have it, and keeps nothing of it.
        let id = stage.import(2, &exported).await.unwrap();
        for _ in 0..100 {
            stage.runtime.sleep(Duration::from_millis(50)).await;
        }
        let (_, store) = &stage.nodes[&2];
        assert!(store.store().archive.snapshots(id).await.unwrap().is_empty());
        stage.tell(1, COPY, WORDS + 1).await;
        for on in [2, 3] {
            stage.node(1).add_replica(COPY, NodeId(on)).await.unwrap();
            stage.node(1).promote_replica(COPY, NodeId(on)).await.unwrap();
        }
        let sequence = exported.import.origin.sequence.0;
        stage.agreed(&[1, 2, 3], sequence + 2).await;
        // The one that had it from the beginning comes back with nothing.
        stage.node(2).rebuild_replica(COPY, NodeId(1), None).await.unwrap();
        stage.tell(1, COPY, WORDS + 2).await;
        stage.agreed(&[1, 2, 3], sequence + 3).await;
        stage.close().await;
    });
}

#[test]
fn what_is_not_whole_or_not_of_this_history_makes_nothing() {
    simulate(3, async |runtime| {
        let stage = Stage::set(runtime).await;
        let exported = stage.export().await;
        let node = stage.node(2);
        let refused = async |change: &dyn Fn(&mut Import)| {
            let mut import = exported.import.clone();
            change(&mut import);
            let refusal = node.import_community(import).await.unwrap_err();
            (refusal.code, refusal.message)
        };
        let (code, said) = refused(&|_| ()).await;
        assert!(code == Code::BadRequest && said.contains("upload its piece"), "{said}");
        let parts = exported.chunks.iter().filter(|(hash, _)| exported.import.manifest.contains(hash));
        node.upload_chunks(parts.cloned().collect()).await.unwrap();
        let (code, said) = refused(&|_| ()).await;
        assert!(code == Code::BadRequest && said.contains("are missing"), "{said}");
        let lie = vec![(exported.chunks[0].0, Bytes::from_static(b"lie"))];
        assert_eq!(node.upload_chunks(lie).await.unwrap_err().code, Code::BadRequest);
        node.upload_chunks(exported.chunks.clone()).await.unwrap();
        assert!(
            node.missing_chunks(&[exported.chunks[0].0, Hash([9; 32])]).await.unwrap() == [Hash([9; 32])]
        );

        assert_eq!(refused(&|import| import.name = GUILD.to_owned()).await.0, Code::CommunityExists);
        assert_eq!(refused(&|import| import.name = "No Name".to_owned()).await.0, Code::BadRequest);
        let somewhere = Placement::Nodes(vec![NodeId(9)]);
        assert_eq!(refused(&|import| import.placement = somewhere.clone()).await.0, Code::NoNode);
        let (code, said) = refused(&|import| import.origin.sequence = Sequence(1)).await;
        assert!(code == Code::BadRequest && said.contains("its origin names"), "{said}");
        let (code, said) = refused(&|import| import.manifest.truncate(1)).await;
        assert!(code == Code::BadRequest && said.contains("manifest cannot be read"), "{said}");
        let (code, said) = refused(&|import| import.manifest[1] = Hash([9; 32])).await;
        assert!(code == Code::BadRequest && said.contains("upload its piece 0909"), "{said}");
        let other = Manifest { fingerprint: Some(Hash([3; 32])), ..exported.manifest.clone() };
        let other = pieces(&other);
        let sent = other.iter().map(|piece| (piece.hash, piece.bytes.clone())).collect();
        node.upload_chunks(sent).await.unwrap();
        let other: Vec<Hash> = other.iter().map(|piece| piece.hash).collect();
        let (code, said) = refused(&|import| import.manifest.clone_from(&other)).await;
        assert!(
            code == Code::BadRequest && said.contains("another") || said.contains("made by the engine"),
            "{said}"
        );
        let (code, said) = refused(&|import| import.history.before = Hash([1; 32])).await;
        assert!(code == Code::BadRequest && said.contains("does not follow"), "{said}");
        stage.must_be_gone().await;
        stage.close().await;
    });
}

/// What it is named by is right; what is in it is not.
#[test]
fn a_page_that_holds_no_history_is_the_mistake_of_whoever_names_it() {
    simulate(7, async |runtime| {
        let stage = Stage::set(runtime).await;
        let mut exported = stage.export().await;
        let page = Chunk::of(Bytes::from_static(b"no history"));
        exported.chunks.push((page.hash, page.bytes.clone()));
        exported.import.history.pages[0] = page.reference();
        let refusal = stage.import(2, &exported).await.unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest, "{refusal}");
        assert!(refusal.message.contains("cannot be read"), "{refusal}");
        stage.must_be_gone().await;
        stage.close().await;
    });
}

/// A client's manifest says of the guild's own chunks that they have other sizes.
#[test]
fn a_manifest_that_lies_about_sizes_is_refused_and_harms_nobody_elses_chunks() {
    simulate(6, async |runtime| {
        let stage = Stage::set(runtime).await;
        let exported = stage.export().await;
        // The guild lives there: it has all of these chunks already, and its snapshot names them.
        let node = stage.node(1);
        let mut chunks = exported.manifest.chunks.clone();
        chunks.iter_mut().for_each(|chunk| chunk.bytes += 1);
        let lie = Manifest { state_root: state_root(&chunks), chunks, ..exported.manifest.clone() };
        let sent = exported.chunks.iter().cloned();
        let sent = sent.chain(pieces(&lie).into_iter().map(|piece| (piece.hash, piece.bytes)));
        node.upload_chunks(sent.collect()).await.unwrap();
        let manifest = pieces(&lie).into_iter().map(|piece| piece.hash).collect();
        let import = Import { manifest, ..exported.import.clone() };
        let refusal = node.import_community(import).await.unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest, "{refusal}");
        for said in ["cannot be restored", "a size of", "and it has"] {
            assert!(refusal.message.contains(said), "{refusal}");
        }
        let archive = node.shared().store.archive.clone();
        assert_eq!(archive.condemned_chunks(100).await.unwrap(), []);
        let checked = node.verify_snapshots(GUILD, None).await.unwrap();
        assert!(!checked.is_empty() && checked.iter().all(|checked| checked.is_whole()), "{checked:?}");
        stage.import(1, &exported).await.unwrap();
        stage.close().await;
    });
}

/// Whoever asks goes away after some time, which is another one in each round.
#[test]
fn an_import_whose_caller_goes_away_leaves_nothing_or_all() {
    simulate(4, async |runtime| {
        let stage = Stage::set(runtime).await;
        let exported = stage.export().await;
        let (mut left, mut begun) = (0, 0);
        for millis in (0..60).step_by(3) {
            let import = stage.import(2, &exported);
            let _ = stage.runtime.timeout(Duration::from_millis(millis), import).await;
            stage.runtime.sleep(Duration::from_secs(3)).await;
            if stage.node(1).community(COPY).is_ok() {
                begun += 1;
                stage.agreed(&[1, 2, 3], exported.import.origin.sequence.0 + 1).await;
                stage.node(1).delete_community(COPY).await.unwrap();
            } else {
                left += 1;
                stage.must_not_be_seen();
            }
            stage.must_be_gone().await;
        }
        assert!(left > 0 && begun > 0, "{left} were broken off before they began, {begun} after");
        stage.import(2, &exported).await.unwrap();
        stage.close().await;
    });
}

/// The node that was asked crashes after some time, which is another one in each round.
#[test]
fn an_import_whose_node_crashes_leaves_nothing_or_all() {
    simulate(5, async |runtime| {
        let mut stage = Stage::set(runtime).await;
        let exported = stage.export().await;
        let (mut left, mut begun) = (0, 0);
        for millis in (0..60).step_by(6) {
            let node = stage.node(2);
            node.upload_chunks(exported.chunks.clone()).await.unwrap();
            let import = exported.import.clone();
            let asked = stage.runtime.spawn("import", async move {
                let _ = node.import_community(import).await;
            });
            stage.runtime.sleep(Duration::from_millis(millis)).await;
            stage.restart(2).await;
            (asked.abort)();
            stage.runtime.sleep(Duration::from_secs(5)).await;
            if stage.node(1).community(COPY).is_ok() {
                begun += 1;
                stage.agreed(&[1, 2, 3], exported.import.origin.sequence.0 + 1).await;
                stage.node(1).delete_community(COPY).await.unwrap();
            } else {
                left += 1;
                stage.must_not_be_seen();
            }
            stage.must_be_gone().await;
        }
        assert!(left > 0 && begun > 0, "{left} were broken off before they began, {begun} after");
        stage.close().await;
    });
}
