//! What a running group answers its peers.
//!
//! A message for another replica, or from a node that is not the member it speaks for, is refused, and so is one that
//! no replica sends ([`super::sound`]).

use super::{
    group::RaftGroup,
    machine::applied,
    messages::{
        Addressed, AppendAnswer, AppendMessage, Claim, Offer, SnapshotAnswer, SnapshotMessage,
        TransferAnswer, TransferMessage, VoteAnswer, VoteMessage,
    },
    records::VoteRecord,
    sound::{self, Here},
    types::{Raft, Types, Vote},
};
use crate::{
    peers::{PeerError, PeerStream},
    port::SnapshotHandle,
};
use althing_core::{codec, ids::NodeId};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture, stream};
use openraft::{
    AsyncRuntime, Snapshot,
    async_runtime::WatchReceiver as _,
    errors::Fatal,
    raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Display, sync::Arc, time::Duration};

/// The methods of Raft between peers.
pub(crate) mod method {
    /// All methods begin with this.
    pub(crate) const PREFIX: &str = "raft/";
    pub(crate) const VOTE: &str = "raft/vote";
    pub(crate) const PRE_VOTE: &str = "raft/pre-vote";
    pub(crate) const APPEND: &str = "raft/append";
    pub(crate) const APPEND_STREAM: &str = "raft/append-stream";
    pub(crate) const TRANSFER: &str = "raft/transfer";
    pub(crate) const SNAPSHOT: &str = "raft/snapshot";
}

/// How often a follower says that it is still fetching a snapshot.
const WORKING_EVERY: Duration = Duration::from_secs(1);

/// What a running group answers its peers.
#[async_trait]
pub(crate) trait RaftService: Send + Sync {
    /// Answers a question.
    async fn answer(&self, from: NodeId, method: &str, body: Bytes) -> Result<Bytes, PeerError>;

    /// Answers a stream of questions.
    async fn answer_stream(
        &self,
        from: NodeId,
        method: &str,
        opening: Bytes,
        input: PeerStream,
    ) -> Result<PeerStream, PeerError>;
}

#[async_trait]
impl<RT: AsyncRuntime> RaftService for RaftGroup<RT> {
    async fn answer(&self, from: NodeId, method: &str, body: Bytes) -> Result<Bytes, PeerError> {
        let raft = self.raft();
        match method {
            method::VOTE => {
                let request = VoteRequest::from(self.accept::<VoteMessage>(from, &body)?);
                let response = raft.vote(request).await.map_err(|error| self.stopped(error))?;
                Ok(encode(&VoteAnswer::from(&response)))
            }
            method::PRE_VOTE => {
                let request = VoteRequest::from(self.accept::<VoteMessage>(from, &body)?);
                let response = raft.pre_vote(request).await.map_err(|error| self.stopped(error))?;
                Ok(encode(&VoteAnswer::from(&response)))
            }
            method::APPEND => {
                let message = self.accept::<AppendMessage>(from, &body)?;
                let request = AppendEntriesRequest::try_from(message).map_err(|error| self.garbled(error))?;
                let answers = raft.stream_append(stream::iter([request]));
                futures::pin_mut!(answers);
                let result = answers.next().await.unwrap_or(Err(Fatal::Stopped));
                Ok(encode(&AppendAnswer::of(&result.map_err(|error| self.stopped(error))?)))
            }
            method::TRANSFER => {
                let request = TransferLeaderRequest::from(self.accept::<TransferMessage>(from, &body)?);
                let response =
                    raft.handle_transfer_leader(request).await.map_err(|error| self.stopped(error))?;
                Ok(encode(&TransferAnswer::of(&response)))
            }
            _ => Err(self.unknown(method)),
        }
    }

    async fn answer_stream(
        &self,
        from: NodeId,
        method: &str,
        opening: Bytes,
        input: PeerStream,
    ) -> Result<PeerStream, PeerError> {
        match method {
            method::APPEND_STREAM => {
                let first = self.accept::<AppendMessage>(from, &opening)?;
                self.follow(first, input)
            }
            method::SNAPSHOT => {
                let offer = self.accept::<SnapshotMessage>(from, &opening)?;
                let parts = offer.into_parts().map_err(|error| self.garbled(error))?;
                Ok(self.receive_snapshot(from, parts))
            }
            _ => Err(self.unknown(method)),
        }
    }
}

impl<RT: AsyncRuntime> RaftGroup<RT> {
    /// A message that is meant for this replica and comes from the member that it says.
    fn accept<M: DeserializeOwned + Claim>(&self, from: NodeId, body: &[u8]) -> Result<M, PeerError> {
        let addressed: Addressed<M> = codec::decode(body).map_err(|error| self.garbled(error))?;
        let own = self.replica().0;
        if addressed.to != own {
            let why = format!("this is replica {own}, not {}", addressed.to);
            return Err(self.refusal("wrong-replica", why));
        }
        let claimed = addressed.message.claimed();
        let metrics = self.raft().metrics();
        let membership = Arc::clone(&metrics.borrow_watched().membership_config);
        if let Some(what) = wrong(self.raft(), &addressed.message) {
            return Err(self.garbled(what));
        }
        match membership.get_node(&claimed) {
            _ if claimed == own => {
                Err(self.refusal("wrong-member", format!("replica {own} is this one, and nobody else")))
            }
            Some(member) if member.node != from => {
                let why = format!("replica {claimed} is on node {}, not on node {from}", member.node);
                Err(self.refusal("wrong-member", why))
            }
            // A replica that this one has not heard of may be a newer member: Raft's terms decide.
            _ => Ok(addressed.message),
        }
    }

