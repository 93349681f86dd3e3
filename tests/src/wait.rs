//! Waiting on conditions: the one place of the tests in which time passes.
//!
//! Stories never sleep; they say what must become true, and what was seen instead is told when it
//! does not.

use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until there is something to be seen.
///
/// # Panics
/// When there is nothing within [`PATIENCE`].
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look).await
}

/// As [`eventually`], with another patience.
///
/// # Panics
/// When there is nothing within `patience`.
pub async fn within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Lets time pass as a slow link does: for what stands for the world around the nodes, never for a story.
pub(crate) async fn passes(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Does something again and again for at least so long: for showing that something does *not* happen
/// while there is work.
pub async fn throughout(duration: Duration, mut work: impl AsyncFnMut()) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        work().await;
    }
}
