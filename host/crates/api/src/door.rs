//! What all methods share: the node, the gate, the bounds on what is open at once, and the word that
//! the door is closing.

use crate::gate::Gate;
use althing_core::{
    actor::Actor,
    refusal::{Code, Refusal},
};
use althing_node::Node;
use althing_proto::{actor, v1};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::metadata::MetadataMap;

/// Most uploads at once; each may hold a whole component in memory.
const UPLOADS_MAX: usize = 4;
/// Most streams of operations and subscriptions at once; each may hold two chunks in memory.
const STREAMS_MAX: usize = 4096;

/// Shared by all methods.
pub(crate) struct Door {
    /// What carries requests out.
    pub(crate) node: Node,
    gate: Arc<dyn Gate>,
    closing: watch::Receiver<bool>,
    uploads: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Door {
    /// Open until `closing` turns true.
    pub(crate) fn new(node: Node, gate: Arc<dyn Gate>, closing: watch::Receiver<bool>) -> Self {
        let uploads = Arc::new(Semaphore::new(UPLOADS_MAX));
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { node, gate, closing, uploads, streams }
    }

    /// Whom a request speaks for.
    ///
    /// # Errors
    /// The claim is malformed, or the gate says no.
    pub(crate) fn actor(&self, metadata: &MetadataMap, claimed: Option<v1::Actor>) -> Result<Actor, Refusal> {
        self.admit(metadata, actor::client(claimed)?)
    }

    /// As [`Self::actor`], for a claim that is decoded already.
    ///
    /// # Errors
    /// The gate says no.
    pub(crate) fn admit(&self, metadata: &MetadataMap, claimed: Actor) -> Result<Actor, Refusal> {
        self.gate.actor(metadata, claimed)
    }

    /// Resolves when the door begins to close.
    pub(crate) fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.closing.clone();
        // An error means that the server is gone, which is as closed as can be.
        async move { drop(closing.wait_for(|&is_closing| is_closing).await) }
    }

    /// A place for one upload, until it is dropped.
    ///
    /// # Errors
    /// [`Code::Busy`].
    pub(crate) fn upload(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        place(&self.uploads, UPLOADS_MAX, "uploads")
    }

    /// A place for one stream, until it is dropped.
    ///
    /// # Errors
    /// [`Code::Busy`].
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        place(&self.streams, STREAMS_MAX, "streams")
    }
}

fn place(places: &Arc<Semaphore>, max: usize, what: &str) -> Result<OwnedSemaphorePermit, Refusal> {
    let taken = |_| {
        let message = format!("{max} {what} are under way on this node, as many as may be: retry later");
        Refusal::new(Code::Busy, message).with("max", max)
    };
    places.clone().try_acquire_owned().map_err(taken)
}