    fn follow(&self, first: AppendMessage, input: PeerStream) -> Result<PeerStream, PeerError> {
        let leader = first.claimed();
        let first: AppendEntriesRequest<Types<RT>> = first.try_into().map_err(|error| self.garbled(error))?;
        // One stream, one leader; whatever else comes ends it, and the leader opens another.
        let raft = self.raft().clone();
        let following = input
            .map(|body| body.ok().and_then(|body| codec::decode::<AppendMessage>(&body).ok()))
            .map(move |message| message.filter(|message| message.claimed() == leader))
            .map(move |message| message.filter(|message| wrong(&raft, message).is_none()))
            .map(|message| message.and_then(|message| AppendEntriesRequest::try_from(message).ok()))
            .take_while(|request| futures::future::ready(request.is_some()))
            .filter_map(futures::future::ready);
        let answers = self.raft().stream_append(stream::iter([first]).chain(following));
        let node = self.node();
        let answers = answers.map(move |result| match result {
            Ok(result) => Ok(encode(&AppendAnswer::of(&result))),
            Err(fatal) => Err(stopped(node, fatal)),
        });
        Ok(answers.boxed())
    }

    /// Fetches an offered snapshot and installs it; says from time to time that it is at it.
    /// Dropping the stream breaks the fetch off.
    fn receive_snapshot(&self, from: NodeId, (vote, meta, manifest): Offer) -> PeerStream {
        let (raft, fetch, node) = (self.raft().clone(), self.fetch(), self.node());
        let work: BoxFuture<'static, Result<Vote, PeerError>> = Box::pin(async move {
            let current = raft.metrics().borrow_watched().vote;
            if vote < current {
                return Ok(current);
            }
            let offered = SnapshotHandle { applied: applied(&meta), manifest };
            fetch.fetch(from, &offered).await.map_err(|fault| PeerError::Refused {
                node,
                code: "fetch-failed".into(),
                message: fault.to_string(),
            })?;
            let snapshot = Snapshot { meta, snapshot: offered.manifest };
            let response = raft.install_full_snapshot(vote, snapshot).await;
            response.map(|response| response.vote).map_err(|fatal| stopped(node, fatal))
        });
        let runtime = self.runtime().clone();
        let answers = stream::unfold(Some(work), move |work| {
            let runtime = runtime.clone();
            async move {
                let mut work = work?;
                match runtime.timeout(WORKING_EVERY, &mut work).await {
                    None => Some((Ok(encode(&SnapshotAnswer::Working)), Some(work))),
                    Some(Ok(vote)) => {
                        Some((Ok(encode(&SnapshotAnswer::Done(VoteRecord::from(&vote)))), None))
                    }
                    Some(Err(error)) => Some((Err(error), None)),
                }
            }
        });
        answers.boxed()
    }

    fn refusal(&self, code: &str, message: String) -> PeerError {
        PeerError::Refused { node: self.node(), code: code.into(), message }
    }

    fn garbled(&self, error: impl Display) -> PeerError {
        self.refusal("garbled", format!("the message is not understood: {error}"))
    }

    fn unknown(&self, method: &str) -> PeerError {
        self.refusal("no-method", format!("Raft has no method {method:?}"))
    }

    fn stopped(&self, error: impl Display) -> PeerError {
        stopped(self.node(), error)
    }
}

/// What is wrong with a message, beside how far a group is.
fn wrong<RT: AsyncRuntime>(raft: &Raft<RT>, message: &impl Claim) -> Option<&'static str> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let here = Here { vote: metrics.vote, committed: metrics.local_committed };
    sound::wrong(&message.statement(), &here)
}

fn stopped(node: NodeId, error: impl Display) -> PeerError {
    let message = format!("the group has stopped on this node: {error}");
    PeerError::Refused { node, code: "group-stopped".into(), message }
}

