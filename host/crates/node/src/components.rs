//! Components on this node: stored by content, fetched from peers, checked and compiled.
//!
//! *Held* means stored and compiled: ready to run. A component is compiled on one thread of its own
//! (in a child process, by the engine), so a heavy one delays no other community.

use crate::{
    guests::GuestThreads,
    peer::{ComponentPiece, Piece, ask::Peers, method},
    refuse,
};
use althing_consensus::{peers::Lane, runtime::Runtime};
use althing_core::{
    ids::{CommunityId, Hash, NodeId},
    limits,
    program::Fault,
    refusal::{Code, Refusal},
};
use althing_engine::{Engine, Prepared, ReducerSchemas, Scope};
use althing_store::port::Archive;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// The size of a piece on its way between nodes, in bytes.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// How long one piece may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before all sources are asked again.
const FETCH_PAUSE: Duration = Duration::from_millis(500);

/// What a component says about itself, as the directory and the API tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentDescription {
    /// `reducer` or `validator`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The author's version.
    pub version: String,
    /// `per-operation` or `per-batch`; empty for validators.
    pub scope: String,
    /// JSON Schema of its configuration.
    pub config: String,
    /// JSON Schema of operations; empty for validators, and so below.
    pub operations: String,
    /// JSON Schema of queries.
    pub queries: String,
    /// JSON Schema of results.
    pub results: String,
    /// JSON Schema of answers.
    pub answers: String,
    /// JSON Schema of events.
    pub events: String,
}

/// The components of this node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Components {
    archive: Arc<dyn Archive>,
    engine: Engine,
    compilers: GuestThreads,
    peers: Peers,
    runtime: Runtime,
}

impl Components {
    pub(crate) fn new(
        archive: Arc<dyn Archive>,
        engine: Engine,
        compilers: GuestThreads,
        peers: Peers,
        runtime: Runtime,
    ) -> Self {
        Self { archive, engine, compilers, peers, runtime }
    }

    /// The engine that runs them.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes an uploaded component in: checked, compiled, then stored.
    ///
    /// # Errors
    /// [`Code::BadComponent`] with what is wrong with it, or a failure of the host.
    pub(crate) async fn take(&self, hash: Hash, bytes: Bytes) -> Result<ComponentDescription, Refusal> {
        if bytes.len() as u64 > limits::COMPONENT_BYTES_MAX {
            return Err(Refusal::new(
                Code::BadComponent,
                format!(
                    "the component has {} bytes, this host runs components of at most {}",
                    bytes.len(),
                    limits::COMPONENT_BYTES_MAX
                ),
            ));
        }
        let found = Hash::of_component(&bytes);
        if found != hash {
            return Err(Refusal::new(
                Code::BadRequest,
                format!("the uploaded bytes have the hash {found}, announced was {hash}: upload again"),
            ));
        }
        let prepared = self.prepare(hash, bytes.clone()).await?;
        self.archive.put_component(hash, bytes).await.map_err(|error| refuse::store(&error))?;
        Ok(describe(&prepared))
    }

    /// Makes a component present and compiled, fetching it from `sources` if it is not here.
    ///
    /// # Errors
    /// [`Code::NoComponent`] when no source has it now, [`Code::BadComponent`], or a failure of the
    /// host.
    pub(crate) async fn hold(&self, hash: Hash, sources: &[NodeId]) -> Result<(), Refusal> {
        if self.engine.is_prepared(hash) {
            return Ok(());
        }
        let bytes = self.stored(hash, sources).await?;
        self.prepare(hash, bytes).await.map(|_| ())
    }

    /// A component's bytes, fetched from `sources` and stored if they are not here: a node that shares
    /// what others have compiled may run a component that it does not store.
    ///
    /// # Errors
    /// [`Code::NoComponent`] when no source has it now, or a failure of storage.
    pub(crate) async fn stored(&self, hash: Hash, sources: &[NodeId]) -> Result<Bytes, Refusal> {
        if let Some(bytes) = self.bytes(hash).await? {
            return Ok(bytes);
        }
        let bytes = self.fetch(hash, sources).await?;
        let stored = self.archive.put_component(hash, bytes.clone()).await;
        stored.map_err(|error| refuse::store(&error))?;
        Ok(bytes)
    }

