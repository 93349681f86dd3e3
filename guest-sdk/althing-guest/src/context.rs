//! Where and when a call runs: the same on every replica, and all there is. No clock, no randomness,
//! no environment.

use std::time::Duration;

/// Where and when a call runs, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The community's id.
    pub community: u64,
    /// The place this operation takes in the community's history: 1, 2, 3, … In a query, that of the
    /// last applied operation.
    pub sequence: u64,
    /// The time of the batch; in a query, of the last applied one.
    pub time: Timestamp,
    /// Who asks.
    pub actor: Actor,
    /// What names the operation.
    pub operation: OperationId,
}

/// Who submitted an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The actor's id; empty for timers and for the host itself.
    pub id: String,
    /// The roles the community gave the actor, sorted.
    pub roles: Vec<String>,
}

/// The session and number of an operation: the same pair is executed once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId {
    /// The client's session; 0 for timers and for the host itself.
    pub session: u64,
    /// The operation's number in it.
    pub number: u64,
}

/// A moment of the community's clock: it never goes back. JSON: `{"millis": …, "counter": …}`.
#[crate::data]
#[derive(Copy, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub millis: u64,
    /// Orders moments within one millisecond.
    pub counter: u16,
}

impl Context {
    /// Whether the actor has this role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.actor.roles.iter().any(|has| has == role)
    }

    /// Whether a timer, or the host itself, asks: nobody of a client's making.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.operation == OperationId::default()
    }
}

impl Timestamp {
    /// So much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { millis: self.millis.saturating_add(millis), counter: self.counter }
    }
}
