//! A machine whose wall clock is wrong, and jumps when it is told to.

use super::{Runtime, RuntimePort, Task};
use futures::future::BoxFuture;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

pub(super) struct Offset {
    pub(super) runtime: Runtime,
    pub(super) millis: Arc<AtomicI64>,
}

impl RuntimePort for Offset {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Task {
        self.runtime.0.spawn(name, future)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.runtime.0.sleep(duration)
    }

    fn monotonic(&self) -> Duration {
        self.runtime.0.monotonic()
    }

    fn wall_millis(&self) -> u64 {
        self.runtime.0.wall_millis().saturating_add_signed(self.millis.load(Ordering::Relaxed))
    }

    fn random(&self) -> u64 {
        self.runtime.0.random()
    }

    fn is_simulated(&self) -> bool {
        self.runtime.0.is_simulated()
    }
}
