//! openraft's errors in the words of the port.
//!
//! The line that matters: *not leader* is said only when the entry was certainly not appended.
//! openraft says `ForwardToLeader` to a write before it appends (it does not lead, it is handing
//! leadership over, or its lease has run out), and `LogEntryDiscarded` for an entry that it had.

use super::types::{Leader, Types};
use crate::port::{Committed, Member, MembershipError, ProposeError, ReadError};
use althing_core::ids::ReplicaId;
use openraft::{
    AsyncRuntime,
    errors::{
        ChangeMembershipError, ClientWriteError, Fatal, ForwardReason, ForwardToLeader,
        LinearizableReadError, RaftError,
    },
    raft::ClientWriteResult,
};

/// The answer to a proposal.
pub(crate) fn proposal<RT: AsyncRuntime>(
    result: ClientWriteResult<Types<RT>>,
) -> Result<Committed, ProposeError> {
    match result {
        Ok(response) => Ok(Committed { index: response.log_id.index, replies: response.data.replies }),
        Err(ClientWriteError::ForwardToLeader(forward)) => {
            Err(ProposeError::NotLeader { leader: leader(forward) })
        }
        Err(_) => Err(ProposeError::Unknown),
    }
}

/// Why a read is not possible.
pub(crate) fn read<RT: AsyncRuntime>(
    error: RaftError<Types<RT>, LinearizableReadError<Types<RT>>>,
) -> ReadError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            if forward.reason == ForwardReason::LeaseExpired {
                ReadError::NoQuorum
            } else {
                ReadError::NotLeader { leader: leader(forward) }
            }
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ReadError::NoQuorum,
        RaftError::Fatal(fatal) => ReadError::Stopped { why: fatal.to_string() },
    }
}

/// Why members were not changed.
pub(crate) fn membership<RT: AsyncRuntime>(
    error: RaftError<Types<RT>, ClientWriteError<Types<RT>>>,
) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            if forward.reason == ForwardReason::LeaseExpired {
                let why = "the leader cannot reach a quorum: nothing was changed".into();
                MembershipError::Invalid { why }
            } else {
                MembershipError::NotLeader { leader: leader(forward) }
            }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => refused(error),
        RaftError::APIError(error) => MembershipError::Unknown { why: error.to_string() },
        RaftError::Fatal(fatal) => stopped(&fatal),
    }
}

/// The group has stopped.
pub(crate) fn stopped<RT: AsyncRuntime>(fatal: &Fatal<Types<RT>>) -> MembershipError {
    MembershipError::Unknown { why: format!("the group has stopped on this node: {fatal}") }
}

fn refused(error: ChangeMembershipError<Leader, u64>) -> MembershipError {
    match error {
        ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => {
            MembershipError::InProgress
        }
        ChangeMembershipError::LearnerNotFound(missing) => MembershipError::Invalid {
            why: format!(
                "replica {} follows no log of this group: add it as a learner first",
                missing.node_id
            ),
        },
        other => MembershipError::Invalid { why: other.to_string() },
    }
}

fn leader<RT: AsyncRuntime>(forward: ForwardToLeader<Types<RT>>) -> Option<(ReplicaId, Member)> {
    Some((ReplicaId(forward.leader_id?), forward.leader_node?))
}
