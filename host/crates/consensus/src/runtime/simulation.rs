//! The simulated runtime: one thread, virtual time, every choice from one seed.
//!
//! Tasks run in the order in which they became ready; when none is, time jumps to the next timer.
//! The same scenario with the same seed takes the same course, shown by the hash of its [`Trace`].
//! What would break that: `tokio::select!` without `biased`, two tasks that wait on one
//! `tokio::sync::watch` receiver's channel, iteration over a `HashMap`, threads.

use super::{Runtime, RuntimePort, Task};
use futures::{
    FutureExt as _,
    future::{AbortHandle, Abortable, BoxFuture},
};
use openraft::{AsyncRuntime, Instant as _};
use openraft_rt_sim::{SimInstant, SimRuntime};
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What the clocks of a simulation show when it begins: 2026-01-01.
const BEGIN_WALL_MILLIS: u64 = 1_767_225_600_000;

/// What happened in a simulation, short enough to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// How many events: spawns, polls, wakes, timers.
    pub events: u64,
    /// Their hash, in order.
    pub hash: u64,
}

/// Runs a scenario to its end in a simulation.
///
/// # Panics
/// When the scenario panics, or waits for something that can never happen.
pub fn simulate<F, Fut>(seed: u64, scenario: F) -> Fut::Output
where
    F: FnOnce(Runtime) -> Fut,
    Fut: Future,
{
    let mut simulation = SimRuntime::with_seed(seed);
    run(&mut simulation, seed, scenario)
}

/// As [`simulate`], and says what happened. Remembers every event: for short scenarios.
///
/// # Panics
/// As [`simulate`].
pub fn simulate_traced<F, Fut>(seed: u64, scenario: F) -> (Fut::Output, Trace)
where
    F: FnOnce(Runtime) -> Fut,
    Fut: Future,
{
    let mut simulation = SimRuntime::with_seed(seed);
    simulation.record_trace(true);
    let output = run(&mut simulation, seed, scenario);
    let events = simulation.take_trace();
    let mut hasher = DefaultHasher::new();
    events.hash(&mut hasher);
    (output, Trace { events: events.len() as u64, hash: hasher.finish() })
}

fn run<F, Fut>(simulation: &mut SimRuntime, seed: u64, scenario: F) -> Fut::Output
where
    F: FnOnce(Runtime) -> Fut,
    Fut: Future,
{
    simulation.block_on(async move {
        let random = Mutex::new(SmallRng::seed_from_u64(seed));
        let panics = Arc::new(AtomicU64::new(0));
        let simulation = Simulation { random, panics: Arc::clone(&panics) };
        let output = scenario(Runtime(Arc::new(simulation))).await;
        assert_eq!(panics.load(Ordering::Relaxed), 0, "seed {seed}: a task panicked, see above");
        output
    })
}

/// The simulation around the task that runs.
struct Simulation {
    random: Mutex<SmallRng>,
    /// A simulation is a test: it fails when any of its tasks panicked.
    panics: Arc<AtomicU64>,
}

impl RuntimePort for Simulation {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Task {
        let (abort, registration) = AbortHandle::new_pair();
        let panics = Arc::clone(&self.panics);
        let task = Abortable::new(AssertUnwindSafe(future).catch_unwind(), registration);
        let handle = SimRuntime::spawn(async move {
            if let Ok(Err(_)) = task.await {
                panics.fetch_add(1, Ordering::Relaxed);
                eprintln!("the task {name} panicked");
            }
        });
        let ended = Box::pin(async move {
            let _ = handle.await;
        });
        Task { ended, abort: Box::new(move || abort.abort()) }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(SimRuntime::sleep(duration))
    }

    fn monotonic(&self) -> Duration {
        SimInstant::now().elapsed_since_start()
    }

    fn wall_millis(&self) -> u64 {
        let elapsed = u64::try_from(self.monotonic().as_millis()).expect("a simulation is shorter");
        BEGIN_WALL_MILLIS + elapsed
    }

    fn random(&self) -> u64 {
        self.random.lock().expect("nothing panics while drawing a number").next_u64()
    }

    fn is_simulated(&self) -> bool {
        true
    }
}