fn encode<T: Serialize>(answer: &T) -> Bytes {
    codec::encode(answer).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Consensus, ConsensusOptions,
        memory::MemoryNetwork,
        peers::{Handlers, Lane, PeerRequest},
        port::{GroupConfig, Member, SnapshotFetch, Timing},
        raft::{
            conformance::Rememberer,
            types::{Entry, Leader, LogId, Payload},
        },
        runtime::{Runtime, simulate},
    };
    use althing_core::{
        ids::{CommunityId, ReplicaId},
        program::Fault,
    };
    use althing_store::port::Store;
    use openraft_rt_sim::SimRuntime;
    use std::collections::BTreeMap;

    struct Nothing;

    #[async_trait]
    impl SnapshotFetch for Nothing {
        async fn fetch(&self, _from: NodeId, _offered: &SnapshotHandle) -> Result<(), Fault> {
            Ok(())
        }
    }

    /// A group of one, replica 11 on node 1, that knows replica 12 on node 2 as a learner.
    async fn group(runtime: &Runtime, network: &MemoryNetwork) -> Consensus {
        let node = NodeId(1);
        let consensus = Consensus::new(ConsensusOptions {
            node,
            wal: Store::memory().wal,
            transport: network.transport(node),
            runtime: runtime.clone(),
        });
        network.serve(node, Handlers::new().with(Consensus::METHODS, consensus.handler()));
        let community = CommunityId(1);
        let config = GroupConfig { community, replica: ReplicaId(11), timing: Timing::LAN, log_kept: 9 };
        let group = consensus.start(config, Box::<Rememberer>::default(), Arc::new(Nothing)).await.unwrap();
        let member = |node| Member { node, address: MemoryNetwork::address(node) };
        group.initialize(BTreeMap::from([(ReplicaId(11), member(node))])).await.unwrap();
        assert!(group.wait_applied(1, Duration::from_secs(9)).await);
        group.add_learner(ReplicaId(12), member(NodeId(2))).await.unwrap();
        consensus
    }

    async fn ask_for_vote(
        network: &MemoryNetwork,
        from: u64,
        candidate: u64,
        to: u64,
    ) -> Result<Bytes, PeerError> {
        let vote = Vote { leader_id: Leader { term: 90, node_id: candidate }, committed: false };
        let message = VoteMessage::from(&VoteRequest::<Types<SimRuntime>>::new(vote, None));
        let body = encode(&Addressed { to, message });
        let request = PeerRequest { community: CommunityId(1), method: method::VOTE, body };
        let patience = Duration::from_secs(1);
        network.transport(NodeId(from)).call(NodeId(1), Lane::Control, request, patience).await
    }

    fn code(answer: Result<Bytes, PeerError>) -> String {
        match answer {
            Err(PeerError::Refused { code, .. }) => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn nobody_speaks_for_a_member_of_another_node_or_to_a_replica_that_is_gone() {
        simulate(1, |runtime| async move {
            let network = MemoryNetwork::new(runtime.clone());
            let consensus = group(&runtime, &network).await;
            assert_eq!(code(ask_for_vote(&network, 3, 12, 11).await), "wrong-member");
            assert_eq!(code(ask_for_vote(&network, 2, 12, 10).await), "wrong-replica");
            assert!(ask_for_vote(&network, 2, 12, 11).await.is_ok());
            assert!(ask_for_vote(&network, 7, 77, 11).await.is_ok(), "it may be a newer member");
            consensus.shutdown().await;
            assert_eq!(code(ask_for_vote(&network, 2, 12, 11).await), "no-group");
        });
    }
    /// Raft takes its peers at their word: the first of these stopped the group.
    #[test]
    fn what_no_replica_says_is_refused_and_the_group_goes_on() {
        simulate(2, |runtime| async move {
            let network = MemoryNetwork::new(runtime.clone());
            let consensus = group(&runtime, &network).await;
            let leader = |term, node_id| Leader { term, node_id };
            let entry = |term, index| Entry {
                log_id: LogId { leader_id: leader(term, 77), index },
                payload: Payload::Blank,
            };
            let tell = async |term, committed, previous: Option<LogId>, entries: Vec<Entry>| {
                let message = AppendMessage::from(&AppendEntriesRequest::<Types<SimRuntime>> {
                    vote: Vote { leader_id: leader(term, 77), committed },
                    prev_log_id: previous,
                    entries,
                    leader_commit: None,
                });
                let body = encode(&Addressed { to: 11, message });
                let request = PeerRequest { community: CommunityId(1), method: method::APPEND, body };
                let patience = Duration::from_secs(1);
                code(network.transport(NodeId(7)).call(NodeId(1), Lane::Control, request, patience).await)
            };
            let before = Some(LogId { leader_id: leader(90, 77), index: 9 });
            assert_eq!(tell(90, false, None, vec![]).await, "garbled", "no leader");
            assert_eq!(tell(u64::MAX, true, None, vec![]).await, "garbled", "the last term");
            assert_eq!(tell(90, true, None, vec![entry(90, 0), entry(90, 2)]).await, "garbled", "a gap");
            assert_eq!(tell(90, true, before, vec![entry(89, 10)]).await, "garbled", "an earlier leader");
            assert_eq!(tell(89, true, before, vec![]).await, "garbled", "of a later leader");
            assert_eq!(tell(90, true, None, vec![entry(90, 0)]).await, "garbled", "not what is committed");
            assert_eq!(code(ask_for_vote(&network, 1, 11, 11).await), "wrong-member", "it is this one");
            let group = consensus.group(CommunityId(1)).expect("it runs");
            let member = Member { node: NodeId(3), address: MemoryNetwork::address(NodeId(3)) };
            group.add_learner(ReplicaId(13), member).await.expect("it leads as before");
            consensus.shutdown().await;
        });
    }
}
