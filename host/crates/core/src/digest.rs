//! The digest chain: 32 bytes that stand for a whole history.
//!
//! `digest(0)` is the hash of the community's id; `digest(n)` the keyed hash of `digest(n-1)` and
//! the canonical encoding of transition `n` (with its own digest field zero). Equal digests at equal
//! sequences mean equal histories, as far as BLAKE3 holds.

use crate::{
    codec,
    ids::{CommunityId, Hash, Sequence},
    time::Timestamp,
    transition::{Cause, Event, Outcome, TimerChange, Transition, Write},
};
use serde::Serialize;

const DOMAIN_START: &str = "althing 2026 digest start v1";
const DOMAIN_STEP: &str = "althing 2026 digest step v1";

/// The digest before the first transition.
#[must_use]
pub fn start(community: CommunityId) -> Hash {
    Hash::of(DOMAIN_START, &community.0.to_be_bytes())
}

/// The digest after `transition`, whose own `digest` field is not looked at.
#[must_use]
pub fn step(previous: Hash, transition: &Transition) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN_STEP);
    hasher.update(&previous.0);
    hasher.update(&codec::encode(&Undigested::from(transition)));
    Hash(*hasher.finalize().as_bytes())
}

/// A [`Transition`] without its digest, borrowed; encodes as the transition with digest zero does.
#[derive(Serialize)]
struct Undigested<'a> {
    sequence: Sequence,
    time: Timestamp,
    cause: &'a Cause,
    outcome: &'a Outcome,
    writes: &'a [Write],
    events: &'a [Event],
    timers: &'a [TimerChange],
    fuel: u64,
    digest: Hash,
}

impl<'a> From<&'a Transition> for Undigested<'a> {
    fn from(transition: &'a Transition) -> Self {
        let Transition { sequence, time, cause, outcome, writes, events, timers, fuel, digest: _ } =
            transition;
        Self {
            sequence: *sequence,
            time: *time,
            cause,
            outcome,
            writes,
            events,
            timers,
            fuel: *fuel,
            digest: Hash::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_borrowed_transition_encodes_as_the_owned_one_with_digest_zero() {
        let transition = Transition {
            sequence: Sequence(7),
            time: Timestamp::new(1, 2),
            cause: Cause::Timer { id: Bytes::from_static(b"t"), payload: Bytes::from_static(b"p") },
            outcome: Outcome::Accepted { result: Bytes::from_static(b"r") },
            writes: vec![Write { key: Bytes::from_static(b"k"), value: None }],
            events: vec![Event { name: "e".into(), data: Bytes::from_static(b"d") }],
            timers: vec![TimerChange { id: Bytes::from_static(b"i"), set: None }],
            fuel: 9,
            digest: Hash([7; 32]),
        };
        let zero = Transition { digest: Hash::default(), ..transition.clone() };
        assert_eq!(codec::encode(&Undigested::from(&transition)), codec::encode(&zero));
        assert_eq!(step(Hash::default(), &transition), step(Hash::default(), &zero));
        let other = Transition { fuel: 10, ..transition.clone() };
        assert_ne!(step(Hash::default(), &transition), step(Hash::default(), &other));
    }
}
