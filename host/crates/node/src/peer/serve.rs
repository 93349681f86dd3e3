//! The answering side: each method by the verb that it names.

use super::{
    Ask, ComponentPiece, DigestAt, Forward, Hold, Join, Joined, Piece, ReadHistory, ScanRange, method,
};
use crate::{
    community::Community,
    components::PIECE_BYTES,
    directory::{
        record::{DirectoryOperation, DirectoryResult},
        view::DirectoryView,
    },
    node::Node,
    refuse,
};
use althing_consensus::peers::{PeerError, PeerHandler, PeerStream};
use althing_core::{
    codec,
    ids::{CommunityId, Hash, NodeId, Sequence},
    refusal::{Code, Refusal},
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// Answers peers.
pub(crate) struct Server {
    node: Node,
}

impl Server {
    pub(crate) fn new(node: Node) -> Self {
        Self { node }
    }

    async fn answer(
        &self,
        from: NodeId,
        community: CommunityId,
        name: &str,
        body: &Bytes,
    ) -> Result<Bytes, Refusal> {
        let node = &self.node;
        match name {
            method::SUBMIT => {
                let forward: Forward = decode(body)?;
                encode(Ok(node.forwarded(community, forward.commands).await))
            }
            method::BARRIER => encode(node.barrier_here(&self.leading(community)?).await),
            method::QUERY => {
                let ask: Ask = decode(body)?;
                encode(
                    node.query_here(&self.hosted(community)?, ask.actor, ask.question, ask.consistency).await,
                )
            }
            method::SCAN => {
                let range: ScanRange = decode(body)?;
                encode(node.scan_here(&self.hosted(community)?, &range).await)
            }
            method::HISTORY => {
                let question: ReadHistory = decode(body)?;
                encode(node.history_here(&self.hosted(community)?, question).await)
            }
            method::CHUNK => encode(self.chunk(decode(body)?).await),
            method::COMPONENT => encode(self.component(decode(body)?).await),
            method::HOLD => encode(node.hold(&decode::<Hold>(body)?).await),
            method::JOIN => encode(self.join(decode(body)?).await),
            method::TAKE_BACK => encode(node.take_back(from, decode(body)?).await),
            method::TRANSFER => {
                encode(node.transfer_from_here(&*self.leading(community)?, decode(body)?).await)
            }
            method::STATUS => encode(node.own_status(community).await),
            method::FOUND => {
                self.node.reconcile_now().notify_one();
                encode(Ok(()))
            }
            method::HAS_LEFT => encode(self.node.has_left(decode(body)?).await),
            method::DIGESTS => encode(Ok(node.digests_here(&decode::<Vec<DigestAt>>(body)?))),
            method::STAGE => encode(node.stage(community, decode(body)?).await),
            method::ROOTS => encode(Ok(node.roots_here(&decode::<Vec<DigestAt>>(body)?))),
            method::MANIFEST => encode(self.manifest(community, decode(body)?).await),
            other => {
                Err(Refusal::new(Code::BadRequest, format!("this node does not know the method {other:?}")))
            }
        }
    }

    fn hosted(&self, community: CommunityId) -> Result<Arc<Community>, Refusal> {
        self.node.hosted(community).ok_or_else(|| self.node.no_replica(community))
    }

    fn leading(&self, community: CommunityId) -> Result<Arc<Community>, Refusal> {
        self.hosted(community)?;
        let here = self.node.hosted(community).filter(|here| here.leads());
        here.ok_or_else(|| refuse::no_leader(community))
    }

    async fn chunk(&self, hash: Hash) -> Result<Bytes, Refusal> {
        let chunk =
            self.node.shared().store.archive.chunk(hash).await.map_err(|error| refuse::store(&error))?;
        chunk.ok_or_else(|| Refusal::new(Code::Internal, format!("chunk {hash} is not here any more")))
    }

    async fn manifest(&self, community: CommunityId, at: Sequence) -> Result<Option<Bytes>, Refusal> {
        let stored = self.node.shared().store.archive.snapshots(community).await;
        let stored = stored.map_err(|error| refuse::store(&error))?;
        Ok(stored.into_iter().find(|record| record.sequence == at).map(|record| record.manifest))
    }

    async fn component(&self, wanted: ComponentPiece) -> Result<Piece, Refusal> {
        let bytes = self.node.components().bytes(wanted.hash).await?.ok_or_else(|| {
            Refusal::new(Code::NoComponent, format!("component {} is not on this node", wanted.hash))
        })?;
        let start = usize::try_from(wanted.offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = (start + PIECE_BYTES).min(bytes.len());
        Ok(Piece { bytes: bytes.slice(start..end), total: bytes.len() as u64 })
    }

    async fn join(&self, join: Join) -> Result<Joined, Refusal> {
        let Join { token, peer_address, api_address } = join;
        let operation = DirectoryOperation::AddNode { token, peer_address, api_address };
        match self.node.change_directory(operation).await? {
            DirectoryResult::Node { node, replica } => Ok(Joined {
                cluster: self.node.identity().cluster,
                node,
                replica,
                nodes: DirectoryView(&self.node.directory()).nodes(),
            }),
            other => Err(crate::admin::unexpected(&other)),
        }
    }
}

#[async_trait]
impl PeerHandler for Server {
    async fn call(
        &self,
        from: NodeId,
        community: CommunityId,
        method: &str,
        body: Bytes,
    ) -> Result<Bytes, PeerError> {
        tracing::trace!(%from, %community, method, "a peer asks");
        // A refusal is an answer: it travels in the body.
        match self.answer(from, community, method, &body).await {
            Ok(body) => Ok(body),
            Err(refusal) => Ok(codec::encode(&Err::<(), _>(refusal)).into()),
        }
    }

    async fn stream(
        &self,
        _from: NodeId,
        _community: CommunityId,
        method: &str,
        _opening: Bytes,
        _input: PeerStream,
    ) -> Result<PeerStream, PeerError> {
        Err(PeerError::Refused {
            node: self.node.id(),
            code: Code::BadRequest.text().to_owned(),
            message: format!("{method:?} is no stream"),
        })
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    codec::decode(body)
        .map_err(|error| Refusal::new(Code::BadRequest, format!("a peer's question cannot be read: {error}")))
}

fn encode<T: Serialize>(answer: Result<T, Refusal>) -> Result<Bytes, Refusal> {
    answer.map(|answer| codec::encode(&Ok::<T, Refusal>(answer)).into())
}
