//! What an accepted call wrote becomes state, or breaks a quota of the whole community and becomes a
//! trap.
//!
//! A quota of the community is broken by what makes more of it, never by what makes less: in a
//! community that is over its quota (the policy was tightened), what frees still goes through.

use super::verdict::Verdict;
use crate::{
    overlay::Written,
    policy::Quotas,
    records::BadState,
    state::{Keyspace, State},
    timers,
    transition::{Outcome, Trap, TrapKind},
    view::View,
};

/// Folds what an accepted call wrote into the view's state; turns the verdict into a trap if that
/// breaks a quota.
pub(super) fn fold(view: &mut View, verdict: &mut Verdict) -> Result<(), BadState> {
    let Outcome::Accepted { result } = &verdict.outcome else { return Ok(()) };
    let before = Totals { bytes: view.state.bytes(), timers: view.header.timers };
    let quotas = &view.policy.quotas;
    if before.plus_at_most(&verdict.written, result.len() as u64).excess(before, quotas).is_none() {
        view.header.timers = write(&mut view.state, before.timers, &verdict.written)?;
        return Ok(());
    }
    let mut trial = view.state.clone();
    let timers = write(&mut trial, before.timers, &verdict.written)?;
    let after = Totals { bytes: trial.bytes() + result.len() as u64, timers };
    if let Some(message) = after.excess(before, quotas) {
        verdict.outcome = Outcome::Trapped(Trap { kind: TrapKind::Quota, message, validator: None });
        verdict.written = Written::default();
    } else {
        view.state = trial;
        view.header.timers = timers;
    }
    Ok(())
}

/// What the quotas of a whole community count.
#[derive(Clone, Copy)]
struct Totals {
    /// Of the state, and of the result that the session will keep.
    bytes: u64,
    timers: u64,
}

impl Totals {
    /// No less than what comes of writing `written`; cheap to tell.
    fn plus_at_most(self, written: &Written, result_bytes: u64) -> Self {
        let pairs = written.writes.iter().filter_map(|write| {
            let value = write.value.as_ref()?;
            Some((1 + write.key.len() + value.len()) as u64)
        });
        let timers = written.timers.iter().filter_map(|change| {
            let set = change.set.as_ref()?;
            Some((2 * change.id.len() + set.payload.len()) as u64 + timers::OVERHEAD_BYTES_MAX)
        });
        Self {
            bytes: self.bytes + pairs.sum::<u64>() + timers.clone().sum::<u64>() + result_bytes,
            timers: self.timers + timers.count() as u64,
        }
    }

    /// Which quota is broken, if one is.
    fn excess(self, before: Self, quotas: &Quotas) -> Option<String> {
        let broken = |what, after: u64, before: u64, allowed: u64| {
            (after > allowed && after > before)
                .then(|| format!("quota {what}: {after} asked, {allowed} allowed"))
        };
        broken("state_bytes", self.bytes, before.bytes, quotas.state_bytes)
            .or_else(|| broken("timers", self.timers, before.timers, quotas.timers))
    }
}

/// Writes; how many timers there are then.
fn write(state: &mut State, mut timers: u64, written: &Written) -> Result<u64, BadState> {
    for change in &written.writes {
        state.put(Keyspace::Program, &change.key, change.value.clone());
    }
    for change in &written.timers {
        match &change.set {
            Some(set) => timers += u64::from(timers::schedule(state, &change.id, set)?),
            None => timers -= u64::from(timers::cancel(state, &change.id)?),
        }
    }
    Ok(timers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::CommunityId,
        overlay::TimerSet,
        policy::Policy,
        time::Timestamp,
        transition::{TimerChange, Write},
    };
    use bytes::Bytes;
    use proptest::{collection::vec, option, prelude::*};

    fn bytes() -> impl Strategy<Value = Bytes> {
        vec(0..3u8, 1..300).prop_map(Bytes::from)
    }

    fn written() -> impl Strategy<Value = Written> {
        let write = (bytes(), option::of(bytes())).prop_map(|(key, value)| Write { key, value });
        let set = (any::<u64>(), bytes())
            .prop_map(|(bits, payload)| TimerSet { at: Timestamp::from_bits(bits), payload });
        let timer = (bytes(), option::of(set)).prop_map(|(id, set)| TimerChange { id, set });
        (vec(write, 0..4), vec(timer, 0..4)).prop_map(|(writes, timers)| Written {
            writes,
            timers,
            events: Vec::new(),
        })
    }

    proptest! {
        #[test]
        fn the_cheap_bound_is_never_below_what_comes(all in vec(written(), 1..4)) {
            let mut view = View::start(CommunityId(1), Policy::default());
            for written in all {
                let before = Totals { bytes: view.state.bytes(), timers: view.header.timers };
                let most = before.plus_at_most(&written, 0);
                view.header.timers = write(&mut view.state, before.timers, &written).unwrap();
                prop_assert!(view.state.bytes() <= most.bytes);
                prop_assert!(view.header.timers <= most.timers);
            }
        }
    }
}
