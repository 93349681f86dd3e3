//! A community at one moment, for readers: cheap to clone, never changing, whatever apply does next.
//!
//! It is what the machine itself stands on: [`crate::machine::Machine`] is a view and a program.

use crate::{
    actor::Actor,
    batch::ProgramManifest,
    header::{self, Header},
    ids::{CommunityId, Hash, OperationNumber, Sequence, SessionId},
    overlay::{Access, Overlay, Page, Refused},
    policy::Policy,
    program::Context,
    records::BadState,
    sessions,
    state::State,
    time::Timestamp,
    timers,
};
use bytes::Bytes;
use std::sync::Arc;

/// A community between two batches. Cloning is O(1).
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) state: State,
    pub(crate) header: Header,
    pub(crate) policy: Arc<Policy>,
    pub(crate) program: Option<Arc<ProgramManifest>>,
}

impl View {
    /// A community before its first transition.
    pub(crate) fn start(community: CommunityId, policy: Policy) -> Self {
        let mut state = State::default();
        let header = Header::start(community);
        header.write(&mut state);
        header::write_policy(&mut state, &policy);
        Self { state, header, policy: Arc::new(policy), program: None }
    }

    /// The community that a state holds. The state may be anybody's: what executes on it relies on what its
    /// records count, so they are counted here.
    ///
    /// # Errors
    /// When its system records are missing or damaged, or do not go together.
    pub fn restore(state: State) -> Result<Self, BadState> {
        let header = Header::read(&state)?;
        let policy = Arc::new(header::read_policy(&state)?);
        let program = header::read_program(&state)?.map(Arc::new);
        header::read_programs(&state)?;
        if timers::count(&state)? != header.timers {
            return Err(BadState::AtOdds { of: "timer" });
        }
        if sessions::count(&state, header.sequence)? != header.sessions {
            return Err(BadState::AtOdds { of: "session" });
        }
        if header.timers > 0 && program.is_none() {
            return Err(BadState::Missing { record: "program" });
        }
        Ok(Self { state, header, policy, program })
    }

    /// The state, both keyspaces.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The community.
    #[must_use]
    pub const fn community(&self) -> CommunityId {
        self.header.community
    }

    /// The last transition.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.header.sequence
    }

    /// The effective time of the last batch.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.header.time
    }

    /// The digest up to and including the last transition.
    #[must_use]
    pub const fn digest(&self) -> Hash {
        self.header.digest
    }

    /// How many sessions are open.
    #[must_use]
    pub const fn sessions(&self) -> u64 {
        self.header.sessions
    }

    /// How many timers are set.
    #[must_use]
    pub const fn timers(&self) -> u64 {
        self.header.timers
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The program in force.
    #[must_use]
    pub fn program_manifest(&self) -> Option<&ProgramManifest> {
        self.program.as_deref()
    }

    /// Every program so far: the sequence of its activation and [`ProgramManifest::hash`], oldest
    /// first.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn programs(&self) -> Result<Vec<(Sequence, Hash)>, BadState> {
        header::read_programs(&self.state)
    }

    /// When the next timer is due: an idle leader proposes a batch then. It may be past.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        timers::next(&self.state)
    }

    /// What a query reads: this view, for reading only, under the policy's quotas.
    #[must_use]
    pub fn overlay(&self) -> Overlay {
        Overlay::new(self.state.clone(), self.policy.quotas.clone(), Access::Read)
    }

    /// What a query may know: the position and time of the last applied batch, and who asks.
    #[must_use]
    pub fn context(&self, actor: Actor) -> Context {
        Context {
            community: self.header.community,
            sequence: self.header.sequence,
            time: self.header.time,
            actor,
            session: SessionId(0),
            number: OperationNumber(0),
        }
    }

    /// The value of a program key.
    ///
    /// # Errors
    /// A key out of bounds.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Refused> {
        self.overlay().get(key)
    }

    /// A page of the program's keys from `start` (inclusive) to `end` (exclusive; none: to its last).
    ///
    /// # Errors
    /// Bounds out of bounds.
    pub fn scan(&self, start: &[u8], end: Option<&[u8]>, limit: u32) -> Result<Page, Refused> {
        self.overlay().scan(start, end, limit)
    }
}
