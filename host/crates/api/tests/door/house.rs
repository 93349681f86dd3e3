//! A house to knock at: the node, its door, and clients of it.
#![expect(clippy::unwrap_used, reason = "a house that cannot be built fails the test that wants it")]

use althing_api::{ServeError, ServeOptions, serve};
use althing_consensus::{
    memory::MemoryNetwork,
    peers::{Handlers, PeerTransport},
    runtime::Runtime,
};
use althing_core::{
    ids::NodeId,
    refusal::{Code, Refusal},
};
use althing_engine::{Engine, EngineOptions};
use althing_node::{Addresses, Birth, Identity, Node, NodeOptions};
use althing_proto::{status, v1};
use althing_store::port::Store;
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tonic::{Status, transport::Channel};
use v1::{admin_client::AdminClient, communities_client::CommunitiesClient};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// A node behind its door.
pub(crate) struct House {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl House {
    /// Built and open; ready to serve.
    pub(crate) async fn open() -> Self {
        Self::open_on(Store::memory()).await
    }

    /// As [`Self::open`], on a store with something in it.
    pub(crate) async fn open_on(store: Store) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = node(address, store).await;
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let serving = tokio::spawn(serve(node.clone(), listener, ServeOptions::default(), shutdown));
        let house = Self { node, address, stop, serving };
        house.wait(async || house.node.is_ready()).await;
        house
    }

    /// Tells the door to close and waits until it has.
    pub(crate) async fn close(self) {
        self.stop.send(()).unwrap();
        within(self.serving).await.unwrap().unwrap();
        within(self.node.shutdown()).await;
    }

    /// Waits for a condition.
    pub(crate) async fn wait(&self, is_so: impl AsyncFn() -> bool) {
        within(async {
            while !is_so().await {
                self.node.runtime().sleep(PAUSE).await;
            }
        })
        .await;
    }

    pub(crate) async fn channel(&self) -> Channel {
        within(Channel::from_shared(format!("http://{}", self.address)).unwrap().connect()).await.unwrap()
    }

    pub(crate) async fn communities(&self) -> CommunitiesClient<Channel> {
        CommunitiesClient::new(self.channel().await)
    }

    pub(crate) async fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel().await)
    }

    /// Creates a community of that name.
    pub(crate) async fn create(&self, name: &str) {
        let request = v1::CreateCommunityRequest { name: name.to_owned(), ..Default::default() };
        within(self.admin().await.create_community(request)).await.unwrap();
    }

    /// Gets a page over HTTP/1: the first line and the rest of the answer.
    pub(crate) async fn get(&self, path: &str) -> (String, String) {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: althing\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(connection.read_to_string(&mut answer)).await.unwrap();
        let (first, rest) = answer.split_once("\r\n").unwrap();
        (first.to_owned(), rest.to_owned())
    }
}

async fn node(api: SocketAddr, store: Store) -> Node {
    let runtime = Runtime::tokio();
    let network = MemoryNetwork::new(runtime.clone());
    let me = NodeId(1);
    let transport: Arc<dyn PeerTransport> = network.transport(me);
    let addresses = Addresses { peer: MemoryNetwork::address(me), api: api.to_string() };
    let settled = Identity::settle(Birth::Bootstrap, &addresses, &store.archive, &transport, &runtime);
    let options = NodeOptions {
        identity: settled.await.unwrap(),
        addresses,
        store,
        engine: Engine::new(EngineOptions::default()).unwrap(),
        runtime,
        transport,
        guest_threads: 1,
        log_kept: None,
        reserve: None,
        evidence: None,
        archive: None,
    };
    let node = within(Node::start(options)).await.unwrap();
    let handlers = Handlers::new().with("node/", node.peer_handler()).with("raft/", node.consensus_handler());
    network.serve(me, handlers);
    node
}

/// The future's output, which must not take for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing here takes a minute")
}

/// Somebody.
pub(crate) fn actor() -> Option<v1::Actor> {
    Some(v1::Actor { id: "ada".to_owned(), roles: vec![] })
}

/// The refusal in an answer that is one: its gRPC code, and what a client makes of it.
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (tonic::Code, Refusal) {
    let status = answer.expect_err("this is refused");
    (status.code(), status::refusal(&status))
}

/// Checks that an answer is a refusal of that kind.
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    grpc: tonic::Code,
    code: Code,
) -> Refusal {
    let (found, refusal) = refused(answer);
    assert_eq!((found, refusal.code), (grpc, code), "{refusal}");
    refusal
}
