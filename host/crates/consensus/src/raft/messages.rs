//! What replicas of a group say to each other, as our own records.
//!
//! Every message names the replica it is meant for: a copy that came back under a fresh id must not
//! answer for the one that was lost (promise P13).

use super::{
    records::{EntryRecord, LogIdRecord, StoredMembershipRecord, VoteRecord},
    sound::Statement,
    types::{Entry, Leader, LogId, StoredMembership, Types, Vote},
};
use crate::port::Member;
use althing_core::codec::DecodeError;
use bytes::Bytes;
use openraft::{
    AsyncRuntime, SnapshotMeta,
    raft::{
        AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use serde::{Deserialize, Serialize};

/// A message to one replica.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Addressed<T> {
    /// The replica that is meant.
    pub(crate) to: u64,
    /// What it is told.
    pub(crate) message: T,
}

/// Asks for a vote, or for the promise of one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteMessage {
    vote: VoteRecord,
    last: Option<LogIdRecord>,
    is_transfer: bool,
}

/// Answers [`VoteMessage`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteAnswer {
    vote: VoteRecord,
    is_granted: bool,
    last: Option<LogIdRecord>,
}

/// Hands entries over; without entries, a heartbeat.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AppendMessage {
    vote: VoteRecord,
    previous: Option<LogIdRecord>,
    entries: Vec<EntryRecord>,
    committed: Option<LogIdRecord>,
}

/// Answers [`AppendMessage`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AppendAnswer {
    /// The logs are equal up to here.
    Matches(Option<LogIdRecord>),
    /// They differ here.
    Conflicts(LogIdRecord),
    /// Somebody else leads.
    Superseded(VoteRecord),
}

/// Asks a replica to lead.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TransferMessage {
    vote: VoteRecord,
    heir: u64,
    last: Option<LogIdRecord>,
}

/// Answers [`TransferMessage`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum TransferAnswer {
    /// It will stand for election.
    Accepted,
    /// It follows somebody else.
    Superseded { expected: VoteRecord, actual: VoteRecord },
    /// It lacks entries.
    Behind { expected: Option<LogIdRecord>, actual: Option<LogIdRecord> },
}

/// Offers a snapshot, whose chunks the follower fetches by itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotMessage {
    vote: VoteRecord,
    last: Option<LogIdRecord>,
    membership: StoredMembershipRecord,
    manifest: Bytes,
}

/// Answers [`SnapshotMessage`], any number of times [`Self::Working`], then once the other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SnapshotAnswer {
    /// Fetching.
    Working,
    /// Installed, or refused for a newer leader.
    Done(VoteRecord),
}

fn record(id: Option<&LogId>) -> Option<LogIdRecord> {
    id.map(LogIdRecord::from)
}

impl<RT: AsyncRuntime> From<&VoteRequest<Types<RT>>> for VoteMessage {
    fn from(request: &VoteRequest<Types<RT>>) -> Self {
        Self {
            vote: VoteRecord::from(&request.vote),
            last: record(request.last_log_id.as_ref()),
            is_transfer: request.leadership_transfer,
        }
    }
}

impl<RT: AsyncRuntime> From<VoteMessage> for VoteRequest<Types<RT>> {
    fn from(message: VoteMessage) -> Self {
        let mut request = Self::new(message.vote.into(), message.last.map(LogId::from));
        request.leadership_transfer = message.is_transfer;
        request
    }
}

impl<RT: AsyncRuntime> From<&VoteResponse<Types<RT>>> for VoteAnswer {
    fn from(response: &VoteResponse<Types<RT>>) -> Self {
        Self {
            vote: VoteRecord::from(&response.vote),
            is_granted: response.vote_granted,
            last: record(response.last_log_id.as_ref()),
        }
    }
}

impl<RT: AsyncRuntime> From<VoteAnswer> for VoteResponse<Types<RT>> {
    fn from(answer: VoteAnswer) -> Self {
        Self::new(Vote::from(answer.vote), answer.last.map(LogId::from), answer.is_granted)
    }
}

impl<RT: AsyncRuntime> From<&AppendEntriesRequest<Types<RT>>> for AppendMessage {
    fn from(request: &AppendEntriesRequest<Types<RT>>) -> Self {
        Self {
            vote: VoteRecord::from(&request.vote),
            previous: record(request.prev_log_id.as_ref()),
            entries: request.entries.iter().map(EntryRecord::from).collect(),
            committed: record(request.leader_commit.as_ref()),
        }
    }
}

impl<RT: AsyncRuntime> TryFrom<AppendMessage> for AppendEntriesRequest<Types<RT>> {
    type Error = DecodeError;

    fn try_from(message: AppendMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            vote: message.vote.into(),
            prev_log_id: message.previous.map(LogId::from),
            entries: message.entries.into_iter().map(Entry::try_from).collect::<Result<_, _>>()?,
            leader_commit: message.committed.map(LogId::from),
        })
    }
}

