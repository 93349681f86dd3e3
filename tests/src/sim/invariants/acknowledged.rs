//! What a client was told happened: at the sequence it was told, with that answer, on every replica that
//! told its history.

use super::{super::record::Seen, addition};
use althing_core::transition::Cause;

pub(super) fn check(seen: &Seen) -> Result<(), String> {
    for called in &seen.calls {
        let (Some(name), Some(position)) = (called.name, called.position) else { continue };
        let Some(transition) = seen.history.get(&position) else {
            return Err(format!("{called:?} was acknowledged and is not in the history"));
        };
        let is_it = matches!(&transition.cause, Cause::Operation { session, number, .. }
            if (*session, *number) == (name.session, name.number));
        let answer = called.call.answered.map(|(_, value)| value);
        if !is_it || addition(transition).map(|(_, _, value)| value) != answer {
            return Err(format!("{called:?} was acknowledged, and {transition:?} is there"));
        }
    }
    Ok(())
}
