//! Connections to peers: one for each address and lane, opened when first used and shared by
//! whoever asks.

use super::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
    STREAM_WINDOW_BYTES,
};
use crate::peers::{Lane, PeerError};
use althing_core::ids::NodeId;
use althing_proto::peer::v1::peer_client::PeerClient;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};
use tonic::transport::{Channel, Endpoint};

/// A client on a shared connection.
pub(super) type Client = PeerClient<Channel>;

#[derive(Default)]
pub(super) struct Pool(Mutex<Book>);

#[derive(Default)]
struct Book {
    addresses: BTreeMap<NodeId, String>,
    clients: BTreeMap<(NodeId, Lane), Client>,
}

impl Pool {
    /// The connection to a node.
    pub(super) fn client(&self, node: NodeId, lane: Lane) -> Result<Client, PeerError> {
        let mut book = self.book();
        if let Some(client) = book.clients.get(&(node, lane)) {
            return Ok(client.clone());
        }
        let address = book.addresses.get(&node).ok_or(PeerError::NoAddress { node })?;
        let client = connect(node, address)?;
        book.clients.insert((node, lane), client.clone());
        Ok(client)
    }

    /// Sets where a node listens. Connections to where it listened before are left to whoever
    /// still uses them.
    pub(super) fn set_address(&self, node: NodeId, address: String) {
        let mut book = self.book();
        if book.addresses.get(&node) != Some(&address) {
            book.clients.retain(|(peer, _), _| *peer != node);
            book.addresses.insert(node, address);
        }
    }

    pub(super) fn address(&self, node: NodeId) -> Option<String> {
        self.book().addresses.get(&node).cloned()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("nothing panics while it holds the book")
    }
}

/// A connection of its own to an address; nothing is sent yet.
pub(super) fn connect(node: NodeId, address: &str) -> Result<Client, PeerError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
        PeerError::Unreachable { node, why: format!("{address:?} is no address: {error}") }
    })?;
    let channel = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_lazy();
    let client = PeerClient::new(channel);
    Ok(client.max_decoding_message_size(FRAME_BYTES_MAX).max_encoding_message_size(FRAME_BYTES_MAX))
}
