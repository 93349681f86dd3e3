//! Executes a client's operation: once for each (session, number), however often it comes.

use super::{bounds, work::Work};
use crate::{
    batch::Operation,
    program::{Call, Fault},
    sessions::{self, Standing},
    transition::{Cause, NotExecuted, Reply},
};

pub(super) fn execute(work: &mut Work<'_>, operation: &Operation) -> Result<Reply, Fault> {
    let standing = sessions::standing(&work.view.state, operation, &work.session_bounds())?;
    let admitted = match standing {
        Standing::New(admitted) => admitted,
        Standing::Answered(receipt) => return Ok(Reply::Repeated(receipt)),
        Standing::Refused(why) => return Ok(Reply::NotExecuted(why)),
    };
    if let Some(why) = obstacle(work, operation) {
        return Ok(Reply::NotExecuted(why));
    }
    let context = work.context(operation.actor.clone(), operation.session, operation.number);
    let verdict = work.consult(&context, Call::Reduce { payload: operation.payload.clone() })?;
    let receipt = work.record(cause(operation), verdict);
    sessions::answer(&mut work.view.state, operation, admitted, &receipt);
    Ok(Reply::Done(receipt))
}

/// What keeps an operation that its session admits from executing.
fn obstacle(work: &Work<'_>, operation: &Operation) -> Option<NotExecuted> {
    let payload_bytes_max = work.view.policy.quotas.payload_bytes;
    if let Some(why) = bounds::actor(&operation.actor) {
        return Some(why);
    }
    if let Some(why) = bounds::within("the payload", operation.payload.len(), payload_bytes_max as usize) {
        return Some(why);
    }
    if work.view.program.is_none() {
        return Some(NotExecuted::NoProgram);
    }
    (!work.has_fuel()).then_some(NotExecuted::BatchFull)
}

fn cause(operation: &Operation) -> Cause {
    Cause::Operation {
        session: operation.session,
        number: operation.number,
        actor: operation.actor.clone(),
        payload: operation.payload.clone(),
    }
}
