//! Opens a client session; its id is the sequence at which that happens.

use super::{bounds, verdict::Verdict, work::Work};
use crate::{
    batch::OpenSession,
    ids::SessionId,
    sessions,
    transition::{Cause, NotExecuted, Reply},
};
use bytes::Bytes;

pub(super) fn execute(work: &mut Work<'_>, opening: &OpenSession) -> Reply {
    if let Some(why) = bounds::actor(&opening.actor) {
        return Reply::NotExecuted(why);
    }
    let open = work.view.header.sessions;
    if open >= work.view.policy.sessions.open {
        return Reply::NotExecuted(NotExecuted::TooManySessions { sessions: open });
    }
    let cause = Cause::OpenSession { actor: opening.actor.clone() };
    let receipt = work.record(cause, Verdict::accepted(Bytes::new()));
    work.view.header.sessions += 1;
    sessions::open(&mut work.view.state, SessionId(receipt.sequence.0), &opening.actor.id, receipt.time);
    Reply::Done(receipt)
}
