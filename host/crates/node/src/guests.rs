//! The threads that guests run on: few, with large stacks, so that a guest meets its own limits
//! before the machine's.
//!
//! Two pools, so that questions never delay operations, and one thread that compiles. In a
//! simulation everything runs in place; the caller's thread must then have a large stack itself.

use althing_core::program::Fault;
use althing_engine::thread::spawn_guest_thread;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{mpsc, oneshot};

type Work = Box<dyn FnOnce() + Send>;

/// Work that may wait for a thread; beyond it, callers wait to hand theirs over.
const WAITING_MAX: usize = 64;

/// One pool of guest threads; cheap to clone. The threads end with the last clone.
#[derive(Clone)]
pub(crate) struct GuestThreads(Mode);

#[derive(Clone)]
enum Mode {
    InPlace,
    Pool(mpsc::Sender<Work>),
}

impl GuestThreads {
    /// Runs work on the caller's thread.
    pub(crate) fn in_place() -> Self {
        Self(Mode::InPlace)
    }

    /// `threads` threads of their own.
    pub(crate) fn pool(name: &str, threads: usize) -> Result<Self, Fault> {
        let (sender, receiver) = mpsc::channel::<Work>(WAITING_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let receiver = receiver.clone();
            spawn_guest_thread(format!("{name}-{number}"), move || serve(&receiver))
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
        let guarded = move || catch_unwind(AssertUnwindSafe(work));
        let outcome = match &self.0 {
            Mode::InPlace => guarded(),
            Mode::Pool(sender) => {
                let (done, outcome) = oneshot::channel();
                let work: Work = Box::new(move || {
                    // The asker may have given up: before, so that there is nothing to do, or meanwhile.
                    if !done.is_closed() {
                        let _ = done.send(guarded());
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

fn serve(receiver: &Mutex<mpsc::Receiver<Work>>) {
    loop {
        let work = receiver.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match work {
            Some(work) => work(),
            None => return,
        }
    }
}

fn text(panic: &Box<dyn std::any::Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
