//! Groups over real connections on loopback: few connections, no spinning, nodes that move.

use crate::support::{Disk, Fetching, Scribe};
use althing_consensus::{
    Consensus, ConsensusOptions,
    peers::{ClusterId, Handlers, Lane, PeerError, PeerRequest, PeerTransport},
    port::{Committed, GroupConfig, GroupHandle, Member, ProposeError, Role, Timing},
    runtime::Runtime,
    wire::{GrpcTransport, Identity, PeerServer},
};
use althing_core::ids::{CommunityId, NodeId, ReplicaId};
use althing_store::port::Store;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const CLUSTER: ClusterId = ClusterId([1; 16]);
const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    consensus: Consensus,
    transport: GrpcTransport,
    server: PeerServer,
}

/// Three nodes that know each other's addresses.
struct Trio {
    runtime: Runtime,
    nodes: BTreeMap<NodeId, Node>,
}

impl Trio {
    async fn start() -> Self {
        let runtime = Runtime::tokio();
        let mut nodes = BTreeMap::new();
        for node in [1, 2, 3].map(NodeId) {
            let identity = Identity::known(CLUSTER, node);
            let transport = GrpcTransport::new(identity.clone(), runtime.clone());
            let consensus = Consensus::new(ConsensusOptions {
                node,
                wal: Store::memory().wal,
                transport: Arc::new(transport.clone()),
                runtime: runtime.clone(),
            });
            let server = serve(&consensus, identity, &runtime).await;
            nodes.insert(node, Node { consensus, transport, server });
        }
        let trio = Self { runtime, nodes };
        for node in trio.nodes.keys() {
            trio.announce(*node);
        }
        trio
    }

    /// Tells everybody where a node listens.
    fn announce(&self, node: NodeId) {
        let address = self.address(node);
        for peer in self.nodes.values() {
            peer.transport.set_address(node, address.clone());
        }
    }

    fn address(&self, node: NodeId) -> String {
        self.nodes[&node].server.address().to_string()
    }

    async fn begin(&self, community: CommunityId) {
        self.begin_with(community, Timing::LAN).await;
    }

    async fn begin_with(&self, community: CommunityId, timing: Timing) {
        let fetch = Arc::new(Fetching {
            runtime: self.runtime.clone(),
            takes: Duration::ZERO,
            count: 0.into(),
            is_failing: false.into(),
        });
        for (node, state) in &self.nodes {
            let machine = Box::new(Scribe::restore(&Disk::default(), &Arc::default()));
            let replica = ReplicaId(node.0);
            let config = GroupConfig { community, replica, timing, log_kept: 1000 };
            state.consensus.start(config, machine, fetch.clone()).await.unwrap();
        }
        let member = |node: NodeId| Member { node, address: self.address(node) };
        let members = self.nodes.keys().map(|node| (ReplicaId(node.0), member(*node))).collect();
        self.group(community, NodeId(1)).initialize(members).await.unwrap();
    }

    fn group(&self, community: CommunityId, node: NodeId) -> GroupHandle {
        self.nodes[&node].consensus.group(community).unwrap()
    }

    async fn leader(&self, community: CommunityId) -> NodeId {
        let mut status = self.group(community, NodeId(1)).status();
        let led = status.wait_for(|status| status.leader.is_some() && status.committed_index > 0);
        let led = tokio::time::timeout(PATIENCE, led).await.expect("somebody leads in time").unwrap();
        led.leader.as_ref().unwrap().1.node
    }

