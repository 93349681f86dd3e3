//! The asking side.

use super::{frames, identity::Identity, pool};
use crate::{
    peers::{Lane, PeerError, PeerRequest, PeerStream, PeerTransport},
    runtime::Runtime,
};
use althing_core::ids::NodeId;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _,
    stream::{self, BoxStream},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic::Status;

/// Speaks to peers by gRPC. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct GrpcTransport(Arc<Inner>);

struct Inner {
    identity: Identity,
    runtime: Runtime,
    pool: pool::Pool,
    attempts: AtomicU64,
}

impl GrpcTransport {
    /// Knows nobody yet. To be used within a tokio runtime.
    #[must_use]
    pub fn new(identity: Identity, runtime: Runtime) -> Self {
        let (pool, attempts) = (pool::Pool::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { identity, runtime, pool, attempts }))
    }

    /// How many questions and streams have been attempted.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.0.attempts.load(Ordering::Relaxed)
    }

    async fn ask(
        &self,
        node: NodeId,
        mut client: pool::Client,
        request: PeerRequest,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let question = frames::question(&self.0.identity, request);
        let answer = self.in_time(node, timeout, client.call(question)).await?;
        frames::read_answer(node, answer.into_inner())
    }

    /// tonic's own time limits are told to the server; this one holds whatever the server does.
    async fn in_time<T>(
        &self,
        node: NodeId,
        timeout: Duration,
        asked: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<T, PeerError> {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("althing_peer_requests_total").increment(1);
        match self.0.runtime.timeout(timeout, asked).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(status)) => Err(frames::broken(node, &status)),
            None => {
                let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                Err(PeerError::TimedOut { node, millis })
            }
        }
    }
}

#[async_trait]
impl PeerTransport for GrpcTransport {
    async fn call(
        &self,
        to: NodeId,
        lane: Lane,
        request: PeerRequest,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let client = self.0.pool.client(to, lane)?;
        self.ask(to, client, request, timeout).await
    }

    async fn call_address(
        &self,
        address: &str,
        request: PeerRequest,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let nobody_known = NodeId(0);
        let client = pool::connect(nobody_known, address)?;
        self.ask(nobody_known, client, request, timeout).await
    }

    async fn stream(
        &self,
        to: NodeId,
        lane: Lane,
        request: PeerRequest,
        input: BoxStream<'static, Bytes>,
        timeout: Duration,
    ) -> Result<PeerStream, PeerError> {
        let mut client = self.0.pool.client(to, lane)?;
        let opening = frames::question(&self.0.identity, request);
        let questions = stream::iter([opening]).chain(input.map(frames::plain));
        // Boxed, or the compiler does not see that it may be sent to another thread.
        let asked = client.stream(questions).boxed();
        let opened = self.in_time(to, timeout, asked).await?;
        let answers = opened.into_inner().map(move |frame| match frame {
            Ok(frame) => frames::read_answer(to, frame),
            Err(status) => Err(frames::broken(to, &status)),
        });
        Ok(answers.boxed())
    }

    fn set_address(&self, node: NodeId, address: String) {
        self.0.pool.set_address(node, address);
    }

    fn address(&self, node: NodeId) -> Option<String> {
        self.0.pool.address(node)
    }
}
