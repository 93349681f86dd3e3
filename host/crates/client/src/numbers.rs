//! The numbers of a session: each given once, and how far all before are settled.
//!
//! A number is settled when its answer is had, or given up. The client tells the server up to where
//! all are settled; the server forgets those answers and never executes those numbers any more. No
//! more numbers are out at once than the session's window, so an open session never fills it.

use althing_core::ids::OperationNumber;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

#[derive(Debug)]
pub(crate) struct Numbers {
    ledger: Mutex<Ledger>,
    /// One permit per number that may still be given; numbers give theirs back when all before them
    /// are settled too.
    free: Semaphore,
}

#[derive(Debug)]
struct Ledger {
    /// The last one given.
    given: u64,
    /// All up to here are settled.
    settled: u64,
    /// Those beyond that are settled.
    ahead: BTreeSet<u64>,
}

/// A number that was given. Dropping it settles it.
#[derive(Debug)]
pub(crate) struct Number {
    numbers: Arc<Numbers>,
    number: u64,
}

impl Numbers {
    /// Gives numbers after `last`, at most `window` at once.
    pub(crate) fn after(last: OperationNumber, window: u64) -> Arc<Self> {
        let ledger = Ledger { given: last.0, settled: last.0, ahead: BTreeSet::new() };
        let permits = usize::try_from(window).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self { ledger: Mutex::new(ledger), free: Semaphore::new(permits) })
    }

    /// The next number; waits while the window is full.
    pub(crate) async fn next(self: &Arc<Self>) -> Number {
        self.free.acquire().await.expect("the semaphore is never closed").forget();
        let mut ledger = self.ledger();
        ledger.given += 1;
        Number { numbers: Arc::clone(self), number: ledger.given }
    }

    /// The next number, if the window is not full.
    pub(crate) fn try_next(self: &Arc<Self>) -> Option<Number> {
        self.free.try_acquire().ok()?.forget();
        let mut ledger = self.ledger();
        ledger.given += 1;
        Some(Number { numbers: Arc::clone(self), number: ledger.given })
    }

    /// All up to here are settled.
    pub(crate) fn settled(&self) -> OperationNumber {
        OperationNumber(self.ledger().settled)
    }

    fn settle(&self, number: u64) {
        let mut ledger = self.ledger();
        ledger.ahead.insert(number);
        let before = ledger.settled;
        while ledger.ahead.first() == Some(&(ledger.settled + 1)) {
            ledger.settled += 1;
            ledger.ahead.pop_first();
        }
        let freed = ledger.settled - before;
        drop(ledger);
        self.free.add_permits(usize::try_from(freed).expect("no more are freed than permits were given"));
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Number {
    pub(crate) fn get(&self) -> OperationNumber {
        OperationNumber(self.number)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.numbers.settle(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;
    use althing_core::ids::OperationNumber;

    #[test]
    fn numbers_are_settled_up_to_the_first_that_is_not() {
        let numbers = Numbers::after(OperationNumber(0), 3);
        let one = numbers.try_next().unwrap();
        let two = numbers.try_next().unwrap();
        let three = numbers.try_next().unwrap();
        assert_eq!([one.get().0, two.get().0, three.get().0], [1, 2, 3]);
        drop(two);
        assert_eq!(numbers.settled(), OperationNumber(0));
        assert!(numbers.try_next().is_none(), "the window is full while the first is out");
        drop(one);
        assert_eq!(numbers.settled(), OperationNumber(2));
        let four = numbers.try_next().unwrap();
        assert_eq!(four.get(), OperationNumber(4));
        assert!(numbers.try_next().is_some());
        assert!(numbers.try_next().is_none(), "three and four and five are out");
        drop(three);
        assert_eq!(numbers.settled(), OperationNumber(3));
    }
}
