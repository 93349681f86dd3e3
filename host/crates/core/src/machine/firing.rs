//! Timers that are due fire, before the commands of the batch.

use super::work::Work;
use crate::{
    actor::Actor,
    ids::{OperationNumber, SessionId},
    limits,
    program::{Call, Fault},
    timers,
    transition::Cause,
};

/// Fires the timers due at the batch's beginning, by (time, id), as many as a batch may and has fuel
/// for; the others stay due. A timer that fires is gone whatever comes of its call. One that is set
/// while these fire waits for the next batch, also if it is due at once, so that no program can keep
/// a batch going.
pub(super) fn fire(work: &mut Work<'_>) -> Result<(), Fault> {
    for (at, id) in timers::due(&work.view.state, work.now(), limits::TIMERS_PER_BATCH_MAX) {
        if !work.has_fuel() {
            break;
        }
        let Some(payload) = timers::consume(&mut work.view.state, at, &id)? else { continue };
        work.view.header.timers -= 1;
        let context = work.context(Actor::default(), SessionId(0), OperationNumber(0));
        let call = Call::Timer { id: id.clone(), payload: payload.clone() };
        let verdict = work.consult(&context, call)?;
        work.record(Cause::Timer { id, payload }, verdict);
    }
    Ok(())
}
