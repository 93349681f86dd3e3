//! Answers of a pipelined stream, each to the credit of the request that it answers.
//!
//! openraft takes an answer for one to every request that ends where it ends or before, and believes that the
//! follower followed when the last of them was sent (`InflightAppendQueue::drain_acked`, 0.10.0-alpha.37). A request
//! without entries, which tells a follower what is committed, ends where the one before it ends. So an answer that
//! had been under way for long was taken for one to a request of now, and a deposed leader believed that it still
//! led: it served linearizable reads from the past (record 0026).
//!
//! Here an answer is left out while a later request that ends at the same place is unanswered: that one's answer
//! says as much. And no request is drawn from openraft while it is at an answer, because it would be counted too.

use super::types::{LogId, Types};
use futures::{Stream, StreamExt as _, stream};
use openraft::{
    AsyncRuntime,
    raft::{AppendEntriesRequest, StreamAppendResult},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker, ready},
};

/// What is under way on one stream.
#[derive(Clone, Default)]
pub(crate) struct Credit(Arc<Mutex<UnderWay>>);

#[derive(Default)]
struct UnderWay {
    /// Where the unanswered requests end, in the order in which they were drawn.
    ends: VecDeque<Option<LogId>>,
    /// Whether openraft is at an answer.
    is_answering: bool,
    /// Who wants the next request.
    waiting: Option<Waker>,
}

impl Credit {
    /// Notes a request that was drawn by itself.
    pub(crate) fn drawn<RT: AsyncRuntime>(&self, request: &AppendEntriesRequest<Types<RT>>) {
        self.under_way().ends.push_back(end_of(request));
    }

