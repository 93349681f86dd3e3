//! Internal errors as refusals: the one place where they become what a client is told.

use althing_consensus::{
    peers::PeerError,
    port::{ProposeError, ReadError},
};
use althing_core::{
    ids::CommunityId,
    program::Fault,
    refusal::{Code, Refusal},
};
use althing_store::port::StoreError;
use std::fmt::Write as _;

/// What helps against a fault of the host.
pub(crate) const RESTART: &str = "restart the node, and report the fault";

/// An error with its whole chain of causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

pub(crate) fn no_community(name: &str) -> Refusal {
    Refusal::new(
        Code::NoCommunity,
        format!("there is no community {name:?}: list them with `althing community list`"),
    )
    .with("community", name)
}

pub(crate) fn no_leader(community: CommunityId) -> Refusal {
    Refusal::new(
        Code::NoLeader,
        format!("community {community} has no leader that reaches a quorum at the moment: nothing was done, retry later"),
    )
    .with("community", community)
}

pub(crate) fn unknown_outcome(community: CommunityId) -> Refusal {
    Refusal::new(
        Code::UnknownOutcome,
        format!(
            "community {community} lost its leader while the request was under way: it may or may not take effect; \
             send it again with the same session and number to learn which"
        ),
    )
    .with("community", community)
}

pub(crate) fn internal(what: &str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    Refusal::new(Code::Internal, format!("{what}: {}", chain(error)))
}

pub(crate) fn store(error: &StoreError) -> Refusal {
    internal("storage failed", error)
}

pub(crate) fn fault(error: &Fault) -> Refusal {
    internal("the host failed", error)
}

pub(crate) fn propose(community: CommunityId, error: ProposeError) -> Refusal {
    match error {
        ProposeError::NotLeader { .. } => no_leader(community),
        ProposeError::Unknown => unknown_outcome(community),
        ProposeError::Stopped { why } => stopped(community, &why),
    }
}

pub(crate) fn read(community: CommunityId, error: ReadError) -> Refusal {
    match error {
        ReadError::NotLeader { .. } | ReadError::NoQuorum => no_leader(community),
        ReadError::Stopped { why } => stopped(community, &why),
    }
}

pub(crate) fn stopped(community: CommunityId, why: &str) -> Refusal {
    Refusal::new(
        Code::ReplicaStopped,
        format!("the replica of community {community} on this node has stopped ({why}): ask another node"),
    )
    .with("community", community)
}

pub(crate) fn peer(error: &PeerError) -> Refusal {
    match error {
        PeerError::Refused { code, message, .. } => {
            Refusal::new(Code::from_text(code).unwrap_or(Code::Internal), message.clone())
        }
        PeerError::TimedOut { .. } => Refusal::new(Code::TimedOut, error.to_string()),
        PeerError::Unreachable { .. } => Refusal::new(Code::UnknownOutcome, error.to_string()),
        PeerError::NoAddress { .. } => Refusal::new(Code::NoLeader, error.to_string()),
        PeerError::NotConnected { .. } => {
            Refusal::new(Code::NoLeader, format!("{error}: nothing was done, retry later"))
        }
    }
}

pub(crate) fn shutting_down() -> Refusal {
    Refusal::new(Code::ShuttingDown, "this node is shutting down: ask another one")
}
