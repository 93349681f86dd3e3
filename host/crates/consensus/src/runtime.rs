//! Where tasks run and what time it is: the port that lets a whole cluster run in a simulation.
//!
//! Nothing in the node or in consensus spawns, sleeps, reads a clock or draws a random number
//! except through a [`Runtime`]. Channels and locks of `tokio::sync` need no runtime and are free
//! to use.

mod offset;
mod production;
mod simulation;

use futures::future::BoxFuture;
use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

pub use simulation::{Trace, simulate, simulate_traced};

/// What a runtime can do. Implemented by tokio and by the deterministic simulation.
pub trait RuntimePort: Send + Sync {
    /// Runs a future; the task ends with it.
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Task;
    /// Ready after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Time since the runtime began; never goes back.
    fn monotonic(&self) -> Duration;
    /// Milliseconds since 1970, as this machine believes.
    fn wall_millis(&self) -> u64;
    /// 64 random bits (seeded in a simulation).
    fn random(&self) -> u64;
    /// Whether this is a simulation, where blocking work runs in place.
    fn is_simulated(&self) -> bool;
}

/// A handle to a runtime; cheap to clone.
#[derive(Clone)]
pub struct Runtime(pub Arc<dyn RuntimePort>);

/// A spawned task, owned by whoever must see it end. Dropping it lets the task go on.
pub struct Task {
    /// Resolves when the task has ended.
    pub ended: BoxFuture<'static, ()>,
    /// Asks the task to stop at its next wait.
    pub abort: Box<dyn Fn() + Send + Sync>,
}

impl Runtime {
    /// The runtime of a real node. To be used within a tokio runtime.
    #[must_use]
    pub fn tokio() -> Self {
        Self(Arc::new(production::Production::new()))
    }

    /// The same runtime on a machine whose wall clock is wrong by so many milliseconds, at any time.
    #[must_use]
    pub fn with_clock_offset(&self, millis: Arc<AtomicI64>) -> Self {
        Self(Arc::new(offset::Offset { runtime: self.clone(), millis }))
    }

    /// Runs a future; the task ends with it.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Task {
        self.0.spawn(name, Box::pin(future))
    }

    /// Ready after `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }

    /// The future's output, or none if it takes longer than `duration`. The future is dropped then.
    pub async fn timeout<T>(&self, duration: Duration, future: impl Future<Output = T>) -> Option<T> {
        let sleep = self.0.sleep(duration);
        futures::pin_mut!(future);
        match futures::future::select(future, sleep).await {
            futures::future::Either::Left((output, _)) => Some(output),
            futures::future::Either::Right(((), _)) => None,
        }
    }

    /// Time since the runtime began.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    /// Milliseconds since 1970, as this machine believes.
    #[must_use]
    pub fn wall_millis(&self) -> u64 {
        self.0.wall_millis()
    }

    /// 64 random bits.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.0.random()
    }

    /// Whether this is a simulation.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.0.is_simulated()
    }
}
