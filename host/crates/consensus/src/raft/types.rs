//! The types that openraft is instantiated with.
//!
//! Written out instead of by `declare_raft_types!`, which cannot set the responder: ours is a
//! callback, so that an answer reaches its caller without a task in between.

use crate::port::{Member, Replies};
use bytes::Bytes;
use openraft::{AsyncRuntime, OptionalSend, RaftTypeConfig, impls, vote::RaftLeaderId};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt, marker::PhantomData};

/// openraft's types on a given asynchronous runtime.
pub(crate) struct Types<RT>(PhantomData<fn() -> RT>);

/// Who led when an entry was written: the term, and the leader within it.
pub(crate) type Leader = impls::leader_id_adv::LeaderId<u64, u64>;
/// A place in a log.
pub(crate) type LogId = openraft::LogId<Leader>;
/// Whom a replica follows.
pub(crate) type Vote = openraft::Vote<Leader>;
/// Who belongs to a group.
pub(crate) type Membership = openraft::Membership<u64, Member>;
/// Who belongs to a group, and since when.
pub(crate) type StoredMembership = openraft::StoredMembership<Leader, u64, Member>;
/// What an entry holds.
pub(crate) type Payload = openraft::EntryPayload<Proposal, u64, Member>;
/// An entry of a log.
pub(crate) type Entry = openraft::Entry<Leader, Payload>;
/// A running group.
pub(crate) type Raft<RT> = openraft::Raft<Types<RT>, super::machine::Machine<RT>>;

impl<RT: AsyncRuntime> RaftTypeConfig for Types<RT> {
    type D = Proposal;
    type R = Executed;
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    type LeaderId = Leader;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = openraft::Entry<<Leader as RaftLeaderId>::Committed, Payload>;
    type AsyncRuntime = RT;
    type Responder<T>
        = Callback<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = impls::BoxedErrorSource;
}

/// What is proposed: bytes that consensus does not look into.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an executed entry replies; never leaves the node, so never encoded.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Executed {
    #[serde(skip)]
    pub(crate) replies: Replies,
}

impl fmt::Debug for Executed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} replies", self.replies.len())
    }
}

/// Calls back with the answer; dropped uncalled when the group stops before there is one.
pub(crate) struct Callback<T>(pub(crate) Box<dyn FnOnce(T) + Send>);

impl<RT: AsyncRuntime, T: OptionalSend + 'static> openraft::raft::responder::Responder<Types<RT>, T>
    for Callback<T>
{
    fn on_complete(self, answer: T) {
        (self.0)(answer);
    }
}

// By hand, because derived implementations would ask the same of the runtime.
impl<RT> Clone for Types<RT> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<RT> Copy for Types<RT> {}

impl<RT> Default for Types<RT> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<RT> fmt::Debug for Types<RT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}

impl<RT> PartialEq for Types<RT> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<RT> Eq for Types<RT> {}

impl<RT> PartialOrd for Types<RT> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<RT> Ord for Types<RT> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
