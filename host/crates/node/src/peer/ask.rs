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
use std::{collections::BTreeMap, sync::Arc, time::Duration};

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

    /// Asks each node its questions, `at_most` in one message, and pairs them with what came back. A node
    /// that does not answer, or not to all of a message, has said nothing.
    pub(crate) async fn ask_each<Q, A>(
        &self,
        method: &'static str,
        questions: BTreeMap<NodeId, Vec<Q>>,
        at_most: usize,
        timeout: Duration,
    ) -> Vec<(Q, A)>
    where
        Q: Serialize + Copy + Sync,
        A: DeserializeOwned,
    {
        let parts = questions.iter().flat_map(|(&on, all)| all.chunks(at_most).map(move |part| (on, part)));
        let asked = parts.map(async |(on, part)| {
            let told: Result<Vec<Option<A>>, _> =
                self.ask(on, Lane::Control, CommunityId::SYSTEM, method, &part, timeout).await;
            let told = told.ok().filter(|told| told.len() == part.len()).unwrap_or_default();
            let pairs = part.iter().zip(told).filter_map(|(asked, told)| Some((*asked, told?)));
            pairs.collect::<Vec<_>>()
        });
        futures::future::join_all(asked).await.into_iter().flatten().collect()
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
