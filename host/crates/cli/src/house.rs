//! A node with everything around it: storage, engine, peers, API. Started in order, stopped in
//! reverse.

use crate::{failure::Usage, opening::Opening};
use althing_api::serve::{ServeError, ServeOptions, serve};
use althing_consensus::{
    peers::{Handlers, PeerTransport},
    runtime::Runtime,
    wire::{GrpcTransport, Identity as WireIdentity, PeerServer},
};
use althing_engine::{
    Engine, EngineOptions,
    compile::{Allowance, CompileMode},
};
use althing_node::{Addresses, ArchiveOptions, Birth, Node, NodeOptions, Reserve};
use althing_store::{port::Store, sqlite::free_bytes};
use anyhow::Context as _;
use std::{env, net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc, thread, time::Duration};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// The hidden command in which a component is compiled: a process with limits of its own.
pub(crate) const COMPILE_CHILD: &str = "compile-child";

/// How often to look whether the cluster knows the node.
const KNOWN_PAUSE: Duration = Duration::from_millis(20);

/// What a house is built with.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Where everything durable lies.
    pub(crate) data: PathBuf,
    /// Where clients connect.
    pub(crate) listen: Listen,
    /// Where peers connect.
    pub(crate) peer_listen: Listen,
    /// What to do with an empty data directory.
    pub(crate) birth: Birth,
    /// Threads that execute operations; none: one for each core.
    pub(crate) guest_threads: Option<NonZeroUsize>,
    /// Where compiled components are kept; none: with the other data. Nodes may share it.
    pub(crate) compiled: Option<PathBuf>,
    /// Log entries kept behind a snapshot; none: the node's default.
    pub(crate) log_kept: Option<u64>,
    /// Bytes that are kept free on the disk; none: nobody looks.
    pub(crate) reserve_bytes: Option<u64>,
    /// Where history is archived; none: nowhere.
    pub(crate) archive: Option<ArchiveOptions>,
}

/// Where to listen, and what others are told.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    /// HOST:PORT; port 0 for any that is free.
    pub(crate) address: String,
    /// HOST:PORT that others connect to; none: the same.
    pub(crate) advertise: Option<String>,
}

/// A node that runs.
pub(crate) struct House {
    pub(crate) node: Node,
    /// What clients connect to.
    pub(crate) api_address: String,
    /// What peers connect to.
    pub(crate) peer_address: String,
    store: Store,
    peers: PeerServer,
    api: Api,
}

/// The door: its task, and the word that ends it.
struct Api {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl House {
    /// Starts everything.
    pub(crate) async fn start(plan: Plan) -> anyhow::Result<Self> {
        let (api_listener, api_address) = plan.listen.bind("clients").await?;
        let (peer_listener, peer_address) = plan.peer_listen.bind("peers").await?;
        let runtime = Runtime::tokio();
        let wire = WireIdentity::unknown();
        let transport: Arc<dyn PeerTransport> = Arc::new(GrpcTransport::new(wire.clone(), runtime.clone()));
        let data = plan.data.clone();
        let reserve =
            plan.reserve_bytes.map(|bytes| Reserve { free: Arc::new(move || free_bytes(&data)), bytes });
        let addresses = Addresses { peer: peer_address.clone(), api: api_address.clone() };
        let opening = Opening {
            data: &plan.data,
            birth: plan.birth,
            addresses: &addresses,
            transport: &transport,
            wire: &wire,
            runtime: &runtime,
        };
        let (store, identity) = opening.open().await?;
        let node = Node::start(NodeOptions {
            identity,
            addresses,
            store: store.clone(),
            engine: engine(plan.compiled.unwrap_or_else(|| plan.data.join("compiled")))?,
            runtime: runtime.clone(),
            transport,
            guest_threads: guest_threads(plan.guest_threads),
            log_kept: plan.log_kept,
            reserve,
            evidence: Some(plan.data.join("evidence")),
            archive: plan.archive,
        })
        .await?;
        let handlers =
            Handlers::new().with("node/", node.peer_handler()).with("raft/", node.consensus_handler());
        let peers = PeerServer::start(peer_listener, wire, handlers, &runtime)?;
        let api = Api::start(node.clone(), api_listener);
        Ok(Self { node, api_address, peer_address, store, peers, api })
    }

