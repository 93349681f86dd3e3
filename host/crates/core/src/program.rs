//! The port to what a community runs: a reducer and its validators, however they are built.
//!
//! The machine decides when to call what; an implementation only runs the call, over an
//! [`Overlay`] that it is lent for the time of the call.

use crate::{
    actor::Actor,
    ids::{CommunityId, OperationNumber, Sequence, SessionId},
    overlay::Overlay,
    time::Timestamp,
    transition::{Event, Rejection, Trap, Write},
};
use bytes::Bytes;

/// Everything a guest may know about where and when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The community.
    pub community: CommunityId,
    /// The position the operation takes (in a query: that of the last applied one).
    pub sequence: Sequence,
    /// The batch's effective time.
    pub time: Timestamp,
    /// Who asks.
    pub actor: Actor,
    /// The operation's session; 0 for timers and for the host itself.
    pub session: SessionId,
    /// The operation's number in it.
    pub number: OperationNumber,
}

/// What the program is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `init` of the reducer.
    Init {
        /// The program's configuration.
        config: Bytes,
    },
    /// `migrate` of the reducer; accepted without effect when it exports none.
    Migrate {
        /// The version it takes over from.
        from_version: String,
        /// The program's configuration.
        config: Bytes,
    },
    /// `reduce` of the reducer.
    Reduce {
        /// The operation's payload.
        payload: Bytes,
    },
    /// `on-timer` of the reducer.
    Timer {
        /// The timer's id.
        id: Bytes,
        /// What it carries.
        payload: Bytes,
    },
    /// `validate` of one validator. The overlay shows the state after; its base, the state before.
    Validate {
        /// The validator's place in the program.
        validator: u32,
        /// The operation's (or timer's) payload.
        payload: Bytes,
        /// What the reducer would do.
        change: Change,
    },
}

/// What an accepted call would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The result.
    pub result: Bytes,
    /// The last write of each key, ascending.
    pub writes: Vec<Write>,
    /// In the order of their emission.
    pub events: Vec<Event>,
}

/// How a call ended. The overlay comes back with what the guest wrote; whoever called decides
/// whether that counts.
#[derive(Debug)]
pub struct Run {
    /// The overlay that was lent.
    pub overlay: Overlay,
    /// Fuel used, at most the call's allowance.
    pub fuel: u64,
    /// What the guest said.
    pub end: End,
}

/// What the guest said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It agrees; the reducer's result, empty for other calls.
    Accept(Bytes),
    /// It refuses.
    Reject(Rejection),
    /// It failed.
    Trap(Trap),
}

/// What went wrong with the *host*: never stored as an outcome, stops this replica's execution of
/// this community and nothing else (promise P3).
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// What could not be done, and what to do about it.
    pub what: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    /// A fault without a further cause.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// A fault with its cause.
    #[must_use]
    pub fn because(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }
}

/// A program, ready to run.
pub trait Program: Send {
    /// A batch begins: whatever instance is left from the batch before is discarded.
    fn begin_batch(&mut self);

    /// Runs one call with at most `fuel`. Deterministic in (overlay, context, call, fuel, and, in
    /// the per-batch scope, the calls since [`Self::begin_batch`]).
    ///
    /// # Errors
    /// A [`Fault`] when the host, not the guest, failed.
    fn run(&mut self, context: &Context, call: Call, overlay: Overlay, fuel: u64) -> Result<Run, Fault>;

    /// How many validators are asked after the reducer accepted.
    fn validators(&self) -> u32;

    /// Gives up what is kept for the calls of a batch: nothing runs before the next
    /// [`Self::begin_batch`]. Freeing it takes time, so whoever is not waited for drops it.
    fn release(&mut self) -> Leftovers {
        None
    }
}

/// What a program kept for a batch, to be dropped.
pub type Leftovers = Option<Box<dyn Send>>;

/// Where the machine gets programs when an activation names one.
pub trait Programs {
    /// The program of a manifest. The caller has made sure its components are here and compiled.
    ///
    /// # Errors
    /// A [`Fault`] when it cannot be loaded.
    fn load(&mut self, manifest: &crate::batch::ProgramManifest) -> Result<Box<dyn Program>, Fault>;
}
