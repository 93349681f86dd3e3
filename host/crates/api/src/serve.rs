//! Serving: one port for gRPC over HTTP/2 and for the pages over HTTP/1 or 2.
//!
//! Ends in order: when it is told to stop, nothing new comes in, streams are ended with a status that
//! says so, and what is under way has a bounded time to finish.

use crate::{
    admin::AdminService,
    communities::CommunitiesService,
    door::Door,
    gate::{Believing, Gate},
    health, import, probes, requests, scrape,
};
use althing_core::limits;
use althing_node::Node;
use althing_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        admin_server::{self, AdminServer},
        communities_server::{self, CommunitiesServer},
    },
};
use axum::{
    middleware,
    serve::{Listener as _, ListenerExt as _},
};
use futures::{Stream, stream};
use metrics_exporter_prometheus::PrometheusHandle;
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tonic::{service::Routes, transport::Server};
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

/// The largest message that is taken from a client, in bytes.
const MESSAGE_BYTES_MAX: usize = 9 << 20;
/// What a message has beside what it carries.
const ENVELOPE_BYTES: usize = 256;
/// Most requests and streams under way on one connection.
const CONNECTION_STREAMS_MAX: u32 = 1024;
/// Bytes that may be under way to us on one stream, and on one connection, before they are read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// A silent connection is asked for a sign of life so often, and given up after so long without one.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(20);
/// How long what is under way may take to finish when nobody says otherwise.
const DRAIN: Duration = Duration::from_secs(10);

const _: () = {
    let configs = (limits::VALIDATORS_MAX + 1) * limits::CONFIG_BYTES_MAX;
    assert!(MESSAGE_BYTES_MAX > configs + (1 << 20), "a message holds any one activation");
    assert!(MESSAGE_BYTES_MAX >= limits::PAIR_BYTES_MAX + ENVELOPE_BYTES, "a message holds any one chunk");
    assert!(MESSAGE_BYTES_MAX >= import::REQUEST_BYTES_MAX, "a message holds any one import");
    assert!(MESSAGE_BYTES_MAX > 2 * limits::PAYLOAD_BYTES_MAX, "a message holds any one operation");
};

/// How to serve.
#[derive(Clone)]
pub struct ServeOptions {
    /// Who says whom a request speaks for.
    pub gate: Arc<dyn Gate>,
    /// How long what is under way may take to finish after the word to stop.
    pub drain: Duration,
}

impl Default for ServeOptions {
    /// Believes every claim, and drains for ten seconds.
    fn default() -> Self {
        Self { gate: Arc::new(Believing), drain: DRAIN }
    }
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener is not one.
    #[error("the listener has no address")]
    Listener(#[source] io::Error),
    /// Somebody else records this process's metrics.
    #[error("another metrics recorder is installed in this process")]
    Metrics,
    /// The descriptors of the services cannot be served.
    #[error("the services' descriptors cannot be read")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The server failed.
    #[error("the server failed")]
    Server(#[source] tonic::transport::Error),
}

/// Serves a node until `shutdown` resolves, and then until what was under way has finished or the
/// patience for that ends. The node itself is not stopped: stop it afterwards.
///
/// # Errors
/// See [`ServeError`].
///
/// Cancellation: dropping the future closes the listener; connections that are open live on until
/// their clients leave.
pub async fn serve(
    node: Node,
    listener: TcpListener,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    warn_beyond_loopback(address);
    let Services { routes, door, close, reporter, recorder } = services(node, options.gate).await?;
    let stop = async {
        shutdown.await;
        close.send_replace(true);
    };
    let overdue = async {
        door.closing().await;
        door.node.runtime().sleep(options.drain).await;
    };
    tracing::info!(%address, "serving clients");
    tokio::select! {
        ended = server().add_routes(routes).serve_with_incoming_shutdown(incoming(listener), stop) => {
            ended.map_err(ServeError::Server)
        }
        () = overdue => {
            tracing::warn!(seconds = options.drain.as_secs(), "requests were still under way when patience ended");
            Ok(())
        }
        never = health::follow(&door, reporter) => match never {},
        never = scrape::upkeep(&door.node, &recorder) => match never {},
    }
}

/// Everything that a node serves, before anybody listens.
pub struct Services {
    /// The services: a request in, an answer out.
    pub routes: Routes,
    door: Arc<Door>,
    /// Dropped, it ends every stream.
    close: watch::Sender<bool>,
    reporter: HealthReporter,
    recorder: PrometheusHandle,
}

/// Everything that a node serves, without a listener: for [`serve`], and for whoever hands requests over in the same
/// process. Keep it as long as streams shall last.
///
/// # Errors
/// [`ServeError::Metrics`], [`ServeError::Reflection`].
pub async fn services(node: Node, gate: Arc<dyn Gate>) -> Result<Services, ServeError> {
    let recorder = scrape::recorder().ok_or(ServeError::Metrics)?;
    let (close, closing) = watch::channel(false);
    let door = Arc::new(Door::new(node, gate, closing));
    let reporter = HealthReporter::new();
    health::report(&reporter, door.node.is_ready()).await;
    let routes = routes(&door, &reporter, recorder.clone())?;
    Ok(Services { routes, door, close, reporter, recorder })
}

fn warn_beyond_loopback(address: SocketAddr) {
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "clients are not authenticated and connections not encrypted yet, and this address can be reached from \
             other machines: whoever reaches it may do everything"
        );
    }
}

fn server() -> Server {
    Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(CONNECTION_STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_PATIENCE))
}

/// The connections that come. Answers are small and waited for, so they never wait for each other to
/// fill a packet. An accept that fails for want of file descriptors is tried again after a pause.
fn incoming(listener: TcpListener) -> impl Stream<Item = Result<TcpStream, Infallible>> {
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    stream::unfold(listener, |mut listener| async move {
        let (connection, _) = listener.accept().await;
        Some((Ok(connection), listener))
    })
}

fn routes(
    door: &Arc<Door>,
    reporter: &HealthReporter,
    recorder: PrometheusHandle,
) -> Result<Routes, ServeError> {
    let communities = CommunitiesServer::new(CommunitiesService(door.clone()));
    let admin = AdminServer::new(AdminService(door.clone()));
    let health = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    let routes = Routes::new(communities.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(admin.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(health)
        .add_service(reflection().build_v1().map_err(ServeError::Reflection)?)
        .add_service(reflection().build_v1alpha().map_err(ServeError::Reflection)?);
    let router = routes
        .into_axum_router()
        .merge(probes::routes(door.clone(), recorder))
        .layer(middleware::from_fn_with_state(door.clone(), requests::see));
    Ok(Routes::from(router))
}

/// What is served here, and only that: the descriptors tell of the peers' protocol too.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(communities_server::SERVICE_NAME)
        .with_service_name(admin_server::SERVICE_NAME)
        .with_service_name(tonic_health::pb::health_server::SERVICE_NAME)
}