    /// Waits until the node cannot go on, and says why. Pending while all is well.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            // Nothing more can be written; to wait for anything would be to wait for ever.
            error = self.store.failed() => anyhow::Error::from(error).context("the node's storage failed"),
            error = self.api.failed() => error.context("the node's door failed"),
        }
    }

    /// Stops everything: no new requests, leadership handed over, everything written out.
    pub(crate) async fn stop(self) {
        self.api.stop().await;
        self.node.shutdown().await;
        self.peers.stop().await;
    }
}

/// Waits until the cluster knows the node at its addresses, so that communities can begin on it; whether
/// it does when patience ends.
pub(crate) async fn is_known(node: &Node, patience: Duration) -> bool {
    let known = async {
        while !node.is_ready() {
            tokio::time::sleep(KNOWN_PAUSE).await;
        }
    };
    tokio::time::timeout(patience, known).await.is_ok()
}

impl Api {
    fn start(node: Node, listener: TcpListener) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            // A handle that is dropped ends it too.
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(node, listener, ServeOptions::default(), stopped));
        Self { stop, task }
    }

    /// Waits until it has ended by itself.
    async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.task).await {
            Ok(Ok(())) => anyhow::anyhow!("it closed by itself"),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the door did not close well"),
            Err(error) => tracing::warn!(%error, "the door did not close well"),
        }
    }
}

impl Listen {
    async fn bind(&self, whom: &str) -> anyhow::Result<(TcpListener, String)> {
        let listener = TcpListener::bind(&self.address).await.with_context(|| {
            let address = &self.address;
            format!("cannot listen for {whom} at {address}: if something else does, choose another port, or 0 for any")
        })?;
        let bound = listener.local_addr()?;
        let others = self.advertised(bound)?;
        if !bound.ip().is_loopback() {
            tracing::warn!(address = %bound, "listening for {whom} beyond this machine, without TLS");
        }
        Ok((listener, others))
    }

    /// What others connect to.
    fn advertised(&self, bound: SocketAddr) -> Result<String, Usage> {
        match &self.advertise {
            Some(address) => Ok(address.clone()),
            None if bound.ip().is_unspecified() => {
                let why = format!(
                    "{bound} is no address that others can connect to: say which is (--advertise, --peer-advertise)"
                );
                Err(Usage(why))
            }
            None => Ok(bound.to_string()),
        }
    }
}

/// What runs guests. Components are strangers: they are compiled in a process with limits.
pub(crate) fn engine(cache: PathBuf) -> anyhow::Result<Engine> {
    let program = env::current_exe().context("the path of this program is not known")?;
    let compile =
        CompileMode::Child { program, args: vec![COMPILE_CHILD.to_owned()], allowance: Allowance::default() };
    let options = EngineOptions { cache_dir: Some(cache), compile, ..EngineOptions::default() };
    Ok(Engine::new(options)?)
}

fn guest_threads(asked: Option<NonZeroUsize>) -> usize {
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    asked.unwrap_or_else(cores).get()
}

#[cfg(test)]
mod tests {
    use super::Listen;

    #[test]
    fn others_are_told_an_address_that_they_can_connect_to() {
        let listen = |advertise: Option<&str>| Listen {
            address: String::new(),
            advertise: advertise.map(str::to_owned),
        };
        let everywhere = "0.0.0.0:7".parse().unwrap();
        assert_eq!(listen(None).advertised("127.0.0.1:7".parse().unwrap()).unwrap(), "127.0.0.1:7");
        assert!(listen(None).advertised(everywhere).is_err());
        assert_eq!(listen(Some("node1:7")).advertised(everywhere).unwrap(), "node1:7");
    }
}
