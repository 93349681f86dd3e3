//! Proposals a second through three nodes in this process, over real connections and SQLite, by 1
//! and by 64 proposers: `cargo bench -p althing-consensus --bench writes [memory]`.

use althing_consensus::{
    Consensus, ConsensusOptions,
    peers::{ClusterId, Handlers, PeerTransport as _},
    port::{
        AppliedState, CommittedEntry, EntryPayload, GroupConfig, GroupHandle, Member, ProposeError, Replies,
        SnapshotBuilder, SnapshotFetch, SnapshotHandle, StateMachine, Timing,
    },
    runtime::Runtime,
    wire::{GrpcTransport, Identity, PeerServer},
};
use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId},
    program::Fault,
};
use althing_store::port::Store;
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const RUN: Duration = Duration::from_secs(4);
const PAYLOAD_BYTES: usize = 256;

#[tokio::main]
async fn main() {
    let in_memory = std::env::args().any(|argument| argument == "memory");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut nodes = Vec::new();
    for number in 1..=3 {
        let store = if in_memory {
            Store::memory()
        } else {
            Store::open(&folder.path().join(number.to_string())).await.expect("a store can be made")
        };
        nodes.push(Node::start(NodeId(number), store).await);
    }
    let leader = begin(&nodes).await;
    let kind = if in_memory { "memory" } else { "SQLite" };
    for proposers in [1, 64] {
        report(kind, proposers, measure(&leader, proposers).await);
    }
    let commits: u64 = nodes.iter().map(|node| node.store.wal.counters().commits).sum();
    println!("{commits} fsyncs on three nodes");
    for node in nodes {
        node.consensus.shutdown().await;
        node.server.stop().await;
        node.store.close().await;
    }
}

struct Node {
    consensus: Consensus,
    transport: GrpcTransport,
    server: PeerServer,
    store: Store,
    id: NodeId,
}

impl Node {
    async fn start(id: NodeId, store: Store) -> Self {
        let runtime = Runtime::tokio();
        let identity = Identity::known(ClusterId([1; 16]), id);
        let transport = GrpcTransport::new(identity.clone(), runtime.clone());
        let consensus = Consensus::new(ConsensusOptions {
            node: id,
            wal: Arc::clone(&store.wal),
            transport: Arc::new(transport.clone()),
            runtime: runtime.clone(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let handlers = Handlers::new().with(Consensus::METHODS, consensus.handler());
        let server = PeerServer::start(listener, identity, handlers, &runtime).expect("it listens");
        Self { consensus, transport, server, store, id }
    }
}

async fn begin(nodes: &[Node]) -> GroupHandle {
    let members = nodes.iter().map(|node| {
        let address = node.server.address().to_string();
        (ReplicaId(node.id.0), Member { node: node.id, address })
    });
    let members: std::collections::BTreeMap<_, _> = members.collect();
    let mut groups = Vec::new();
    for node in nodes {
        for member in members.values() {
            node.transport.set_address(member.node, member.address.clone());
        }
        let config = GroupConfig {
            community: CommunityId(1),
            replica: ReplicaId(node.id.0),
            timing: Timing::LAN,
            log_kept: 1000,
        };
        let group = node.consensus.start(config, Box::<Sink>::default(), Arc::new(Sink::default()));
        groups.push(group.await.expect("the group starts"));
    }
    groups[0].initialize(members).await.expect("the group begins");
    loop {
        for group in &groups {
            if propose(group).await.is_ok() {
                return Arc::clone(group);
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn propose(group: &GroupHandle) -> Result<(), ProposeError> {
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    group.propose(payload).await?.await.expect("every proposal is answered").map(|_| ())
}

async fn measure(group: &GroupHandle, proposers: usize) -> Vec<Duration> {
    let end = Instant::now() + RUN;
    let tasks: Vec<_> = (0..proposers)
        .map(|_| {
            let group = Arc::clone(group);
            tokio::spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < end {
                    let begin = Instant::now();
                    propose(&group).await.expect("the leader stays");
                    took.push(begin.elapsed());
                }
                took
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("no proposer panics"));
    }
    all
}

fn report(kind: &str, proposers: usize, mut took: Vec<Duration>) {
    took.sort_unstable();
    let rate = took.len() as f64 / RUN.as_secs_f64();
    let (half, most) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{kind}, {proposers} proposers: {rate:.0} a second, p50 {half:.2?}, p99 {most:.2?}");
}

/// Executes nothing.
#[derive(Default)]
struct Sink {
    applied: AppliedState,
}

#[async_trait]
impl StateMachine for Sink {
    async fn applied(&mut self) -> Result<AppliedState, Fault> {
        Ok(self.applied.clone())
    }

    async fn apply(&mut self, entries: Vec<CommittedEntry>) -> Result<Vec<Replies>, Fault> {
        let replies = vec![Replies::default(); entries.len()];
        for entry in entries {
            self.applied.position = Some(entry.position);
            if let EntryPayload::Membership(record) = entry.payload {
                self.applied.membership = Some(record);
            }
        }
        Ok(replies)
    }

    async fn capture(&mut self) -> Result<Box<dyn SnapshotBuilder>, Fault> {
        Err(Fault::new("this program asks for no snapshots"))
    }

    async fn install(&mut self, _snapshot: SnapshotHandle) -> Result<(), Fault> {
        Err(Fault::new("this program sends no snapshots"))
    }

    async fn snapshot(&mut self) -> Result<Option<SnapshotHandle>, Fault> {
        Ok(None)
    }
}

#[async_trait]
impl SnapshotFetch for Sink {
    async fn fetch(&self, _from: NodeId, _offered: &SnapshotHandle) -> Result<(), Fault> {
        Ok(())
    }
}