    /// Replaces a stored component, whose bytes were found damaged, by what a source has.
    ///
    /// # Errors
    /// [`Code::NoComponent`] when no source has it now, and then nothing was changed; a failure of storage.
    pub(crate) async fn mend(&self, hash: Hash, sources: &[NodeId]) -> Result<(), Refusal> {
        let bytes = self.fetch(hash, sources).await?;
        let failed = |error| refuse::store(&error);
        self.archive.drop_component(hash).await.map_err(failed)?;
        self.archive.put_component(hash, bytes).await.map_err(failed)
    }

    /// As [`Self::hold`], but waits until some source has it: what a committed activation asks for.
    ///
    /// # Errors
    /// A fault when the component is here and cannot be run.
    pub(crate) async fn hold_at_last(
        &self,
        hash: Hash,
        sources: impl Fn() -> Vec<NodeId>,
    ) -> Result<(), Fault> {
        loop {
            match self.hold(hash, &sources()).await {
                Ok(()) => return Ok(()),
                Err(refusal) if refusal.code == Code::NoComponent => {
                    tracing::info!(component = %hash, "waiting for a component that no reachable node has");
                    self.runtime.sleep(FETCH_PAUSE).await;
                }
                Err(refusal) => {
                    let what =
                        format!("component {hash} cannot be run here although the community decided on it");
                    return Err(Fault::because(what, refusal));
                }
            }
        }
    }

    /// A component's bytes, if they are here.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn bytes(&self, hash: Hash) -> Result<Option<Bytes>, Refusal> {
        self.archive.component(hash).await.map_err(|error| refuse::store(&error))
    }

    async fn prepare(&self, hash: Hash, bytes: Bytes) -> Result<Prepared, Refusal> {
        let engine = self.engine.clone();
        let prepared = self.compilers.run(move || engine.prepare(hash, &bytes)).await;
        prepared
            .map_err(|fault| refuse::fault(&fault))?
            .map_err(|error| Refusal::new(Code::BadComponent, refuse::chain(&error)))
    }

    async fn fetch(&self, hash: Hash, sources: &[NodeId]) -> Result<Bytes, Refusal> {
        for &source in sources {
            match self.fetch_from(hash, source).await {
                Ok(bytes) if Hash::of_component(&bytes) == hash => return Ok(bytes),
                Ok(_) => {
                    tracing::warn!(component = %hash, node = %source, "a peer sent other bytes than asked for")
                }
                Err(refusal) => tracing::debug!(component = %hash, node = %source, %refusal, "not fetched"),
            }
        }
        Err(Refusal::new(
            Code::NoComponent,
            format!("component {hash} is on no node that was asked: upload it"),
        ))
    }

    async fn fetch_from(&self, hash: Hash, source: NodeId) -> Result<Bytes, Refusal> {
        let mut whole = Vec::new();
        loop {
            let question = ComponentPiece { hash, offset: whole.len() as u64 };
            let piece: Piece = self
                .peers
                .ask(source, Lane::Bulk, CommunityId::SYSTEM, method::COMPONENT, &question, PIECE_TIMEOUT)
                .await?;
            let is_sane = piece.total <= limits::COMPONENT_BYTES_MAX
                && (!piece.bytes.is_empty() || piece.total == whole.len() as u64);
            if !is_sane {
                return Err(Refusal::new(
                    Code::Internal,
                    format!("node {source} sent a piece that cannot be"),
                ));
            }
            whole.extend_from_slice(&piece.bytes);
            if whole.len() as u64 >= piece.total {
                return Ok(whole.into());
            }
        }
    }
}

fn describe(prepared: &Prepared) -> ComponentDescription {
    let Prepared { description, .. } = prepared;
    let described = ComponentDescription {
        kind: "validator".to_owned(),
        name: description.name.clone(),
        version: description.version.clone(),
        config: description.config.clone(),
        ..ComponentDescription::default()
    };
    let Some(ReducerSchemas { operations, queries, results, answers, events }) = description.reducer.clone()
    else {
        return described;
    };
    let scope = match description.scope {
        Scope::PerOperation => "per-operation",
        Scope::PerBatch => "per-batch",
    };
    let (kind, scope) = ("reducer".to_owned(), scope.to_owned());
    ComponentDescription { kind, scope, operations, queries, results, answers, events, ..described }
}
