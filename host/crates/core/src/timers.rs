//! Timers in the state: due at one place of the history for everyone.
//!
//! Two system records for each: by (time, id), to find what is due; by id, to replace and cancel.

use crate::{
    overlay::TimerSet,
    records::{self, BadState},
    state::{Keyspace, State},
    time::Timestamp,
};
use bytes::Bytes;

/// Followed by the id; holds the [`TimerSet`].
const BY_ID: &[u8] = b"timer/id/";
/// Followed by the time, big-endian, and the id; holds nothing.
const BY_TIME: &[u8] = b"timer/at/";

/// The most bytes that a timer takes beyond twice its id and its payload: prefixes, keyspaces, the
/// time twice, the record's version and length.
pub(crate) const OVERHEAD_BYTES_MAX: u64 = 64;

/// Whether a timer of this id is set.
#[must_use]
pub fn is_set(state: &State, id: &[u8]) -> bool {
    state.get(Keyspace::System, &by_id(id)).is_some()
}

/// What the timer of this id is set to.
///
/// # Errors
/// When its record is damaged.
pub fn get(state: &State, id: &[u8]) -> Result<Option<TimerSet>, BadState> {
    records::get(state, "timer/id", &by_id(id))
}

/// How many timers are set in a state that may be anybody's.
///
/// # Errors
/// When a timer's two records do not go together: it would never fire, or never be gone.
pub(crate) fn count(state: &State) -> Result<u64, BadState> {
    const AT_ODDS: BadState = BadState::AtOdds { of: "timer" };
    let mut timers = 0;
    for id in records::with_prefix(state, BY_ID) {
        let set = get(state, &id)?.ok_or(AT_ODDS)?;
        state.get(Keyspace::System, &by_time(set.at, &id)).ok_or(AT_ODDS)?;
        timers += 1;
    }
    let marks = records::with_prefix(state, BY_TIME).count() as u64;
    if marks == timers { Ok(timers) } else { Err(AT_ODDS) }
}

/// When the next timer is due.
#[must_use]
pub fn next(state: &State) -> Option<Timestamp> {
    in_order(state).next().map(|(at, _)| at)
}

/// The timers due at `now`, in the order in which they fire: by (time, id); at most `limit`.
pub(crate) fn due(state: &State, now: Timestamp, limit: u32) -> Vec<(Timestamp, Bytes)> {
    in_order(state).take_while(|(at, _)| *at <= now).take(limit as usize).collect()
}

/// Sets a timer, in place of one of the same id; whether it is one more than before.
pub(crate) fn schedule(state: &mut State, id: &[u8], set: &TimerSet) -> Result<bool, BadState> {
    let replaced = cancel(state, id)?;
    records::put(state, &by_id(id), set);
    records::put_mark(state, &by_time(set.at, id));
    Ok(!replaced)
}

/// Takes a timer away; whether there was one.
pub(crate) fn cancel(state: &mut State, id: &[u8]) -> Result<bool, BadState> {
    let Some(set) = get(state, id)? else { return Ok(false) };
    records::remove(state, &by_time(set.at, id));
    records::remove(state, &by_id(id));
    Ok(true)
}

/// Takes away a timer that is due, if it still is: one that fired before it may have cancelled it or
/// set it to another time.
pub(crate) fn consume(state: &mut State, at: Timestamp, id: &[u8]) -> Result<Option<Bytes>, BadState> {
    match get(state, id)? {
        Some(set) if set.at == at => {
            cancel(state, id)?;
            Ok(Some(set.payload))
        }
        _ => Ok(None),
    }
}

fn in_order(state: &State) -> impl Iterator<Item = (Timestamp, Bytes)> + '_ {
    records::with_prefix(state, BY_TIME).filter_map(|rest| {
        let at = Timestamp::from_bits(u64::from_be_bytes(*rest.first_chunk()?));
        Some((at, rest.slice(8..)))
    })
}

fn by_id(id: &[u8]) -> Vec<u8> {
    [BY_ID, id].concat()
}

fn by_time(at: Timestamp, id: &[u8]) -> Vec<u8> {
    [BY_TIME, &at.bits().to_be_bytes(), id].concat()
}
