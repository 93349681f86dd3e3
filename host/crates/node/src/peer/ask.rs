//! The asking side.

use crate::refuse;
use althing_consensus::peers::{Lane, PeerRequest, PeerTransport};
use althing_core::{
    codec,
    ids::{CommunityId, NodeId},
    refusal::Refusal,
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};

/// Typed questions to peers; cheap to clone.
#[derive(Clone)]
pub(crate) struct Peers {
    transport: Arc<dyn PeerTransport>,
}

impl Peers {
    pub(crate) fn new(transport: Arc<dyn PeerTransport>) -> Self {
        Self { transport }
    }

    /// Asks a node; a transport's error becomes a refusal too.
    ///
    /// # Errors
    /// What the node refused with, or that it could not be asked.
    pub(crate) async fn ask<A: DeserializeOwned>(
        &self,
        to: NodeId,
        lane: Lane,
        community: CommunityId,
        method: &'static str,
        question: &(impl Serialize + Sync),
        timeout: Duration,
    ) -> Result<A, Refusal> {
        let request = PeerRequest { community, method, body: codec::encode(question).into() };
        let body =
            self.transport.call(to, lane, request, timeout).await.map_err(|error| refuse::peer(&error))?;
        answer(&body)
    }

    /// Asks whoever listens at an address.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) async fn ask_address<A: DeserializeOwned>(
        &self,
        address: &str,
        method: &'static str,
        question: &(impl Serialize + Sync),
        timeout: Duration,
    ) -> Result<A, Refusal> {
        let request =
            PeerRequest { community: CommunityId::SYSTEM, method, body: codec::encode(question).into() };
        let body = self
            .transport
            .call_address(address, request, timeout)
            .await
            .map_err(|error| refuse::peer(&error))?;
        answer(&body)
    }

    /// Sets where a node listens; whether that is news.
    pub(crate) fn set_address(&self, node: NodeId, address: &str) -> bool {
        let is_news = self.transport.address(node).as_deref() != Some(address);
        if is_news {
            self.transport.set_address(node, address.to_owned());
        }
        is_news
    }
}

fn answer<A: DeserializeOwned>(body: &Bytes) -> Result<A, Refusal> {
    codec::decode::<Result<A, Refusal>>(body)
        .map_err(|error| refuse::internal("a peer's answer cannot be read", &error))?
}
