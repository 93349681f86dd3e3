//! Chunks that somebody counts on although no snapshot names them yet.
//!
//! A snapshot arrives chunk by chunk, and is committed last; a retention meanwhile must not
//! collect what it already brought, nor what it was told it need not bring. Pins are memory only; what
//! no snapshot names when the archive is opened is pinned anew, for the transfer that brought it goes
//! on where it stopped. They end with the snapshot that names the chunk, or with time, since a
//! transfer that was given up tells nobody.

use althing_core::ids::Hash;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// The pinned chunks, in two generations: a pin lives through one whole period at least.
pub(super) struct Pins {
    young: BTreeSet<Hash>,
    old: BTreeSet<Hash>,
    turned: Instant,
}

/// A generation's time, so the least that a pin lasts.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// A generation's size: 64 GiB in chunks of 64 KiB.
const GENERATION_MAX: usize = 1 << 20;

impl Pins {
    pub(super) fn new(now: Instant) -> Self {
        Self { young: BTreeSet::new(), old: BTreeSet::new(), turned: now }
    }

    pub(super) fn pin(&mut self, hashes: impl IntoIterator<Item = Hash>, now: Instant) {
        self.turn(now);
        for hash in hashes {
            if self.young.len() >= GENERATION_MAX {
                self.old = std::mem::take(&mut self.young);
                self.turned = now;
            }
            self.young.insert(hash);
        }
    }

    pub(super) fn unpin(&mut self, hash: &Hash) {
        self.young.remove(hash);
        self.old.remove(hash);
    }

    pub(super) fn holds(&mut self, hash: &Hash, now: Instant) -> bool {
        self.turn(now);
        self.young.contains(hash) || self.old.contains(hash)
    }

    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.turned);
        if age < PERIOD {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if age >= 2 * PERIOD {
            self.old.clear();
        }
        self.turned = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_lasts_a_period_and_at_most_two() {
        let start = Instant::now();
        let hash = Hash([1; 32]);
        let mut pins = Pins::new(start);
        pins.pin([hash], start + PERIOD / 2);
        assert!(pins.holds(&hash, start + PERIOD));
        assert!(pins.holds(&hash, start + PERIOD * 3 / 2));
        assert!(!pins.holds(&hash, start + PERIOD * 2));
    }

    #[test]
    fn a_pin_that_nobody_asked_about_for_long_is_gone() {
        let start = Instant::now();
        let hash = Hash([1; 32]);
        let mut pins = Pins::new(start);
        pins.pin([hash], start);
        assert!(!pins.holds(&hash, start + PERIOD * 3));
    }

    #[test]
    fn unpinning_ends_it_in_any_generation() {
        let start = Instant::now();
        let hash = Hash([1; 32]);
        let mut pins = Pins::new(start);
        pins.pin([hash], start);
        pins.pin([hash], start + PERIOD);
        pins.unpin(&hash);
        assert!(!pins.holds(&hash, start + PERIOD));
    }
}
