//! Makes a program the community's law: its `init` if it is the first, else its `migrate`, over the
//! live state. Unless that accepts, the law stays as it was.

use super::{bounds, verdict::Verdict, work::Work};
use crate::{
    batch::{Activation, ProgramManifest},
    header,
    ids::{OperationNumber, SessionId},
    program::{Call, Fault},
    transition::{Cause, NotExecuted, Reply},
};
use bytes::Bytes;
use std::sync::Arc;

pub(super) fn execute(work: &mut Work<'_>, activation: &Activation) -> Result<Reply, Fault> {
    let too_large = bounds::actor(&activation.actor).or_else(|| bounds::program(&activation.program));
    if let Some(why) = too_large {
        return Ok(Reply::NotExecuted(why));
    }
    let verdict = if work.view.program_manifest() == Some(&activation.program) {
        Verdict::accepted(Bytes::new())
    } else if work.has_fuel() {
        replace(work, activation)?
    } else {
        return Ok(Reply::NotExecuted(NotExecuted::BatchFull));
    };
    let program = activation.program.hash();
    let cause = Cause::Activate { actor: activation.actor.clone(), program };
    Ok(Reply::Done(work.record(cause, verdict)))
}

/// Asks the new program to take over; from the next command on it is the law, if it accepts.
fn replace(work: &mut Work<'_>, activation: &Activation) -> Result<Verdict, Fault> {
    let context = work.context(activation.actor.clone(), SessionId(0), OperationNumber(0));
    let call = takeover(work.view.program_manifest(), &activation.program);
    let mut program = work.load(&activation.program)?;
    let verdict = work.consult_with(program.as_mut(), &context, call)?;
    if verdict.is_accepted() {
        header::write_program(&mut work.view.state, context.sequence, &activation.program);
        work.view.program = Some(Arc::new(activation.program.clone()));
        work.after_activation(Some(program));
    } else {
        work.after_activation(None);
    }
    Ok(verdict)
}

fn takeover(old: Option<&ProgramManifest>, new: &ProgramManifest) -> Call {
    let config = new.config.clone();
    match old {
        None => Call::Init { config },
        Some(old) => Call::Migrate { from_version: old.version.clone(), config },
    }
}
