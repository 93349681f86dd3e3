//! A network in memory, for simulations and tests: nodes, links, and everything that can go wrong
//! with them, drawn from the runtime's seed.
//!
//! Each direction of each link has its own latency, loss and cuts. A lost question or answer is
//! simply never heard of. A stream cannot lose one message, as TCP cannot: on a cut link it stalls
//! until the cut heals, on a lossy link it breaks. A node that is down refuses at once; what was
//! under way with it breaks.

mod carry;
mod links;
mod streams;

pub use links::Link;

use crate::{
    peers::{Handlers, Lane, PeerError, PeerRequest, PeerStream, PeerTransport},
    runtime::Runtime,
};
use althing_core::ids::NodeId;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use links::Links;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// A network in memory. Cheap to clone.
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    links: Mutex<Links>,
}

impl MemoryNetwork {
    /// A network of healthy links, without nodes.
    #[must_use]
    pub fn new(runtime: Runtime) -> Self {
        Self(Arc::new(Inner { runtime, links: Mutex::default() }))
    }

    /// What a node speaks through until it goes down. It may ask before it serves.
    #[must_use]
    pub fn transport(&self, node: NodeId) -> Arc<dyn PeerTransport> {
        let run = self.links().run(node);
        Arc::new(MemoryTransport { network: self.clone(), asker: (node, run), addresses: Mutex::default() })
    }

    /// The address at which a node serves.
    #[must_use]
    pub fn address(node: NodeId) -> String {
        format!("memory:{node}")
    }

    /// A node is up from now on, and `handlers` serve it.
    pub fn serve(&self, node: NodeId, handlers: Handlers) {
        self.links().serve(node, handlers);
    }

    /// A node is down from now on: whatever was under way with it breaks, and what still runs of it
    /// reaches nobody.
    pub fn stop(&self, node: NodeId) {
        self.links().stop(node);
    }

    /// How links behave for which nothing else was said.
    pub fn set_default_link(&self, link: Link) {
        self.links().set_default(link);
    }

    /// How all links behave from now on, those too for which something else was said.
    pub fn set_every_link(&self, link: Link) {
        self.links().set_every(link);
    }

    /// How the link from one node to another behaves.
    pub fn set_link(&self, from: NodeId, to: NodeId, link: Link) {
        self.links().set(from, to, link);
    }

    /// Nothing from one node reaches the other; the way back stays open.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.links().cut(from, to);
    }

    /// Nothing from or to a node gets through.
    pub fn isolate(&self, node: NodeId) {
        self.links().isolate(node);
    }

    /// Only nodes on the same side reach each other.
    pub fn partition(&self, sides: &[&[NodeId]]) {
        self.links().partition(sides);
    }

    /// Mends every cut.
    pub fn heal(&self) {
        self.links().heal();
    }

    /// How many questions and openings of streams of a method have set out from a node.
    #[must_use]
    pub fn attempts(&self, from: NodeId, method: &'static str) -> u64 {
        self.links().attempts(from, method)
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.links.lock().expect("nothing panics while it holds the links")
    }

    fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }
}

struct MemoryTransport {
    network: MemoryNetwork,
    /// The node, and which of its runs.
    asker: (NodeId, u64),
    addresses: Mutex<BTreeMap<NodeId, String>>,
}

impl MemoryTransport {
    fn addresses(&self) -> MutexGuard<'_, BTreeMap<NodeId, String>> {
        self.addresses.lock().expect("nothing panics while it holds the addresses")
    }
}

#[async_trait]
impl PeerTransport for MemoryTransport {
    async fn call(
        &self,
        to: NodeId,
        _lane: Lane,
        request: PeerRequest,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let asked = self.network.ask(self.asker, to, request);
        let answer = self.network.runtime().timeout(timeout, asked).await;
        answer.unwrap_or(Err(PeerError::TimedOut { node: to, millis }))
    }

    async fn call_address(
        &self,
        address: &str,
        request: PeerRequest,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let to = address.strip_prefix("memory:").and_then(|number| number.parse().ok()).map(NodeId);
        let to = to.ok_or_else(|| PeerError::Unreachable {
            node: NodeId(0),
            why: format!("nobody listens at {address}"),
        })?;
        self.call(to, Lane::Control, request, timeout).await
    }

    async fn stream(
        &self,
        to: NodeId,
        _lane: Lane,
        request: PeerRequest,
        input: BoxStream<'static, Bytes>,
        timeout: Duration,
    ) -> Result<PeerStream, PeerError> {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let opened = self.network.open(self.asker, to, request, input);
        let stream = self.network.runtime().timeout(timeout, opened).await;
        stream.unwrap_or(Err(PeerError::TimedOut { node: to, millis }))
    }

    fn set_address(&self, node: NodeId, address: String) {
        self.addresses().insert(node, address);
    }

    fn address(&self, node: NodeId) -> Option<String> {
        self.addresses().get(&node).cloned()
    }
}
