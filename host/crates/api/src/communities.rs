//! `althing.v1.Communities`: operations, queries and what follows from them.

use crate::{door::Door, fields, pages, refused::answer, submit_stream, subscribe};
use althing_core::{
    batch::Operation, ids::Sequence, limits::PAYLOAD_BYTES_MAX, refusal::Refusal, transition::Outcome,
};
use althing_node::{Answer, Submitted};
use althing_proto::{operation, v1};
use bytes::Bytes;
use futures::stream::BoxStream;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};
use v1::{communities_server::Communities, query_response::Kind};

/// The service.
pub(crate) struct CommunitiesService(pub(crate) Arc<Door>);

#[tonic::async_trait]
impl Communities for CommunitiesService {
    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        answer(open_session(&self.0, request).await)
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        answer(submit(&self.0, request).await)
    }

    type SubmitStreamStream = BoxStream<'static, Result<v1::SubmitStreamResponse, Status>>;

    async fn submit_stream(
        &self,
        request: Request<Streaming<v1::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        answer(submit_stream::open(&self.0, request))
    }

    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<v1::QueryResponse>, Status> {
        answer(query(&self.0, request).await)
    }

    type SubscribeStream = BoxStream<'static, Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        answer(subscribe::open(&self.0, request.into_inner()).await)
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<v1::ScanResponse>, Status> {
        answer(scan(&self.0, request.into_inner()).await)
    }

    async fn history(
        &self,
        request: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryResponse>, Status> {
        answer(history(&self.0, request.into_inner()).await)
    }
}

async fn open_session(
    door: &Door,
    request: Request<v1::OpenSessionRequest>,
) -> Result<v1::OpenSessionResponse, Refusal> {
    let (metadata, _, v1::OpenSessionRequest { community, actor }) = request.into_parts();
    let community = fields::community(community)?;
    let actor = door.actor(&metadata, actor)?;
    let sessions = door.node.policy(&community)?.sessions;
    let opened = door.node.open_session(&community, actor).await?;
    Ok(v1::OpenSessionResponse {
        session: opened.receipt.sequence.0,
        ttl_millis: sessions.ttl_millis,
        window: sessions.window,
    })
}

async fn submit(door: &Door, request: Request<v1::SubmitRequest>) -> Result<v1::SubmitResponse, Refusal> {
    let (metadata, _, request) = request.into_parts();
    let (community, operation) = read_operation(door, &metadata, request)?;
    let mut outcomes = door.node.submit(&community, vec![operation]).await?;
    outcomes.pop().expect("there is one outcome for each operation").map(submitted)
}

/// What a request submits, and to which community.
///
/// # Errors
/// The request is malformed, or the gate says no.
pub(crate) fn read_operation(
    door: &Door,
    metadata: &MetadataMap,
    request: v1::SubmitRequest,
) -> Result<(String, Operation), Refusal> {
    let (community, mut operation) = operation::parse(request)?;
    let community = fields::community(community)?;
    // The node refuses a whole group for one that is too large.
    fields::sized("payload", operation.payload.len(), PAYLOAD_BYTES_MAX)?;
    operation.actor = door.admit(metadata, operation.actor)?;
    tracing::debug!(community, operation = %operation.name(), "asked");
    Ok((community, operation))
}

/// What became of an operation, counted.
pub(crate) fn submitted(Submitted { receipt, repeated }: Submitted) -> v1::SubmitResponse {
    let outcome = match (repeated, &receipt.outcome) {
        (true, _) => "repeated",
        (false, Outcome::Accepted { .. }) => "accepted",
        (false, Outcome::Rejected(_)) => "rejected",
        (false, Outcome::Trapped(_)) => "trapped",
    };
    metrics::counter!("althing_api_operations_total", "outcome" => outcome).increment(1);
    v1::SubmitResponse { receipt: Some(receipt.into()), repeated }
}

async fn query(door: &Door, request: Request<v1::QueryRequest>) -> Result<v1::QueryResponse, Refusal> {
    let (metadata, _, v1::QueryRequest { community, actor, question, consistency }) = request.into_parts();
    let community = fields::community(community)?;
    let actor = door.actor(&metadata, actor)?;
    let consistency = fields::consistency(consistency)?;
    fields::sized("question", question.len(), PAYLOAD_BYTES_MAX)?;
    let told = door.node.query(&community, actor, question, consistency).await?;
    let kind = match told.answer {
        Answer::Given(answer) => Kind::Answer(answer),
        Answer::Rejected(rejection) => Kind::Rejected(rejection.into()),
        Answer::Trapped(trap) => Kind::Trapped(trap.into()),
    };
    Ok(v1::QueryResponse {
        kind: Some(kind),
        sequence: told.sequence.0,
        time: Some(told.time.into()),
        digest: Bytes::copy_from_slice(&told.digest.0),
        fuel: told.fuel,
    })
}

async fn scan(door: &Door, request: v1::ScanRequest) -> Result<v1::ScanResponse, Refusal> {
    let v1::ScanRequest { community, start, end, limit, consistency } = request;
    let community = fields::community(community)?;
    let (limit, consistency) = (fields::limit(limit)?, fields::consistency(consistency)?);
    let page = door.node.scan(&community, start, end, limit, consistency).await?;
    Ok(v1::ScanResponse {
        pairs: page.pairs.into_iter().map(|(key, value)| v1::Pair { key, value }).collect(),
        next: page.next,
        sequence: page.sequence.0,
        digest: Bytes::copy_from_slice(&page.digest.0),
    })
}

async fn history(door: &Door, request: v1::HistoryRequest) -> Result<v1::HistoryResponse, Refusal> {
    let v1::HistoryRequest { community, from, limit } = request;
    let community = fields::community(community)?;
    let read = door.node.history(&community, Sequence(from), fields::limit(limit)?).await?;
    Ok(v1::HistoryResponse {
        transitions: pages::first(read.transitions),
        oldest: read.oldest.0,
        newest: read.newest.0,
    })
}