    async fn propose(&self, community: CommunityId, payload: Bytes) -> Committed {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < PATIENCE, "nobody accepts the proposal");
            let leader = self.leader(community).await;
            let answer = self.group(community, leader).propose(payload.clone()).await.unwrap();
            match answer.await.unwrap() {
                Ok(committed) => return committed,
                Err(ProposeError::NotLeader { .. }) => self.wait_for_news(community, leader).await,
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Waits until something about the group changes on a node, at most a moment.
    async fn wait_for_news(&self, community: CommunityId, node: NodeId) {
        let mut status = self.group(community, node).status();
        let _ = tokio::time::timeout(Duration::from_millis(50), status.changed()).await;
    }

    async fn wait_applied(&self, community: CommunityId, node: NodeId, index: u64) {
        assert!(self.group(community, node).wait_applied(index, PATIENCE).await, "node {node} lags");
    }

    async fn stop(self) {
        for node in self.nodes.into_values() {
            node.consensus.shutdown().await;
            node.server.stop().await;
        }
    }
}

async fn serve(consensus: &Consensus, identity: Identity, runtime: &Runtime) -> PeerServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handlers = Handlers::new().with(Consensus::METHODS, consensus.handler());
    PeerServer::start(listener, identity, handlers, runtime).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_small_proposals_reach_every_replica() {
    let trio = Trio::start().await;
    let community = CommunityId(1);
    trio.begin(community).await;
    for size in [0, 1, 8 << 20, 100, 3 << 20] {
        let committed = trio.propose(community, vec![7; size].into()).await;
        for node in trio.nodes.keys() {
            trio.wait_applied(community, *node, committed.index).await;
        }
    }
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_peer_is_tried_a_few_times_a_second() {
    let mut trio = Trio::start().await;
    let community = CommunityId(1);
    trio.begin(community).await;
    let leader = trio.leader(community).await;
    let dead = *trio.nodes.keys().find(|node| **node != leader).unwrap();
    let gone = trio.nodes.remove(&dead).unwrap();
    gone.consensus.shutdown().await;
    gone.server.stop().await;

    let (begin, before) = (Instant::now(), trio.nodes[&leader].transport.attempts());
    let mut proposals = 0;
    while begin.elapsed() < Duration::from_secs(3) {
        let answer = trio.group(community, leader).propose("busy".into()).await.unwrap();
        answer.await.unwrap().unwrap();
        proposals += 1;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let attempts = trio.nodes[&leader].transport.attempts() - before;
    // Two followers get ten heartbeats a second each; the dead one some attempts to replicate.
    let expected = seconds * 40.0;
    assert!((attempts as f64) < expected, "{attempts} attempts in {seconds} s");
    assert!(proposals > 10, "only {proposals} proposals in {seconds} s");
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_communities_share_the_connections_of_one() {
    let trio = Trio::start().await;
    let communities = (1..=50).map(CommunityId);
    for community in communities.clone() {
        // A debug build of 150 replicas on a busy machine keeps no faster heartbeat.
        trio.begin_with(community, Timing::WAN).await;
    }
    for community in communities {
        let committed = trio.propose(community, "shared".into()).await;
        for node in trio.nodes.keys() {
            trio.wait_applied(community, *node, committed.index).await;
        }
    }
    let mut total = 0;
    for (node, state) in &trio.nodes {
        let connections = state.server.connections();
        // Two peers, of whose three lanes nothing here needs the third.
        assert!(connections <= 4, "node {node} has {connections} connections");
        total += connections;
    }
    assert!(total >= 4, "who leads has two connections to each of the others");
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moved_is_found_at_its_new_address() {
    let mut trio = Trio::start().await;
    let community = CommunityId(1);
    trio.begin(community).await;
    let leader = trio.leader(community).await;
    let moved = *trio.nodes.keys().find(|node| **node != leader).unwrap();
    let node = trio.nodes.remove(&moved).unwrap();
    node.server.stop().await;
    let server = serve(&node.consensus, Identity::known(CLUSTER, moved), &trio.runtime).await;
    trio.nodes.insert(moved, Node { server, ..node });
    trio.announce(moved);
    let committed = trio.propose(community, "found".into()).await;
    trio.wait_applied(community, moved, committed.index).await;
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_with_a_reason() {
    let trio = Trio::start().await;
    let stranger = Identity::known(ClusterId([9; 16]), NodeId(1));
    let stranger = GrpcTransport::new(stranger, trio.runtime.clone());
    let request = |method| PeerRequest { community: CommunityId(1), method, body: Bytes::new() };
    let code = |answer: Result<Bytes, PeerError>| match answer {
        Err(PeerError::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    };
    let address = trio.address(NodeId(2));
    let answer = stranger.call_address(&address, request("raft/vote"), PATIENCE).await;
    assert_eq!(code(answer), "wrong-cluster");

    let peer = &trio.nodes[&NodeId(1)].transport;
    let to = NodeId(2);
    assert_eq!(code(peer.call(to, Lane::Control, request("raft/vote"), PATIENCE).await), "no-group");
    assert_eq!(code(peer.call(to, Lane::Control, request("moon/phase"), PATIENCE).await), "no-method");
    let unknown = peer.call(NodeId(8), Lane::Log, request("raft/vote"), PATIENCE).await;
    assert_eq!(unknown, Err(PeerError::NoAddress { node: NodeId(8) }));
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_started_group_is_returned_as_it_is_and_a_stopped_one_starts_again() {
    let trio = Trio::start().await;
    let community = CommunityId(1);
    trio.begin(community).await;
    let committed = trio.propose(community, "kept".into()).await;
    trio.begin(community).await;
    let node = NodeId(1);
    assert!(trio.group(community, node).wait_applied(committed.index, PATIENCE).await);
    trio.nodes[&node].consensus.stop(community).await;
    assert!(trio.nodes[&node].consensus.group(community).is_none());
    trio.begin(community).await;
    assert!(trio.group(community, node).wait_applied(committed.index, PATIENCE).await);
    let status = trio.group(community, node).status().borrow().clone();
    assert!(status.role != Role::Stopped && status.voters.len() == 3, "{status:?}");
    trio.stop().await;
}
