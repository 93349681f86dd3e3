//! What comes in: one log entry of a community.
//!
//! Stored in the WAL and sent between nodes, so encoded by [`crate::codec`] under a version, with a
//! golden vector.

use crate::{
    actor::Actor,
    ids::{Hash, OperationName, OperationNumber, SessionId},
    policy::Policy,
    time::Timestamp,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One log entry: what the leader packed together, and when. Without commands it only lets time
/// pass, so that timers fire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's clock; the effective time is [`Timestamp::after`] the previous batch's.
    pub stamp: Timestamp,
    /// In the order of their execution, after the timers that are due.
    pub commands: Vec<Command>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Executes a client's operation.
    Operation(Operation),
    /// Opens a client session.
    OpenSession(OpenSession),
    /// Makes a program the community's law.
    Activate(Activation),
    /// Sets the community's policy.
    SetPolicy(Box<Policy>),
}

/// What a client submits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The session it belongs to.
    pub session: SessionId,
    /// Its number there: executed once, answered for ever until acknowledged.
    pub number: OperationNumber,
    /// The client has its answers up to this number: they are forgotten.
    pub acknowledged: OperationNumber,
    /// Executes only if this number of the session has been executed, so that a pipelined stream
    /// keeps its order across leaders; 0 asks for nothing.
    pub after: OperationNumber,
    /// Who asks.
    pub actor: Actor,
    /// What is asked, in the program's own words.
    pub payload: Bytes,
}

impl Operation {
    /// What it is called from the door to the subscriber.
    #[must_use]
    pub const fn name(&self) -> OperationName {
        OperationName { session: self.session, number: self.number }
    }
}

/// Opens a session; its id is the sequence at which it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// Whose session it is.
    pub actor: Actor,
}

/// Makes a program the community's law: by `init` if it is the first, by `migrate` (when the
/// reducer exports it) otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Who installs it.
    pub actor: Actor,
    /// The program.
    pub program: ProgramManifest,
}

/// What a community runs, by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramManifest {
    /// The reducer component.
    pub reducer: Hash,
    /// The validators with their configurations, in the order in which they are asked.
    pub validators: Vec<ValidatorManifest>,
    /// Given to the reducer's `init` or `migrate`.
    pub config: Bytes,
    /// The reducer's own name and version, as it described itself.
    pub name: String,
    /// The author's version.
    pub version: String,
}

impl ProgramManifest {
    /// Every component the program is made of.
    pub fn components(&self) -> impl Iterator<Item = Hash> + '_ {
        std::iter::once(self.reducer).chain(self.validators.iter().map(|validator| validator.component))
    }

    /// The program's name by content: components, configurations, order.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of("althing 2026 program v1", &crate::codec::encode(self))
    }
}

/// A validator of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorManifest {
    /// The component.
    pub component: Hash,
    /// Given to each `validate`.
    pub config: Bytes,
}
