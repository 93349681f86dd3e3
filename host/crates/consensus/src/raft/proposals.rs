//! Proposals that wait for their execution, so that each gets exactly one answer in bounded time.

use super::{answers, types::Types};
use crate::port::{Committed, ProposeError};
use openraft::{AsyncRuntime, raft::ClientWriteResult};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::oneshot;

type Answer = Result<Committed, ProposeError>;

/// The proposals of one group that wait.
#[derive(Default)]
pub(crate) struct Proposals(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    /// By number, so in the order in which they were made.
    callers: BTreeMap<u64, (Duration, oneshot::Sender<Answer>)>,
}

/// One proposal that waits. Dropped without an answer, its caller is told that nobody knows.
pub(crate) struct Pending {
    number: u64,
    proposals: Arc<Proposals>,
}

impl Proposals {
    /// Notes a proposal made `now`.
    pub(crate) fn begin(self: &Arc<Self>, now: Duration) -> (Pending, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.callers.insert(number, (now, sender));
        (Pending { number, proposals: Arc::clone(self) }, receiver)
    }

    /// Tells the callers of proposals made before `then` that nobody knows.
    pub(crate) fn give_up(&self, then: Duration) {
        let mut waiting = self.lock();
        while let Some(oldest) = waiting.callers.first_entry()
            && oldest.get().0 < then
        {
            let (_, caller) = oldest.remove();
            let _ = caller.send(Err(ProposeError::Unknown));
        }
    }

    /// When the proposal that waits longest was made.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.lock().callers.values().next().map(|(began, _)| *began)
    }

    fn answer(&self, number: u64, answer: Answer) {
        let caller = self.lock().callers.remove(&number);
        if let Some((_, caller)) = caller {
            // The caller may have lost interest.
            let _ = caller.send(answer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().expect("nothing panics while it holds the proposals")
    }
}

impl Pending {
    /// Answers the caller.
    pub(crate) fn answer<RT: AsyncRuntime>(self, result: ClientWriteResult<Types<RT>>) {
        self.proposals.answer(self.number, answers::proposal(result));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.proposals.answer(self.number, Err(ProposeError::Unknown));
    }
}
