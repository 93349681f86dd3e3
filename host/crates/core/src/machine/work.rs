//! A batch in progress: a copy of the view that becomes the machine's when the batch is through.

use super::{
    fold,
    verdict::{self, Verdict},
};
use crate::{
    actor::Actor,
    digest,
    ids::{Hash, OperationNumber, SessionId},
    limits,
    overlay::{Access, Overlay},
    program::{Call, Context, Fault, Program, Programs},
    sessions,
    time::Timestamp,
    transition::{Cause, Receipt, Transition},
    view::View,
};

/// A batch in progress.
pub(super) struct Work<'a> {
    pub(super) view: View,
    program: Option<Box<dyn Program>>,
    programs: &'a mut dyn Programs,
    /// Fuel used so far in the batch.
    fuel: u64,
    transitions: Vec<Transition>,
}

/// A batch that is through.
pub(super) struct Finished {
    pub(super) view: View,
    pub(super) program: Option<Box<dyn Program>>,
    pub(super) transitions: Vec<Transition>,
}

impl<'a> Work<'a> {
    /// Begins a batch: the clock moves to its effective time.
    pub(super) fn begin(
        mut view: View,
        mut program: Option<Box<dyn Program>>,
        stamp: Timestamp,
        programs: &'a mut dyn Programs,
    ) -> Self {
        view.header.time = stamp.after(view.header.time);
        if let Some(program) = &mut program {
            program.begin_batch();
        }
        Self { view, program, programs, fuel: 0, transitions: Vec::new() }
    }

    /// Ends the batch.
    pub(super) fn finish(mut self) -> Finished {
        self.view.header.write(&mut self.view.state);
        Finished { view: self.view, program: self.program, transitions: self.transitions }
    }

    /// The batch's effective time.
    pub(super) const fn now(&self) -> Timestamp {
        self.view.header.time
    }

    /// What bounds sessions now. A state over its quota is no place for answers: then a session
    /// keeps one at most, so that what makes the state smaller still goes through.
    pub(super) fn session_bounds(&self) -> sessions::Bounds {
        let policy = &self.view.policy;
        let is_over = self.view.state.bytes() > policy.quotas.state_bytes;
        sessions::Bounds {
            now: self.now(),
            ttl_millis: policy.sessions.ttl_millis,
            window: if is_over { 1 } else { policy.sessions.window },
        }
    }

    /// Takes expired sessions away.
    pub(super) fn expire_sessions(&mut self) -> Result<(), Fault> {
        let bounds = self.session_bounds();
        self.view.header.sessions -= sessions::expire(&mut self.view.state, &bounds)?;
        Ok(())
    }

    /// Whether the batch has fuel left for any one call: a call starts with its full allowance or
    /// not at all.
    pub(super) fn has_fuel(&self) -> bool {
        let quotas = &self.view.policy.quotas;
        quotas.batch_fuel.saturating_sub(self.fuel) >= quotas.operation_fuel
    }

    /// What the guest may know of the transition to come.
    pub(super) fn context(&self, actor: Actor, session: SessionId, number: OperationNumber) -> Context {
        let sequence = self.view.header.sequence.next();
        Context { session, number, sequence, ..self.view.context(actor) }
    }

    /// Asks the community's program, and folds what it wrote into the state if that is accepted.
    pub(super) fn consult(&mut self, context: &Context, call: Call) -> Result<Verdict, Fault> {
        self.load_active()?;
        let program = self.program.take();
        let mut program = program.ok_or_else(|| Fault::new("a call without a program: this is a bug"))?;
        let verdict = self.consult_with(program.as_mut(), context, call);
        self.program = Some(program);
        verdict
    }

    /// Asks `program`, which need not be the community's yet.
    pub(super) fn consult_with(
        &mut self,
        program: &mut dyn Program,
        context: &Context,
        call: Call,
    ) -> Result<Verdict, Fault> {
        let quotas = &self.view.policy.quotas;
        let overlay = Overlay::new(self.view.state.clone(), quotas.clone(), Access::Write);
        let mut verdict = verdict::ask(program, context, call, overlay, quotas.operation_fuel)?;
        fold::fold(&mut self.view, &mut verdict)?;
        self.fuel += verdict.fuel;
        Ok(verdict)
    }

    /// Loads the program that an activation names.
    pub(super) fn load(
        &mut self,
        manifest: &crate::batch::ProgramManifest,
    ) -> Result<Box<dyn Program>, Fault> {
        let mut program = self.programs.load(manifest)?;
        program.begin_batch();
        Ok(program)
    }

    /// Puts `program` in the place of the community's, when there is one, and begins instances anew.
    pub(super) fn after_activation(&mut self, program: Option<Box<dyn Program>>) {
        self.program = program.or(self.program.take());
        if let Some(program) = &mut self.program {
            program.begin_batch();
        }
    }

    /// Makes history of what was asked and what came of it.
    pub(super) fn record(&mut self, cause: Cause, verdict: Verdict) -> Receipt {
        let Verdict { outcome, fuel, written } = verdict;
        let header = &mut self.view.header;
        let mut transition = Transition {
            sequence: header.sequence.next(),
            time: header.time,
            cause,
            outcome,
            writes: written.writes,
            events: written.events,
            timers: written.timers,
            fuel,
            digest: Hash::default(),
        };
        transition.digest = digest::step(header.digest, &transition);
        header.sequence = transition.sequence;
        header.digest = transition.digest;
        let receipt = transition.receipt();
        self.transitions.push(transition);
        receipt
    }

    fn load_active(&mut self) -> Result<(), Fault> {
        if self.program.is_none()
            && let Some(manifest) = self.view.program.clone()
        {
            self.program = Some(self.load(&manifest)?);
        }
        Ok(())
    }
}

const _: () =
    assert!(limits::BATCH_FUEL_MAX.checked_add(limits::OPERATION_FUEL_MAX).is_some(), "fuel adds up");
