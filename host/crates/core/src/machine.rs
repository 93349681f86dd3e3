//! The machine: a community's state, and what a batch makes of it.
//!
//! It promises that the same state and batch give the same transitions, byte for byte, on every
//! replica (P2), and that a fault leaves it exactly as it was (P3). It does not know what a program
//! is made of, where batches come from, or what time it is.
//!
//! A batch goes through in this order: its effective time; sessions that have expired go; timers
//! that are due fire; commands execute, each in a file of its own below; the header is written.
//! Everything that executes, whatever comes of it, is one transition with the next sequence.
//! What is not executed changes nothing.

mod activation;
mod bounds;
mod firing;
mod fold;
mod importing;
mod opening;
mod operation;
mod setting;
mod verdict;
mod work;

use crate::{
    batch::{Batch, Command, ProgramManifest},
    ids::{CommunityId, Hash, Sequence},
    origin::Origin,
    policy::Policy,
    program::{Fault, Leftovers, Program, Programs},
    records::BadState,
    state::State,
    time::Timestamp,
    transition::{Reply, Transition},
    view::View,
};
use work::Work;

/// A community as one replica has it: everything readers see, and the program, loaded.
pub struct Machine {
    view: View,
    /// Loaded when first needed, and again after a fault.
    program: Option<Box<dyn Program>>,
}

/// What came of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What happened: of the timers that fired, then of the commands that executed.
    pub transitions: Vec<Transition>,
    /// What the callers are told, one for each command, in their order.
    pub replies: Vec<Reply>,
}

impl Machine {
    /// An empty community, before its first transition. The caller has checked the policy
    /// ([`Policy::check`]).
    #[must_use]
    pub fn new(community: CommunityId, policy: Policy) -> Self {
        Self { view: View::start(community, policy), program: None }
    }

    /// The community that a state, restored from a snapshot, holds. Its program is loaded by the
    /// first batch that needs it.
    ///
    /// # Errors
    /// When the state's system records are missing or damaged, or do not go together.
    pub fn restore(state: State) -> Result<Self, BadState> {
        Ok(Self { view: View::restore(state)?, program: None })
    }

    /// Makes a batch happen: all of it, or, on a fault, nothing.
    ///
    /// # Errors
    /// A [`Fault`] when the host, not a guest, failed. Then, or if a program panics, the machine is
    /// as before, but for loading its program anew.
    pub fn apply(&mut self, batch: &Batch, programs: &mut dyn Programs) -> Result<Applied, Fault> {
        let mut work = Work::begin(self.view.clone(), self.program.take(), batch.stamp, programs);
        work.expire_sessions()?;
        firing::fire(&mut work)?;
        let replies =
            batch.commands.iter().map(|command| execute(&mut work, command)).collect::<Result<_, _>>()?;
        let finished = work.finish();
        self.view = finished.view;
        self.program = finished.program;
        Ok(Applied { transitions: finished.transitions, replies })
    }

    /// Makes this the community `community`, which goes on with the history that is here: one transition,
    /// with the next sequence, says where that comes from. What was told before stays true: sessions,
    /// answers, timers, the digest up to the transition before.
    pub fn import(&mut self, community: CommunityId, origin: Origin) -> Transition {
        let (view, transition) = importing::import(self.view.clone(), community, origin);
        self.view = view;
        self.program = None;
        transition
    }

    /// What readers see, for as long as they like.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// The state, both keyspaces.
    #[must_use]
    pub const fn state(&self) -> &State {
        self.view.state()
    }

    /// The community.
    #[must_use]
    pub const fn community(&self) -> CommunityId {
        self.view.community()
    }

    /// The last transition.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.view.sequence()
    }

    /// The digest up to and including the last transition.
    #[must_use]
    pub const fn digest(&self) -> Hash {
        self.view.digest()
    }

    /// The effective time of the last batch.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.view.time()
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        self.view.policy()
    }

    /// Gives up what the program keeps between the calls of a batch. See [`Program::release`].
    pub fn release(&mut self) -> Leftovers {
        self.program.as_mut().and_then(|program| program.release())
    }

    /// The program in force.
    #[must_use]
    pub fn program_manifest(&self) -> Option<&ProgramManifest> {
        self.view.program_manifest()
    }

    /// When the next timer is due: an idle leader proposes a batch then. It may be past.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.view.next_timer()
    }
}

fn execute(work: &mut Work<'_>, command: &Command) -> Result<Reply, Fault> {
    match command {
        Command::Operation(operation) => operation::execute(work, operation),
        Command::OpenSession(opening) => Ok(opening::execute(work, opening)),
        Command::Activate(activation) => activation::execute(work, activation),
        Command::SetPolicy(policy) => Ok(setting::execute(work, policy)),
    }
}
