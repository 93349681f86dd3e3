//! Nothing happens twice, and the history has no gaps: each name of an operation stands in it once, each
//! sequence too, and every result is what the results before it make.

use super::{super::record::Seen, addition, reckon};
use althing_core::{ids::Sequence, transition::Cause};
use std::collections::BTreeMap;

pub(super) fn check(seen: &Seen) -> Result<(), String> {
    let mut expected = Sequence(1);
    let mut names = BTreeMap::new();
    let counters = reckon(seen);
    for (&sequence, transition) in &seen.history {
        if sequence != expected || transition.sequence != sequence {
            return Err(format!("the history has {sequence} where {expected} follows"));
        }
        expected = sequence.next();
        if let Cause::Operation { session, number, .. } = &transition.cause
            && let Some(before) = names.insert((*session, *number), sequence)
        {
            return Err(format!("operation {session}/{number} happened at {before} and at {sequence}"));
        }
        if let Some((key, _, told)) = addition(transition)
            && counters[&key][&sequence] != told
        {
            let reckoned = counters[&key][&sequence];
            return Err(format!("counter {key} stands at {reckoned} at {sequence}, the reducer says {told}"));
        }
    }
    Ok(())
}
