//! A value shown to many, and a signal for each change.
//!
//! It wakes those who wait in the order in which they came. A `tokio` watch wakes them in no fixed
//! order, and then a simulation with two readers could not be run again.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

/// A value shown to many. Clones show the same.
#[derive(Clone)]
pub(crate) struct Shown<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: Mutex<T>,
    changed: Notify,
    waiting: AtomicUsize,
}

/// One who waits, counted until dropped.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T: Clone> Shown<T> {
    pub(crate) fn new(value: T) -> Self {
        let (value, changed, waiting) = (Mutex::new(value), Notify::new(), AtomicUsize::new(0));
        Self(Arc::new(Inner { value, changed, waiting }))
    }

    /// Shows another value.
    pub(crate) fn set(&self, value: T) {
        *self.0.value.lock().unwrap_or_else(PoisonError::into_inner) = value;
        self.0.changed.notify_waiters();
    }

    /// What is shown now.
    pub(crate) fn get(&self) -> T {
        self.read(T::clone)
    }

    /// What `read` makes of what is shown now; it should be quick.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first value, from now on, for which `is_enough` holds. Waits for ever if none comes.
    pub(crate) async fn wait_for(&self, is_enough: impl Fn(&T) -> bool) -> T {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.0.waiting);
        loop {
            let mut changed = pin!(self.0.changed.notified());
            // Before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if let Some(value) = self.read(|value| is_enough(value).then(|| value.clone())) {
                return value;
            }
            changed.await;
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;
    use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let shown = Shown::new(0);
        let mut waiting: FuturesUnordered<_> =
            (0..20).map(|place| shown.wait_for(|&value| value == 7).map(move |_| place)).collect();
        assert!(waiting.next().now_or_never().is_none());
        assert_eq!(shown.waiting(), 20);
        shown.set(6);
        assert!(waiting.next().now_or_never().is_none(), "not every change is enough");
        shown.set(7);
        let woken: Vec<_> = waiting.collect().await;
        assert_eq!(woken, (0..20).collect::<Vec<_>>());
        assert_eq!(shown.waiting(), 0);
        assert_eq!(shown.wait_for(|_| true).now_or_never(), Some(7), "what is there is not waited for");
    }
}
