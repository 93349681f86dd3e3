//! How a replica reaches the others: openraft's network on our frames.
//!
//! Three clients for each peer, so that none waits for another: log replication streams on
//! [`Lane::Log`], heartbeats and votes are single questions on [`Lane::Control`], snapshots are
//! offered on [`Lane::Bulk`] and then pulled by the follower. openraft enforces no time limit on a
//! stream, so every one of them has its own here.

use super::{
    credit::Credit,
    messages::{
        Addressed, AppendAnswer, AppendMessage, SnapshotAnswer, SnapshotMessage, TransferAnswer,
        TransferMessage, VoteAnswer, VoteMessage,
    },
    server::method,
    types::{Leader, Types, Vote},
};
use crate::{
    peers::{Lane, PeerError, PeerRequest, PeerStream, PeerTransport},
    port::{Member, Timing},
    runtime::Runtime,
};
use althing_core::{
    codec,
    ids::{CommunityId, NodeId},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, future::Either, stream};
use openraft::{
    AsyncRuntime, OptionalSend, RPCTypes, RaftNetworkFactory, Snapshot,
    base::{BoxFuture, BoxStream},
    errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption},
    raft::{
        AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    iter,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The least patience with a stream that owes an answer: an fsync under load takes its time.
const STREAM_PATIENCE_MIN: Duration = Duration::from_secs(2);
/// How long a follower may be silent while it fetches a snapshot; it says every second that it works.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(15);
/// The first pause after a peer could not be reached, and the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(800);

/// What all clients of a group share.
pub(crate) struct Network<RT> {
    link: Arc<Link>,
    runtime: PhantomData<fn() -> RT>,
}

struct Link {
    community: CommunityId,
    transport: Arc<dyn PeerTransport>,
    runtime: Runtime,
    timing: Timing,
}

impl<RT> Network<RT> {
    pub(crate) fn new(
        community: CommunityId,
        transport: Arc<dyn PeerTransport>,
        runtime: Runtime,
        timing: Timing,
    ) -> Self {
        Self { link: Arc::new(Link { community, transport, runtime, timing }), runtime: PhantomData }
    }

    fn client(&self, replica: u64, member: &Member, lane: Lane) -> Client<RT> {
        // The address book knows better than the membership, but it may not know the node yet.
        if self.link.transport.address(member.node).is_none() {
            self.link.transport.set_address(member.node, member.address.clone());
        }
        Client { link: Arc::clone(&self.link), replica, node: member.node, lane, runtime: PhantomData }
    }
}

impl<RT: AsyncRuntime> RaftNetworkFactory<Types<RT>> for Network<RT> {
    type Network = Client<RT>;

    async fn new_client(&mut self, target: u64, member: &Member) -> Client<RT> {
        self.client(target, member, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, member: &Member) -> Client<RT> {
        self.client(target, member, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, member: &Member) -> Client<RT> {
        self.client(target, member, Lane::Bulk)
    }
}

/// Speaks to one replica.
pub(crate) struct Client<RT> {
    link: Arc<Link>,
    replica: u64,
    node: NodeId,
    lane: Lane,
    runtime: PhantomData<fn() -> RT>,
}

type Answers<'s, RT> = BoxStream<'s, Result<StreamAppendResult<Types<RT>>, RPCError<Types<RT>>>>;

impl<RT: AsyncRuntime> Client<RT> {
    fn addressed<M: Serialize>(&self, message: M) -> Bytes {
        codec::encode(&Addressed { to: self.replica, message }).into()
    }

    fn request(&self, method: &'static str, body: Bytes) -> PeerRequest {
        PeerRequest { community: self.link.community, method, body }
    }

    /// Asks a small question, which never waits behind entries.
    async fn ask<M: Serialize, A: DeserializeOwned>(
        &self,
        method: &'static str,
        message: M,
        timeout: Duration,
    ) -> Result<A, PeerError> {
        let request = self.request(method, self.addressed(message));
        let answer = self.link.transport.call(self.node, Lane::Control, request, timeout).await?;
        self.understand(&answer)
    }

    fn understand<A: DeserializeOwned>(&self, body: &[u8]) -> Result<A, PeerError> {
        codec::decode(body).map_err(|error| PeerError::Unreachable {
            node: self.node,
            why: format!("its answer is not understood: {error}"),
        })
    }

    fn rpc_error(&self, action: RPCTypes, error: &PeerError) -> RPCError<Types<RT>> {
        match error {
            PeerError::TimedOut { millis, .. } => {
                let timeout = Duration::from_millis(*millis);
                RPCError::Timeout(Timeout { action, id: 0, target: self.replica, timeout })
            }
            // Refusals too: a peer that does not run the group yet is asked again, after a pause.
            other => RPCError::Unreachable(Unreachable::new(other)),
        }
    }

    fn stream_patience(&self) -> Duration {
        STREAM_PATIENCE_MIN.max(2 * Duration::from_millis(self.link.timing.election_millis_max))
    }

    fn vote_timeout(&self) -> Duration {
        Duration::from_millis(self.link.timing.election_millis_min)
    }

    /// One question at a time, each within the time that openraft gives a heartbeat.
    fn one_by_one<'s, S>(&'s self, input: S, timeout: Duration) -> Answers<'s, RT>
    where
        S: Stream<Item = AppendEntriesRequest<Types<RT>>> + Send + 's,
    {
        let answers = input.then(move |request| async move {
            let answer = self.ask(method::APPEND, AppendMessage::from(&request), timeout).await;
            answer
                .map(AppendAnswer::into_result)
                .map_err(|error| self.rpc_error(RPCTypes::AppendEntries, &error))
        });
        answers.boxed()
    }

    /// Many requests under way on one stream; answers come in order.
    async fn pipelined<'s, S>(
        &'s self,
        first: AppendEntriesRequest<Types<RT>>,
        input: S,
    ) -> Result<Answers<'s, RT>, RPCError<Types<RT>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types<RT>>> + Unpin + Send + 'static,
    {
        let credit = Credit::default();
        credit.drawn(&first);
        let opening = self.addressed(AppendMessage::from(&first));
        let sent = Arc::new(AtomicU64::new(1));
        let counter = Arc::clone(&sent);
        let following = credit.clone().requests(input).map(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            Bytes::from(codec::encode(&AppendMessage::from(&request)))
        });
        let request = self.request(method::APPEND_STREAM, opening);
        let patience = self.stream_patience();
        let answers = self
            .link
            .transport
            .stream(self.node, self.lane, request, following.boxed(), patience)
            .await
            .map_err(|error| self.rpc_error(RPCTypes::AppendEntries, &error))?;
        let answers = impatient(answers, sent, self.link.runtime.clone(), patience, self.node);
        let decoded = answers.map(move |answer| {
            answer
                .and_then(|body| self.understand::<AppendAnswer>(&body))
                .map(AppendAnswer::into_result)
                .map_err(|error| self.rpc_error(RPCTypes::AppendEntries, &error))
        });
        Ok(credit.answers(decoded.boxed()).boxed())
    }

    /// Offers a snapshot and waits while the follower works on it.
    async fn offer(&self, offer: Bytes) -> Result<Vote, PeerError> {
        let request = self.request(method::SNAPSHOT, offer);
        let nothing = stream::empty().boxed();
        let transport = &self.link.transport;
        let mut answers =
            transport.stream(self.node, Lane::Bulk, request, nothing, SNAPSHOT_PATIENCE).await?;
        loop {
            let answer = self.link.runtime.timeout(SNAPSHOT_PATIENCE, answers.next()).await;
            let answer = answer.ok_or_else(|| timed_out(self.node, SNAPSHOT_PATIENCE))?;
            let ended = || PeerError::Unreachable { node: self.node, why: "it broke off".into() };
            match self.understand(&answer.ok_or_else(ended)??)? {
                SnapshotAnswer::Working => {}
                SnapshotAnswer::Done(vote) => return Ok(vote.into()),
            }
        }
    }
}

