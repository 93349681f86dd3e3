//! The runtime of a real node: tokio's tasks and timers, the machine's clocks and randomness.

use super::{RuntimePort, Task};
use futures::future::BoxFuture;
use rand::{RngCore as _, SeedableRng as _, rngs::SmallRng};
use std::{
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tokio, as of when it was made.
pub(super) struct Production {
    began: Instant,
    random: Mutex<SmallRng>,
}

impl Production {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), random: Mutex::new(SmallRng::from_os_rng()) }
    }
}

impl RuntimePort for Production {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Task {
        let handle = tokio::spawn(future);
        let abort = handle.abort_handle();
        let ended = Box::pin(async move {
            if let Err(error) = handle.await
                && error.is_panic()
            {
                tracing::error!(task = name, "a task panicked");
            }
        });
        Task { ended, abort: Box::new(move || abort.abort()) }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    fn wall_millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).expect("the clock shows less than 500 million years")
    }

    fn random(&self) -> u64 {
        self.random.lock().expect("nothing panics while drawing a number").next_u64()
    }

    fn is_simulated(&self) -> bool {
        false
    }
}
