//! The threads that guests run on: few, with large stacks, so that a guest meets its own limits
//! before the machine's.
//!
//! Two pools, so that questions never delay operations, and one thread that compiles. In a
//! simulation everything runs in place; the caller's thread must then have a large stack itself.

use althing_core::program::Fault;
use althing_engine::thread::spawn_guest_thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// Work that may wait for a thread; beyond it, callers wait to hand theirs over.
const WAITING_MAX: usize = 64;

/// One pool of guest threads; cheap to clone. The threads end with the last clone.
#[derive(Clone)]
pub(crate) struct GuestThreads(Mode);

#[derive(Clone)]
enum Mode {
    InPlace,
    Pool(async_channel::Sender<Work>),
}

impl GuestThreads {
    /// Runs work on the caller's thread.
    pub(crate) fn in_place() -> Self {
        Self(Mode::InPlace)
    }

    /// `threads` threads of their own.
    pub(crate) fn pool(name: &str, threads: usize) -> Result<Self, Fault> {
        let (sender, receiver) = async_channel::bounded::<Work>(WAITING_MAX);
        for number in 0..threads {
            let receiver = receiver.clone();
            let serve = move || {
                while let Ok(work) = receiver.recv_blocking() {
                    work();
                }
            };
            spawn_guest_thread(format!("{name}-{number}"), serve)
                .map_err(|error| Fault::because("a guest thread could not be started", error))?;
        }
        Ok(Self(Mode::Pool(sender)))
    }

    /// Runs `work` and waits for it.
    ///
    /// # Errors
    /// A fault when the work panicked or the pool is gone.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        self.run_and_clear(|| (work(), ())).await
    }

    /// Runs `work` and waits for the first of what it returns; the second is dropped afterwards, when
    /// nobody waits for it any more.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) async fn run_and_clear<T: Send + 'static, Rest>(
        &self,
        work: impl FnOnce() -> (T, Rest) + Send + 'static,
    ) -> Result<T, Fault> {
        let guarded = move || match catch_unwind(AssertUnwindSafe(work)) {
            Ok((outcome, rest)) => (Ok(outcome), Some(rest)),
            Err(panic) => (Err(panic), None),
        };
        let outcome = match &self.0 {
            Mode::InPlace => guarded().0,
            Mode::Pool(sender) => {
                let (done, outcome) = oneshot::channel();
                let work: Work = Box::new(move || {
                    // The asker may have given up: before, so that there is nothing to do, or meanwhile.
                    if !done.is_closed() {
                        let (outcome, rest) = guarded();
                        let _ = done.send(outcome);
                        drop(rest);
                    }
                });
                sender.send(work).await.map_err(|_| Fault::new("the guest threads have ended"))?;
                outcome.await.map_err(|_| Fault::new("the guest thread ended without an answer"))?
            }
        };
        outcome
            .map_err(|panic| Fault::new(format!("the host panicked while it ran a guest: {}", text(&panic))))
    }
}

fn text(panic: &Box<dyn std::any::Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
