//! The hybrid logical clock: 48 bits of milliseconds, 16 bits of counter, in one `u64`.
//!
//! Source: Kulkarni et al., *Logical Physical Clocks* (2014), reduced to what one writer per
//! community needs: the leader stamps, every replica takes `max(stamp, previous + 1)`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A moment of a community's clock. Ordered; exact; the same on every replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last moment there is: the year 10889.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `millis` after 1970 (cut to 48 bits' maximum), the `counter`th within it.
    #[must_use]
    pub const fn new(millis: u64, counter: u16) -> Self {
        const MILLIS_MAX: u64 = (1 << 48) - 1;
        let millis = if millis > MILLIS_MAX { MILLIS_MAX } else { millis };
        Self(millis << 16 | counter as u64)
    }

    /// From the 64 bits that [`Self::bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// All 64 bits; their order is the order of time.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// The place within the millisecond.
    #[must_use]
    pub const fn counter(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The effective time of a batch stamped `self` that follows one at `previous`: never back.
    #[must_use]
    pub fn after(self, previous: Self) -> Self {
        self.max(Self(previous.0.saturating_add(1)))
    }

    /// `millis` later.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self::new(self.millis().saturating_add(millis), self.counter())
    }
}

/// The leader's side of the clock: gives the stamps of its batches. Pure: whoever asks reads the wall
/// clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hlc {
    latest: Timestamp,
}

impl Hlc {
    /// The stamp of a batch proposed when the wall clock says `wall_millis` and the last batch known
    /// to be applied was at `last`: later than that, and than every stamp given before, so that
    /// batches proposed ahead of their execution execute at the times they are stamped with.
    pub fn stamp(&mut self, wall_millis: u64, last: Timestamp) -> Timestamp {
        self.latest = Timestamp::new(wall_millis, 0).after(self.latest.max(last));
        self.latest
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.counter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_never_before_the_one_it_follows() {
        let previous = Timestamp::new(100, 7);
        assert_eq!(Timestamp::new(99, 0).after(previous), Timestamp::new(100, 8));
        assert_eq!(Timestamp::new(100, 7).after(previous), Timestamp::new(100, 8));
        assert_eq!(Timestamp::new(101, 0).after(previous), Timestamp::new(101, 0));
        assert_eq!(Timestamp::new(1, 0).after(Timestamp::new(1, u16::MAX)), Timestamp::new(2, 0));
        assert_eq!(Timestamp::MAX.after(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn stamps_rise_while_the_wall_clock_stands_or_goes_back() {
        let mut clock = Hlc::default();
        let first = clock.stamp(1000, Timestamp::default());
        let second = clock.stamp(1000, Timestamp::default());
        let third = clock.stamp(400, Timestamp::default());
        assert_eq!(first, Timestamp::new(1000, 0));
        assert!(first < second && second < third);
        assert_eq!(clock.stamp(2000, Timestamp::default()), Timestamp::new(2000, 0));
    }

    #[test]
    fn a_stamp_is_later_than_the_last_batch_of_another_leader_with_a_faster_clock() {
        let ahead = Timestamp::new(5000, 3);
        assert_eq!(Hlc::default().stamp(1000, ahead), Timestamp::new(5000, 4));
    }
}
