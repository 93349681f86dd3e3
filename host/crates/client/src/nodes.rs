//! The nodes that a client may talk to, the one it talks to now, and the two ways of calling: what
//! may be repeated, and what may not.

use crate::{
    admin::Admin,
    backoff::Backoff,
    community::Community,
    error::{CallError, ConnectError},
};
use althing_core::refusal::Retry;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

/// Largest message taken from a server: a page of transitions may be long.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;

const WINDOW_BYTES: u32 = 4 << 20;

/// How patient a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a request is attempted again, or a broken stream mended. An attempt that began in time
    /// is not cut short: what a node says at its end is worth more than knowing nothing.
    pub patience: Duration,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// How long a connection may take to be made.
    pub connect: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            attempt: Duration::from_secs(10),
            connect: Duration::from_secs(2),
        }
    }
}

/// What a call becomes: a future of its own, which borrows nothing. (With async closures, whose
/// futures borrow, the compiler cannot show that a caller may be spawned.)
pub(crate) trait Called<T>: Future<Output = Result<Response<T>, Status>> + Send {}

impl<T, F: Future<Output = Result<Response<T>, Status>> + Send> Called<T> for F {}

/// A client of a cluster. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    nodes: Arc<Nodes>,
}

#[derive(Debug)]
struct Nodes {
    channels: Vec<Channel>,
    /// Counts how often the client went on to the next node; modulo the number of nodes it is the
    /// place of the current one.
    turn: AtomicUsize,
    options: Options,
}

/// A connection, and which turn it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) channel: Channel,
    turn: usize,
}

impl Client {
    /// Connects to the first of `addresses` (each HOST:PORT or a URL) that answers; the others are
    /// tried when it fails.
    ///
    /// # Errors
    /// An address is malformed, or nobody answers at any.
    pub async fn connect(addresses: Vec<String>) -> Result<Self, ConnectError> {
        Self::connect_with(addresses, Options::default()).await
    }

    /// As [`Self::connect`], with another patience.
    ///
    /// # Errors
    /// An address is malformed, or nobody answers at any.
    pub async fn connect_with(addresses: Vec<String>, options: Options) -> Result<Self, ConnectError> {
        let endpoints =
            addresses.iter().map(|address| endpoint(address, &options)).collect::<Result<Vec<_>, _>>()?;
        let mut channels: Vec<_> = endpoints.iter().map(Endpoint::connect_lazy).collect();
        let mut last = None;
        for (place, endpoint) in endpoints.iter().enumerate() {
            match endpoint.connect().await {
                Ok(channel) => {
                    channels[place] = channel;
                    let turn = AtomicUsize::new(place);
                    return Ok(Self { nodes: Arc::new(Nodes { channels, turn, options }) });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(ConnectError::NoAddress, |source| ConnectError::Unreachable { addresses, source }))
    }

    /// A community, by its name or decimal id. Nothing is asked yet.
    #[must_use]
    pub fn community(&self, community: impl Into<String>) -> Community {
        Community::new(self.clone(), community.into())
    }

    /// The verbs on communities, programs and members.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    pub(crate) fn options(&self) -> &Options {
        &self.nodes.options
    }

    /// The connection to the current node.
    pub(crate) fn link(&self) -> Link {
        let turn = self.nodes.turn.load(Ordering::Relaxed);
        Link { channel: self.nodes.channels[turn % self.nodes.channels.len()].clone(), turn }
    }

    /// Goes on to the next node, unless somebody else did since `link` was taken.
    pub(crate) fn leave(&self, link: &Link) {
        let next = link.turn.wrapping_add(1);
        let ordering = Ordering::Relaxed;
        if self.nodes.turn.compare_exchange(link.turn, next, ordering, ordering).is_ok() {
            tracing::debug!(place = next % self.nodes.channels.len(), "going on to the next node");
        }
    }

    /// One attempt at the current node; leaves the node if the failure is of its making.
    pub(crate) async fn attempt<T, F: Called<T>>(
        &self,
        limit: Duration,
        call: impl FnOnce(Channel) -> F,
    ) -> Result<T, CallError> {
        let link = self.link();
        let answer = match tokio::time::timeout(limit, call(link.channel.clone())).await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => CallError::from(status),
            Err(_) => CallError::NoAnswer { after: limit },
        };
        if answer.is_of_the_node() {
            self.leave(&link);
        }
        Err(answer)
    }

    /// Calls until there is an answer, time is up, or the failure would come again. For what may be
    /// carried out twice.
    pub(crate) async fn repeat<Q: Clone, T, F: Called<T>>(
        &self,
        request: Q,
        call: impl Fn(Channel, Q) -> F,
    ) -> Result<T, CallError> {
        self.repeat_within(self.options().attempt, request, call).await
    }

    /// As [`Self::repeat`], with another limit for one attempt.
    pub(crate) async fn repeat_within<Q: Clone, T, F: Called<T>>(
        &self,
        limit: Duration,
        request: Q,
        call: impl Fn(Channel, Q) -> F,
    ) -> Result<T, CallError> {
        self.call(limit, |retry| retry != Retry::Never, request, call).await
    }

    /// Calls until it was carried out, or may have been. For what must not be carried out twice.
    pub(crate) async fn once<Q: Clone, T, F: Called<T>>(
        &self,
        limit: Duration,
        request: Q,
        call: impl Fn(Channel, Q) -> F,
    ) -> Result<T, CallError> {
        self.call(limit, |retry| retry == Retry::Safe, request, call).await
    }

    async fn call<Q: Clone, T, F: Called<T>>(
        &self,
        limit: Duration,
        again: impl Fn(Retry) -> bool,
        request: Q,
        call: impl Fn(Channel, Q) -> F,
    ) -> Result<T, CallError> {
        let mut backoff = Backoff::new(self.options().patience);
        loop {
            let failure = match self.attempt(limit, |channel| call(channel, request.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !again(failure.retry()) || !backoff.wait().await {
                return Err(failure);
            }
            tracing::debug!(%failure, attempt = backoff.attempts(), "calling again");
        }
    }
}

fn endpoint(address: &str, options: &Options) -> Result<Endpoint, ConnectError> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let endpoint = Endpoint::from_shared(url)
        .map_err(|source| ConnectError::BadAddress { address: address.to_owned(), source })?;
    Ok(endpoint
        .connect_timeout(options.connect)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true))
}
