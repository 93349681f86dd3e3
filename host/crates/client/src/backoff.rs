//! How long to wait before the next attempt, and when to give up.

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::time::Duration;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(500);

/// The pauses between attempts: each twice the one before, with jitter, until a deadline.
#[derive(Debug)]
pub(crate) struct Backoff {
    deadline: Instant,
    pause: Duration,
    attempts: u32,
}

impl Backoff {
    /// Begins with the first attempt; gives up after `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { deadline: Instant::now() + patience, pause: FIRST, attempts: 1 }
    }

    /// Attempts so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Waits before the next attempt; false, at once, if the deadline would pass meanwhile.
    pub(crate) async fn wait(&mut self) -> bool {
        let pause = self.pause.mul_f64(SmallRng::from_os_rng().random_range(0.5..1.0));
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        self.attempts += 1;
        true
    }
}
