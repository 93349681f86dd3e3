//! What comes out: what each command did, and what its caller is told.
//!
//! [`Transition`]s are history: persisted, digested, told to subscribers. [`Reply`]s are for the
//! callers of one batch and are not stored (a session stores the [`Receipt`] it may have to repeat).

use crate::{
    actor::Actor,
    ids::{Hash, OperationName, OperationNumber, Sequence, SessionId},
    origin::Origin,
    overlay::TimerSet,
    time::Timestamp,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What one command, or one timer, did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Its position in the community's history.
    pub sequence: Sequence,
    /// The effective time of its batch.
    pub time: Timestamp,
    /// What was asked.
    pub cause: Cause,
    /// What came of it.
    pub outcome: Outcome,
    /// The last write of each key, ascending. Empty unless accepted.
    pub writes: Vec<Write>,
    /// In the order of their emission. Empty unless accepted.
    pub events: Vec<Event>,
    /// The last change of each timer, ascending by id. Empty unless accepted. Here so that the
    /// digest covers every change of the state.
    pub timers: Vec<TimerChange>,
    /// Fuel used by the reducer and the validators together.
    pub fuel: u64,
    /// The history up to and including this transition: see [`crate::digest`].
    pub digest: Hash,
}

impl Transition {
    /// The operation that it answers to, if it does.
    #[must_use]
    pub const fn operation(&self) -> Option<OperationName> {
        match self.cause {
            Cause::Operation { session, number, .. } => Some(OperationName { session, number }),
            Cause::Timer { .. }
            | Cause::OpenSession { .. }
            | Cause::Activate { .. }
            | Cause::SetPolicy
            | Cause::Import(_) => None,
        }
    }

    /// What the caller is told of it.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt {
            sequence: self.sequence,
            time: self.time,
            outcome: self.outcome.clone(),
            fuel: self.fuel,
            digest: self.digest,
        }
    }
}

/// What a transition answers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A client's operation.
    Operation {
        /// Its session.
        session: SessionId,
        /// Its number there.
        number: OperationNumber,
        /// Who asked.
        actor: Actor,
        /// What was asked.
        payload: Bytes,
    },
    /// A timer that was due.
    Timer {
        /// The timer's id.
        id: Bytes,
        /// What it carried.
        payload: Bytes,
    },
    /// A session was opened.
    OpenSession {
        /// For whom.
        actor: Actor,
    },
    /// A program was to become the law.
    Activate {
        /// Who installed it.
        actor: Actor,
        /// [`crate::batch::ProgramManifest::hash`].
        program: Hash,
    },
    /// The policy was set.
    SetPolicy,
    /// The history up to here was another community's. No entry of the log asks for it: a community
    /// that was imported begins with it.
    Import(Origin),
}

/// What came of it. All of these are facts about the history, equal on every replica; what went
/// wrong with the *host* is a [`crate::program::Fault`] and never becomes an outcome (promise P3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It happened.
    Accepted {
        /// The reducer's answer; of [`Cause::SetPolicy`] the policy's hash; else empty.
        result: Bytes,
    },
    /// The program said no.
    Rejected(Rejection),
    /// The program failed.
    Trapped(Trap),
}

/// A program's refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// Who said no: none for the reducer, else the validator's place in the program.
    pub validator: Option<u32>,
}

/// A program's failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    /// The kind.
    pub kind: TrapKind,
    /// For people; deterministic, so without addresses or machine details.
    pub message: String,
    /// Who failed: none for the reducer, else the validator's place in the program.
    pub validator: Option<u32>,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TrapKind {
    /// The fuel of the operation is used up.
    OutOfFuel,
    /// Calls went deeper than the engine's limit.
    TooDeep,
    /// Memory, tables or instances beyond the quota.
    OutOfMemory,
    /// A quota of the state interface: the message names it.
    Quota,
    /// A host function was called where it may not be, or with a value out of bounds.
    Misuse,
    /// Unreachable code, division by zero, access out of bounds, and so on.
    Wasm,
}

impl TrapKind {
    /// The stable code told to clients.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OutOfFuel => "out-of-fuel",
            Self::TooDeep => "too-deep",
            Self::OutOfMemory => "out-of-memory",
            Self::Quota => "over-quota",
            Self::Misuse => "misuse",
            Self::Wasm => "wasm-trap",
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The key, in the program's keyspace.
    pub key: Bytes,
    /// The new value; none when deleted.
    pub value: Option<Bytes>,
}

/// One change of one timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerChange {
    /// The timer's id.
    pub id: Bytes,
    /// What it was set to; none when cancelled.
    pub set: Option<TimerSet>,
}

/// What subscribers are told besides the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: Bytes,
}

/// What the client of an operation is told, and told again when it retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The position in the history.
    pub sequence: Sequence,
    /// The effective time.
    pub time: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
    /// Fuel used.
    pub fuel: u64,
    /// The history's digest at that position.
    pub digest: Hash,
}

/// What came of one command of a batch, for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Executed now.
    Done(Receipt),
    /// Executed before: the first answer.
    Repeated(Receipt),
    /// Not executed, nothing changed.
    NotExecuted(NotExecuted),
}

/// Why a command was not executed. Deterministic, like everything here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotExecuted {
    /// The session's time has run out, or it was never opened.
    #[error(
        "session {session} has expired or was never opened: open a new one and find out what became of your unanswered operations before you submit them again"
    )]
    NoSession {
        /// The session named.
        session: SessionId,
    },
    /// The number was answered and the answer acknowledged.
    #[error(
        "number {number} of the session is already acknowledged: it was answered, and its answer is forgotten; use a new number"
    )]
    Acknowledged {
        /// The number named.
        number: OperationNumber,
    },
    /// The same number came with another payload or actor before.
    #[error("number {number} of the session was used for another operation: use a new number")]
    Mismatch {
        /// The number named.
        number: OperationNumber,
    },
    /// The session holds as many unacknowledged answers as it may.
    #[error("the session holds {answers} unacknowledged answers: acknowledge some, then retry")]
    WindowFull {
        /// How many.
        answers: u64,
    },
    /// The number it comes after has not been executed.
    #[error(
        "number {after} of the session, which this operation comes after, is not executed: submit that one first, then retry"
    )]
    OutOfOrder {
        /// The number missed.
        after: OperationNumber,
    },
    /// The batch's fuel was used up before its turn.
    #[error("the batch's fuel was used up before this operation's turn: retry")]
    BatchFull,
    /// The community runs no program yet.
    #[error("the community has no active program: install one first")]
    NoProgram,
    /// As many sessions are open as may be.
    #[error("{sessions} sessions are open: retry when one has expired")]
    TooManySessions {
        /// How many.
        sessions: u64,
    },
    /// The payload or the actor is larger than the policy allows.
    #[error("{what} has {bytes} bytes, the community allows {bytes_max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The policy has a value out of the host's bounds.
    #[error("policy: {0}")]
    BadPolicy(String),
}