impl<RT: AsyncRuntime> NetStreamAppend<Types<RT>> for Client<RT> {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<Answers<'s, RT>, RPCError<Types<RT>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types<RT>>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft sleeps its backoff inside the input: connecting before there is something to
            // send would try a dead peer thousands of times a second.
            let Some(first) = input.next().await else {
                return Ok(stream::empty().boxed());
            };
            if self.lane == Lane::Control {
                let input = stream::iter([first]).chain(input);
                return Ok(self.one_by_one(input, option.hard_ttl()));
            }
            self.pipelined(first, input).await
        })
    }
}

impl<RT: AsyncRuntime> NetVote<Types<RT>> for Client<RT> {
    async fn vote(
        &mut self,
        request: VoteRequest<Types<RT>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types<RT>>, RPCError<Types<RT>>> {
        let answer =
            self.ask::<_, VoteAnswer>(method::VOTE, VoteMessage::from(&request), self.vote_timeout());
        answer.await.map(Into::into).map_err(|error| self.rpc_error(RPCTypes::Vote, &error))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types<RT>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types<RT>>, RPCError<Types<RT>>> {
        let message = VoteMessage::from(&request);
        let answer = self.ask::<_, VoteAnswer>(method::PRE_VOTE, message, self.vote_timeout());
        answer.await.map(Into::into).map_err(|error| self.rpc_error(RPCTypes::Vote, &error))
    }
}

impl<RT: AsyncRuntime> NetTransferLeader<Types<RT>> for Client<RT> {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<RT>>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<RT>>, RPCError<Types<RT>>> {
        // The heir answers when its log is flushed, which it waits for as long as an election takes.
        let timeout = Duration::from_millis(self.link.timing.election_millis_max);
        let answer =
            self.ask::<_, TransferAnswer>(method::TRANSFER, TransferMessage::from(&request), timeout);
        answer
            .await
            .map(TransferAnswer::into_response)
            .map_err(|error| self.rpc_error(RPCTypes::TransferLeader, &error))
    }
}

impl<RT: AsyncRuntime> NetSnapshot<Types<RT>> for Client<RT> {
    type SnapshotData = Bytes;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Leader, u64, Member, Bytes>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<RT>>, StreamingError<Types<RT>>> {
        // Takes as long as the follower makes progress: openraft's limit is for other transports.
        let offer = self.addressed(SnapshotMessage::new(&vote, &snapshot.meta, snapshot.snapshot));
        let offered = self.offer(offer);
        futures::pin_mut!(offered, cancel);
        match futures::future::select(cancel, offered).await {
            Either::Left((closed, _)) => Err(StreamingError::Closed(closed)),
            Either::Right((Ok(vote), _)) => Ok(SnapshotResponse::new(vote)),
            // Never as a time-out, which openraft answers by trying again at once.
            Either::Right((Err(error), _)) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }
}

impl<RT: AsyncRuntime> NetBackoff<Types<RT>> for Client<RT> {
    fn backoff(&self) -> Option<Backoff> {
        let pauses = iter::successors(Some(BACKOFF_MIN), |pause| Some(BACKOFF_MAX.min(*pause * 2)));
        Some(Backoff::new(pauses))
    }
}

/// Ends a stream with an error when it owes an answer and gives none for too long.
fn impatient(
    answers: PeerStream,
    sent: Arc<AtomicU64>,
    runtime: Runtime,
    patience: Duration,
    node: NodeId,
) -> impl Stream<Item = Result<Bytes, PeerError>> + Send {
    stream::unfold(Some((answers, 0)), move |state| {
        let (sent, runtime) = (Arc::clone(&sent), runtime.clone());
        async move {
            let (mut answers, answered) = state?;
            loop {
                let is_owed = sent.load(Ordering::Relaxed) > answered;
                match runtime.timeout(patience, answers.next()).await {
                    Some(answer) => return Some((answer?, Some((answers, answered + 1)))),
                    None if is_owed => return Some((Err(timed_out(node, patience)), None)),
                    None => {}
                }
            }
        }
    })
}

fn timed_out(node: NodeId, bound: Duration) -> PeerError {
    PeerError::TimedOut { node, millis: u64::try_from(bound.as_millis()).unwrap_or(u64::MAX) }
}
