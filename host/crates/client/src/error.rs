//! What can go wrong, per operation, each with the stable code of the server's refusal if it was one.

use althing_core::{
    ids::{OperationNumber, Sequence},
    refusal::{Code, Refusal, Retry},
};
use althing_proto::{Malformed, status};
use std::{error::Error, time::Duration};
use tonic::Status;

/// No connection was made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// None was given.
    #[error("no address of a node was given")]
    NoAddress,
    /// It is no address.
    #[error("{address:?} is no address of a node: HOST:PORT is wanted")]
    BadAddress {
        /// What was given.
        address: String,
        /// Why not.
        #[source]
        source: tonic::transport::Error,
    },
    /// Nobody answers at any.
    #[error("no node answers at {}", addresses.join(", "))]
    Unreachable {
        /// All that were tried.
        addresses: Vec<String>,
        /// What happened at the last.
        #[source]
        source: tonic::transport::Error,
    },
}

/// A request without a session was not carried out, or is not known to have been.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server refused. [`Code::retry`] tells whether it may have been carried out.
    #[error("{0}")]
    Refused(Refusal),
    /// No connection; the request never left.
    #[error("no node answers")]
    Unreachable(#[source] Status),
    /// Nothing came back in time.
    #[error("no answer within {} ms", after.as_millis())]
    NoAnswer {
        /// How long was waited.
        after: Duration,
    },
    /// The answer makes no sense.
    #[error("the server's answer is malformed")]
    Malformed(#[from] Malformed),
}

impl CallError {
    /// The stable code, if the server (or the transport in its place) gave one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.refusal().map(|refusal| refusal.code)
    }

    /// What the server said, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Unreachable(_) | Self::NoAnswer { .. } | Self::Malformed(_) => None,
        }
    }

    /// Whether the same request may be sent again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused(refusal) => refusal.code.retry(),
            Self::Unreachable(_) => Retry::Safe,
            Self::NoAnswer { .. } => Retry::Named,
            Self::Malformed(_) => Retry::Never,
        }
    }

    /// Whether another node might do better.
    pub(crate) fn is_of_the_node(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::NoAnswer { .. } => true,
            Self::Malformed(_) => false,
            Self::Refused(refusal) => matches!(
                refusal.code,
                Code::NoLeader
                    | Code::ReplicaStopped
                    | Code::ShuttingDown
                    | Code::UnknownOutcome
                    | Code::TimedOut
                    | Code::NotReached
                    | Code::Internal
            ),
        }
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        if never_left(&status) { Self::Unreachable(status) } else { Self::Refused(status::refusal(&status)) }
    }
}

/// Whether no connection was made at all, so that the request cannot have arrived.
fn never_left(status: &Status) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What did not become of an operation.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It was refused, and not executed.
    #[error("{0}")]
    Refused(Refusal),
    /// It was not executed, and time is up.
    #[error("not executed after {attempts} attempts")]
    NotExecuted {
        /// How many attempts.
        attempts: u32,
        /// What became of the last.
        #[source]
        last: CallError,
    },
    /// It may have been executed; its number is given up, so it is not executed later on once the
    /// session's next operation is.
    #[error(
        "what became of operation {number} is not known after {attempts} attempts: it may have been executed"
    )]
    Unknown {
        /// Its number in the session.
        number: OperationNumber,
        /// How many attempts.
        attempts: u32,
        /// What became of the last.
        #[source]
        last: CallError,
    },
}

impl SubmitError {
    /// The stable code, if the server (or the transport in its place) gave one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::NotExecuted { last, .. } | Self::Unknown { last, .. } => last.code(),
        }
    }
}

/// A pipeline cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the pipeline stopped at operation {first}, {unanswered} operations are unanswered")]
pub struct PipelineError {
    /// The first number without an answer.
    pub first: OperationNumber,
    /// How many operations were submitted and not answered; they may have been executed.
    pub unanswered: usize,
    /// What went wrong last.
    #[source]
    pub last: CallError,
}

impl PipelineError {
    /// The stable code, if the server (or the transport in its place) gave one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.last.code()
    }
}

/// A subscription cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The server does not go on from `next`, or nobody answered for too long.
    #[error("the subscription stopped before sequence {next}")]
    Stopped {
        /// The next transition wanted.
        next: Sequence,
        /// Why.
        #[source]
        last: CallError,
    },
    /// The server told something else than the next transition.
    #[error("the server told sequence {found} where {next} is next")]
    OutOfSequence {
        /// The next transition wanted.
        next: Sequence,
        /// The one that came.
        found: Sequence,
    },
}

impl SubscribeError {
    /// The stable code, if the server (or the transport in its place) gave one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Stopped { last, .. } => last.code(),
            Self::OutOfSequence { .. } => None,
        }
    }
}
