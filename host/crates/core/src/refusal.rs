//! What a client is told when its request is not carried out.
//!
//! One table of stable codes for the whole house: nodes send refusals to each other when they
//! forward, the API turns them into statuses, the client decides by them what may be retried. What
//! a *program* says no to is not here: that is an [`crate::transition::Outcome`].

use crate::transition::NotExecuted;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// A request that was not carried out: why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which kind.
    pub code: Code,
    /// For people: what was wrong, where, and what to do.
    pub message: String,
    /// The numbers in the message, by name.
    pub data: BTreeMap<String, String>,
}

impl Refusal {
    /// A refusal without data.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: BTreeMap::new() }
    }

    /// With one more number.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.data.insert(name.to_owned(), value.to_string());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// Whether, and how, a refused request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will be refused again.
    Never,
    /// It was not carried out: send it again, later or elsewhere.
    Safe,
    /// It may have been carried out: send it again only if it is named (session and number), so
    /// that it is answered rather than executed twice.
    Named,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $retry:ident;)*) => {
        /// The kinds of refusal, each with its stable text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable text.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// Whether the request may be sent again.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self {
                    $(Self::$variant => Retry::$retry,)*
                }
            }

            /// The code of a text that [`Self::text`] gave.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.text() == text)
            }
        }
    };
}

codes! {
    /// The request itself is malformed.
    BadRequest = "bad-request", Never;
    /// No community of that name or id.
    NoCommunity = "no-community", Never;
    /// The name is taken.
    CommunityExists = "community-exists", Never;
    /// No node of that id.
    NoNode = "no-node", Never;
    /// The community has no such replica.
    NoReplica = "no-replica", Never;
    /// The community's replica on this node has stopped.
    ReplicaStopped = "replica-stopped", Safe;
    /// Nobody leads the community at the moment, or the leader reaches no quorum.
    NoLeader = "no-leader", Safe;
    /// Leadership moved while the request was under way.
    UnknownOutcome = "unknown-outcome", Named;
    /// As much is waiting as may wait.
    Busy = "busy", Safe;
    /// The node is shutting down.
    ShuttingDown = "shutting-down", Safe;
    /// The request took longer than it may.
    TimedOut = "timed-out", Named;
    /// The community runs no program yet.
    NoProgram = "no-program", Never;
    /// The session has expired or was never opened.
    NoSession = "no-session", Never;
    /// The number is acknowledged already.
    Acknowledged = "acknowledged", Never;
    /// The number was used for another operation.
    Mismatch = "mismatch", Never;
    /// Too many answers are unacknowledged.
    WindowFull = "window-full", Safe;
    /// The operation it comes after has not been executed.
    OutOfOrder = "out-of-order", Safe;
    /// The batch's fuel was used up.
    BatchFull = "batch-full", Safe;
    /// As many sessions are open as may be.
    TooManySessions = "too-many-sessions", Safe;
    /// Something is larger than the community allows.
    TooLarge = "too-large", Never;
    /// The policy is out of the host's bounds.
    BadPolicy = "bad-policy", Never;
    /// The transitions asked for are no longer held.
    HistoryGone = "history-gone", Never;
    /// The subscriber was too slow and was cut.
    TooSlow = "too-slow", Safe;
    /// The state asked for is not reached yet.
    NotReached = "not-reached", Safe;
    /// The component is not one this host runs.
    BadComponent = "bad-component", Never;
    /// The component is not here.
    NoComponent = "no-component", Never;
    /// Not enough voters hold the component yet.
    NotHeld = "not-held", Safe;
    /// The program needs another configuration.
    BadConfig = "bad-config", Never;
    /// A change of members is under way.
    MembersChanging = "members-changing", Safe;
    /// The change of members makes no sense.
    BadMembers = "bad-members", Never;
    /// A fault of the host.
    Internal = "internal", Named;
    /// The disk of the node that leads the community is nearly full.
    NoSpace = "no-space", Safe;
    /// The node has no such snapshot of the community.
    NoSnapshot = "no-snapshot", Never;
    /// The snapshot is pinned, or a restart needs it.
    SnapshotNeeded = "snapshot-needed", Never;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl From<NotExecuted> for Refusal {
    fn from(reason: NotExecuted) -> Self {
        let code = match &reason {
            NotExecuted::NoSession { .. } => Code::NoSession,
            NotExecuted::Acknowledged { .. } => Code::Acknowledged,
            NotExecuted::Mismatch { .. } => Code::Mismatch,
            NotExecuted::WindowFull { .. } => Code::WindowFull,
            NotExecuted::OutOfOrder { .. } => Code::OutOfOrder,
            NotExecuted::BatchFull => Code::BatchFull,
            NotExecuted::NoProgram => Code::NoProgram,
            NotExecuted::TooManySessions { .. } => Code::TooManySessions,
            NotExecuted::TooLarge { .. } => Code::TooLarge,
            NotExecuted::BadPolicy(_) => Code::BadPolicy,
        };
        Self::new(code, reason.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn every_code_is_found_by_its_text() {
        for &code in Code::ALL {
            assert_eq!(Code::from_text(code.text()), Some(code));
        }
        assert_eq!(Code::from_text("no-such-code"), None);
    }
}
