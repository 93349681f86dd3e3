//! Linearizability, twice: by the positions that the answers name, for every call; and without them, by a
//! search for an order, for counters whose history is short enough.

use super::{super::record::Seen, Checked, addition};
use crate::linear::{
    Call, Count, Counter,
    search::{Verdict, search},
    witness::{self, Placed},
};
use std::collections::{BTreeMap, BTreeSet};

/// Most calls of one counter that are searched.
const CALLS_MAX: usize = 600;
/// Most steps of one search.
const STEPS_MAX: u64 = 2_000_000;

pub(super) fn check(seen: &Seen, checked: &mut Checked) -> Result<(), String> {
    let keys: BTreeSet<usize> = seen.calls.iter().map(|called| called.key).collect();
    for key in keys {
        by_position(seen, key)?;
        by_search(seen, key, checked)?;
    }
    Ok(())
}

fn by_position(seen: &Seen, key: usize) -> Result<(), String> {
    let additions = seen.history.iter().filter_map(|(sequence, transition)| {
        let (of, amount, _) = addition(transition)?;
        (of == key).then_some((sequence.0, Count::Add(amount)))
    });
    let history: BTreeMap<u64, Count> = additions.collect();
    let calls = seen.calls.iter().filter(|called| called.key == key);
    let placed: Vec<Placed<Count, i64>> = calls
        .filter_map(|called| {
            let position = called.position?.0;
            Some(Placed { call: called.call.clone(), position, is_read: called.name.is_none() })
        })
        .collect();
    witness::check::<Counter>(&history, &placed).map_err(|contradiction| contradiction.to_string())
}

fn by_search(seen: &Seen, key: usize, checked: &mut Checked) -> Result<(), String> {
    let calls = seen.calls.iter().filter(|called| called.key == key);
    let calls: Vec<Call<Count, i64>> = calls.map(|called| called.call.clone()).collect();
    if calls.len() > CALLS_MAX {
        return Ok(());
    }
    checked.searched += 1;
    match search::<Counter>(&calls, STEPS_MAX) {
        Verdict::Linearizable => Ok(()),
        Verdict::TooLong => {
            checked.given_up += 1;
            Ok(())
        }
        Verdict::Violated { ordered, stuck } => Err(format!(
            "no order explains what was seen of counter {key}: after {ordered} of {} calls, {:?} fits nowhere",
            calls.len(),
            calls[stuck]
        )),
    }
}