impl AppendAnswer {
    pub(crate) fn of<RT: AsyncRuntime>(result: &StreamAppendResult<Types<RT>>) -> Self {
        match result {
            Ok(matching) => Self::Matches(record(matching.as_ref())),
            Err(StreamAppendError::Conflict(id)) => Self::Conflicts(LogIdRecord::from(id)),
            Err(StreamAppendError::HigherVote(vote)) => Self::Superseded(VoteRecord::from(vote)),
        }
    }

    pub(crate) fn into_result<RT: AsyncRuntime>(self) -> StreamAppendResult<Types<RT>> {
        match self {
            Self::Matches(matching) => Ok(matching.map(LogId::from)),
            Self::Conflicts(id) => Err(StreamAppendError::Conflict(id.into())),
            Self::Superseded(vote) => Err(StreamAppendError::HigherVote(vote.into())),
        }
    }
}

impl<RT: AsyncRuntime> From<&TransferLeaderRequest<Types<RT>>> for TransferMessage {
    fn from(request: &TransferLeaderRequest<Types<RT>>) -> Self {
        Self {
            vote: VoteRecord::from(request.from_leader()),
            heir: *request.to_node_id(),
            last: record(request.last_log_id()),
        }
    }
}

impl<RT: AsyncRuntime> From<TransferMessage> for TransferLeaderRequest<Types<RT>> {
    fn from(message: TransferMessage) -> Self {
        Self::new(message.vote.into(), message.heir, message.last.map(LogId::from))
    }
}

impl TransferAnswer {
    pub(crate) fn of<RT: AsyncRuntime>(response: &TransferLeaderResponse<Types<RT>>) -> Self {
        match response {
            Ok(()) => Self::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Self::Superseded { expected: expected.into(), actual: actual.into() }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Self::Behind { expected: record(expected.as_ref()), actual: record(actual.as_ref()) }
            }
        }
    }

    pub(crate) fn into_response<RT: AsyncRuntime>(self) -> TransferLeaderResponse<Types<RT>> {
        match self {
            Self::Accepted => Ok(()),
            Self::Superseded { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            Self::Behind { expected, actual } => Err(TransferLeaderError::LogNotFlushed {
                expected: expected.map(LogId::from),
                actual: actual.map(LogId::from),
            }),
        }
    }
}

impl SnapshotMessage {
    pub(crate) fn new(vote: &Vote, meta: &SnapshotMeta<Leader, u64, Member>, manifest: Bytes) -> Self {
        Self {
            vote: vote.into(),
            last: record(meta.last_log_id.as_ref()),
            membership: StoredMembershipRecord::from(&meta.last_membership),
            manifest,
        }
    }

    pub(crate) fn into_parts(self) -> Result<Offer, DecodeError> {
        let last_membership = StoredMembership::try_from(self.membership)?;
        let meta = SnapshotMeta { last_log_id: self.last.map(LogId::from), last_membership };
        Ok((self.vote.into(), meta, self.manifest))
    }
}

/// An offered snapshot: by whom, of what, and its manifest.
pub(crate) type Offer = (Vote, SnapshotMeta<Leader, u64, Member>, Bytes);

/// What a message says of itself.
pub(crate) trait Claim {
    /// Who speaks, in which term, and of what.
    fn statement(&self) -> Statement;
    /// The replica that leads, or wants to.
    fn claimed(&self) -> u64;
}

impl Claim for VoteMessage {
    fn statement(&self) -> Statement {
        statement(self.vote, false, &[self.last])
    }

    fn claimed(&self) -> u64 {
        Vote::from(self.vote).leader_id.node_id
    }
}

impl Claim for AppendMessage {
    fn statement(&self) -> Statement {
        Statement {
            previous: self.previous.map(LogId::from),
            entries: self.entries.iter().map(|entry| entry.at().into()).collect(),
            ..statement(self.vote, true, &[self.committed])
        }
    }

    fn claimed(&self) -> u64 {
        Vote::from(self.vote).leader_id.node_id
    }
}

impl Claim for TransferMessage {
    fn statement(&self) -> Statement {
        statement(self.vote, true, &[self.last])
    }

    fn claimed(&self) -> u64 {
        Vote::from(self.vote).leader_id.node_id
    }
}

impl Claim for SnapshotMessage {
    fn statement(&self) -> Statement {
        statement(self.vote, true, &[self.last, self.membership.at()])
    }

    fn claimed(&self) -> u64 {
        Vote::from(self.vote).leader_id.node_id
    }
}

fn statement(vote: VoteRecord, leads: bool, places: &[Option<LogIdRecord>]) -> Statement {
    let others = places.iter().flatten().map(|&place| place.into()).collect();
    Statement { vote: vote.into(), leads, previous: None, entries: Vec::new(), others }
}

#[cfg(test)]
mod golden;
