//! What must hold on every run, one promise a file. Each looks at what was seen of one community, and says
//! what contradicts.

mod acknowledged;
mod leaders;
mod linearizable;
mod once;
mod reads;

use super::record::Seen;
use crate::linear::{Count, Counter, Model as _};
use althing_core::{
    ids::Sequence,
    transition::{Cause, Outcome, Transition},
};
use std::collections::BTreeMap;

/// What was looked for, for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Answers compared with the history.
    pub answers: u64,
    /// Histories of one counter whose order was searched for.
    pub searched: u64,
    /// Those whose search was given up.
    pub given_up: u64,
}

/// Everything that contradicts, and what was looked for.
#[must_use]
pub fn check(seen: &Seen) -> (Vec<String>, Checked) {
    let mut checked = Checked { answers: seen.calls.len() as u64, ..Checked::default() };
    let verdicts = [
        acknowledged::check(seen),
        once::check(seen),
        leaders::check(seen),
        reads::check(seen),
        linearizable::check(seen, &mut checked),
    ];
    (verdicts.into_iter().filter_map(Result::err).collect(), checked)
}

/// What a transition did to a counter: which, what, and what it stood at then.
fn addition(transition: &Transition) -> Option<(usize, i64, i64)> {
    let Cause::Operation { payload, .. } = &transition.cause else { return None };
    let Outcome::Accepted { result } = &transition.outcome else { return None };
    let asked: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let key = asked["name"].as_str()?.parse().ok()?;
    Some((key, asked["amount"].as_i64()?, serde_json::from_slice(result).ok()?))
}

/// What every counter stood at after every transition that changed it, by our own reckoning.
fn reckon(seen: &Seen) -> BTreeMap<usize, BTreeMap<Sequence, i64>> {
    let mut counters: BTreeMap<usize, BTreeMap<Sequence, i64>> = BTreeMap::new();
    for (&sequence, transition) in &seen.history {
        let Some((key, amount, _)) = addition(transition) else { continue };
        let counter = counters.entry(key).or_default();
        let before = counter.last_key_value().map_or_else(Counter::initial, |(_, &value)| value);
        counter.insert(sequence, Counter::step(&before, &Count::Add(amount)).0);
    }
    counters
}

#[cfg(test)]
mod tests;
