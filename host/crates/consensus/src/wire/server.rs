//! The answering side: a listener of its own, apart from the clients'.

use super::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
    STREAMS_MAX, frames, identity::Identity,
};
use crate::{
    peers::{Handlers, PeerError, PeerStream},
    runtime::{Runtime, Task},
};
use althing_proto::peer::v1::{
    Frame,
    peer_server::{Peer, PeerServer as PeerService},
};
use bytes::Bytes;
use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::oneshot};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

/// How long questions under way may go on when the server stops; replication streams never end by
/// themselves.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Serves peers until it is stopped.
pub struct PeerServer {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    task: Task,
}

impl PeerServer {
    /// Serves whoever connects to `listener`.
    ///
    /// # Errors
    /// When the listener does not know its own address.
    pub fn start(
        listener: TcpListener,
        identity: Identity,
        handlers: Handlers,
        runtime: &Runtime,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicU64::new(0));
        let accepted = Arc::clone(&connections);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).inspect(move |connection| {
            if connection.is_ok() {
                accepted.fetch_add(1, Ordering::Relaxed);
                metrics::counter!("althing_peer_connections_total").increment(1);
            }
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve(incoming, Service { identity, handlers }, async move {
            // Dropping the handle stops the server too.
            let _ = stopped.await;
        });
        let task = runtime.spawn("peer server", server);
        Ok(Self { address, connections, runtime: runtime.clone(), stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Stops listening, gives questions under way a moment, and breaks what is left.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let mut ended = self.task.ended;
        if self.runtime.timeout(STOP_GRACE, &mut ended).await.is_none() {
            (self.task.abort)();
            ended.await;
        }
    }
}

async fn serve(
    incoming: impl Stream<Item = io::Result<tokio::net::TcpStream>>,
    service: Service,
    stopped: impl Future<Output = ()>,
) {
    let service = PeerService::new(service)
        .max_decoding_message_size(FRAME_BYTES_MAX)
        .max_encoding_message_size(FRAME_BYTES_MAX);
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stopped)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the peer server ended");
    }
}

struct Service {
    identity: Identity,
    handlers: Handlers,
}

impl Service {
    async fn answer(&self, frame: Frame) -> Result<Bytes, PeerError> {
        let question = frames::read_question(&self.identity, frame)?;
        let handler = self.handlers.of(self.identity.node(), &question.method)?;
        handler.call(question.from, question.community, &question.method, question.body).await
    }

    async fn open(&self, frame: Frame, input: Streaming<Frame>) -> Result<PeerStream, PeerError> {
        let question = frames::read_question(&self.identity, frame)?;
        let handler = self.handlers.of(self.identity.node(), &question.method)?;
        let from = question.from;
        let input = input.map(move |frame| match frame {
            Ok(frame) => frames::read_answer(from, frame),
            Err(status) => Err(frames::broken(from, &status)),
        });
        let (community, method) = (question.community, &question.method);
        handler.stream(from, community, method, question.body, input.boxed()).await
    }
}

#[tonic::async_trait]
impl Peer for Service {
    async fn call(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        Ok(Response::new(frames::answer(self.answer(request.into_inner()).await)))
    }

    type StreamStream = BoxStream<'static, Result<Frame, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let mut input = request.into_inner();
        let Some(opening) = input.message().await? else {
            return Err(Status::invalid_argument("a stream opens with a frame"));
        };
        let answers = match self.open(opening, input).await {
            Ok(answers) => answers.map(|body| Ok(frames::answer(body))).boxed(),
            Err(error) => stream::iter([Ok(frames::answer(Err(error)))]).boxed(),
        };
        Ok(Response::new(answers))
    }
}