    /// The requests, drawn only between answers.
    pub(crate) fn requests<RT: AsyncRuntime>(
        self,
        mut requests: impl Stream<Item = AppendEntriesRequest<Types<RT>>> + Unpin,
    ) -> impl Stream<Item = AppendEntriesRequest<Types<RT>>> {
        stream::poll_fn(move |context| {
            // Held while openraft makes the request, so that it and its note are one step.
            let mut under_way = self.under_way();
            if under_way.is_answering {
                under_way.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
            let request = ready!(requests.poll_next_unpin(context));
            under_way.ends.extend(request.as_ref().map(end_of));
            Poll::Ready(request)
        })
    }

    /// The answers, in the order of the requests, without those that say less than the next.
    pub(crate) fn answers<RT: AsyncRuntime, E>(
        self,
        mut answers: impl Stream<Item = Result<StreamAppendResult<Types<RT>>, E>> + Unpin,
    ) -> impl Stream<Item = Result<StreamAppendResult<Types<RT>>, E>> {
        let answering = Answering(self);
        stream::poll_fn(move |context| {
            // Asked for the next one: openraft is done with the last.
            answering.is_done();
            loop {
                let answer = ready!(answers.poll_next_unpin(context));
                let is_said_again = match &answer {
                    Some(Ok(Ok(matching))) => answering.begins(matching),
                    // The stream ends with it.
                    _ => false,
                };
                if !is_said_again {
                    return Poll::Ready(answer);
                }
            }
        })
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests may be drawn again when it is dropped.
struct Answering(Credit);

impl Answering {
    /// Whether a later answer says what this one does, so that openraft is not told of it; otherwise no request is
    /// drawn until openraft is done with it.
    fn begins(&self, matching: &Option<LogId>) -> bool {
        let mut under_way = self.0.under_way();
        under_way.ends.pop_front();
        let is_said_again = under_way.ends.front().is_some_and(|end| end <= matching);
        under_way.is_answering = !is_said_again;
        is_said_again
    }

    fn is_done(&self) {
        let waiting = {
            let mut under_way = self.0.under_way();
            under_way.is_answering = false;
            under_way.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.is_done();
    }
}

/// The last entry that a follower has when it has taken a request.
fn end_of<RT: AsyncRuntime>(request: &AppendEntriesRequest<Types<RT>>) -> Option<LogId> {
    request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::{Leader, Vote};
    use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
    use openraft::{entry::RaftEntry as _, raft::StreamAppendError, vote::RaftLeaderId as _};
    use openraft_rt_tokio::TokioRuntime;

    type Request = AppendEntriesRequest<Types<TokioRuntime>>;
    type Answer = Result<StreamAppendResult<Types<TokioRuntime>>, ()>;

    fn id(index: u64) -> LogId {
        LogId::new(Leader::new(1, 1).to_committed(), index)
    }

    /// A request with the entries after `previous` up to `last`; without any if they are the same.
    fn request(previous: u64, last: u64) -> Request {
        let entries = (previous + 1..=last).map(|index| openraft::Entry::new_blank(id(index)));
        Request {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(id(previous)),
            entries: entries.collect(),
            leader_commit: None,
        }
    }

    /// A stream that openraft and a follower are at the ends of.
    struct Ends {
        /// What openraft makes.
        made: UnboundedSender<Request>,
        /// What the follower is sent.
        sent: Box<dyn Stream<Item = Request> + Unpin>,
        /// What the follower answers.
        said: UnboundedSender<Answer>,
        /// What openraft is told.
        told: Box<dyn Stream<Item = Answer> + Unpin>,
    }

    impl Ends {
        fn new() -> Self {
            let credit = Credit::default();
            let (made, requests): (_, UnboundedReceiver<Request>) = unbounded();
            let (said, answers): (_, UnboundedReceiver<Answer>) = unbounded();
            let sent = Box::new(credit.clone().requests(requests));
            let told = Box::new(credit.answers(answers));
            Self { made, sent, said, told }
        }

        fn make(&self, previous: u64, last: u64) {
            self.made.unbounded_send(request(previous, last)).unwrap();
        }

        fn say(&self, last: u64) {
            self.said.unbounded_send(Ok(Ok(Some(id(last))))).unwrap();
        }

        fn is_sent(&mut self) -> bool {
            futures::FutureExt::now_or_never(self.sent.next()).is_some()
        }

        fn is_told(&mut self) -> bool {
            futures::FutureExt::now_or_never(self.told.next()).is_some()
        }
    }

    #[test]
    fn an_answer_is_left_out_until_the_last_request_that_ends_there_is_answered() {
        let mut ends = Ends::new();
        ends.make(0, 3);
        ends.make(3, 3);
        ends.make(3, 5);
        assert!(ends.is_sent() && ends.is_sent() && ends.is_sent());
        ends.say(3);
        assert!(!ends.is_told(), "openraft would take it for an answer to the second");
        ends.say(3);
        assert!(ends.is_told(), "it is an answer to both");
        ends.say(5);
        assert!(ends.is_told());
    }

    #[test]
    fn nothing_is_drawn_while_openraft_is_at_an_answer() {
        let mut ends = Ends::new();
        ends.make(0, 3);
        assert!(ends.is_sent());
        ends.make(3, 3);
        ends.say(3);
        assert!(ends.is_told());
        assert!(!ends.is_sent(), "openraft has not counted yet what was answered");
        assert!(!ends.is_told(), "nothing more was said, but openraft asked");
        assert!(ends.is_sent());
    }

    #[test]
    fn what_ends_a_stream_is_never_left_out() {
        let ends_it = [Err(()), Ok(Err(StreamAppendError::Conflict(id(7))))];
        for answer in ends_it {
            let mut ends = Ends::new();
            // Both end where an answer that matches nothing would be.
            ends.made.unbounded_send(Request { prev_log_id: None, ..request(0, 0) }).unwrap();
            ends.made.unbounded_send(Request { prev_log_id: None, ..request(0, 0) }).unwrap();
            assert!(ends.is_sent() && ends.is_sent());
            ends.said.unbounded_send(answer).unwrap();
            assert!(ends.is_told());
        }
        let mut ends = Ends::new();
        ends.made.close_channel();
        ends.said.close_channel();
        assert!(ends.is_sent() && ends.is_told(), "nor is its end");
    }
}
