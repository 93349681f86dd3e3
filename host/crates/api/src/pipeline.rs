//! Requests in, answers out, in the same order, many at a time.
//!
//! What has arrived is gathered into a chunk; one chunk is executed while the next is gathered. So a
//! lone request never waits, and under load requests share the way. Nothing runs by itself: the
//! pipeline moves while its answers are read, so a client that does not read stops its own requests
//! by the connection's flow control, and one that leaves takes all of it along.

use futures::{
    Stream, StreamExt as _,
    future::{BoxFuture, ready},
    stream::{self, BoxStream},
};
use std::mem;
use tonic::Status;

/// Most requests of one chunk.
const CHUNK_REQUESTS_MAX: usize = 512;
/// Bytes of requests after which a chunk takes no more.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// What a pipeline does with requests.
pub(crate) trait Work<R, A>: Send + Sync + 'static {
    /// How many bytes a request holds.
    fn bytes(&self, request: &R) -> usize;
    /// Executes requests; one answer for each, in their order.
    fn execute(&self, requests: Vec<R>) -> BoxFuture<'static, Vec<A>>;
}

/// The answers to `requests`, in their order. When `requests` fails, that is said after the answers
/// to those that came before.
pub(crate) fn run<R: Send + 'static, A: Send + 'static>(
    requests: BoxStream<'static, Result<R, Status>>,
    work: impl Work<R, A>,
) -> impl Stream<Item = Result<A, Status>> + Send + 'static {
    let pipeline = Pipeline {
        requests,
        work,
        is_open: true,
        failure: None,
        gathered: Vec::new(),
        gathered_bytes: 0,
        under_way: None,
        answered: Vec::new(),
    };
    let answers = stream::unfold(pipeline, |mut pipeline| async move {
        let next = pipeline.next().await?;
        Some((next, pipeline))
    });
    answers.flat_map(|told| {
        let (answers, failure) = match told {
            Ok(answers) => (answers, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        stream::iter(answers.into_iter().map(Ok).chain(failure.map(Err)))
    })
}

struct Pipeline<R, A, W> {
    requests: BoxStream<'static, Result<R, Status>>,
    work: W,
    /// Whether more requests may come.
    is_open: bool,
    /// Why no more come, if not by the client's wish.
    failure: Option<Status>,
    gathered: Vec<R>,
    gathered_bytes: usize,
    under_way: Option<BoxFuture<'static, Vec<A>>>,
    answered: Vec<A>,
}

impl<R, A, W: Work<R, A>> Pipeline<R, A, W> {
    /// The next answers, or the failure at the end. In order of urgency: what is under way goes on,
    /// what has arrived is gathered, what is gathered sets out, and only then answers are handed out,
    /// so that the next chunk is on its way while they travel.
    async fn next(&mut self) -> Option<Result<Vec<A>, Status>> {
        loop {
            let may_gather = self.is_open && self.has_room();
            let may_begin = self.under_way.is_none() && !self.gathered.is_empty();
            tokio::select! {
                biased;
                answers = finish(&mut self.under_way), if self.under_way.is_some() => {
                    self.under_way = None;
                    self.answered.extend(answers);
                }
                request = self.requests.next(), if may_gather => self.gather(request),
                () = ready(()), if may_begin => self.begin(),
                () = ready(()), if !self.answered.is_empty() => return Some(Ok(mem::take(&mut self.answered))),
                else => return self.failure.take().map(Err),
            }
        }
    }

    fn has_room(&self) -> bool {
        self.gathered.len() < CHUNK_REQUESTS_MAX
            && self.gathered_bytes < CHUNK_BYTES_MAX
            && self.answered.len() <= CHUNK_REQUESTS_MAX
    }

    fn gather(&mut self, request: Option<Result<R, Status>>) {
        match request {
            Some(Ok(request)) => {
                self.gathered_bytes += self.work.bytes(&request);
                self.gathered.push(request);
            }
            Some(Err(failure)) => {
                self.is_open = false;
                self.failure = Some(failure);
            }
            None => self.is_open = false,
        }
    }

    fn begin(&mut self) {
        self.gathered_bytes = 0;
        self.under_way = Some(self.work.execute(mem::take(&mut self.gathered)));
    }
}

/// The answers of the chunk that is under way.
async fn finish<A>(under_way: &mut Option<BoxFuture<'static, Vec<A>>>) -> Vec<A> {
    match under_way {
        Some(under_way) => under_way.await,
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES_MAX, CHUNK_REQUESTS_MAX, Work, run};
    use futures::{
        FutureExt as _, StreamExt as _,
        channel::oneshot,
        future::BoxFuture,
        stream::{self, BoxStream},
    };
    use std::sync::{Arc, Mutex};
    use tokio::sync::mpsc;
    use tonic::Status;

    /// A chunk that is under way, and how to finish it.
    type UnderWay = (Vec<usize>, oneshot::Sender<()>);

    /// Answers each number with itself, each chunk when it is told to.
    #[derive(Clone, Default)]
    struct Echo {
        chunks: Arc<Mutex<Vec<UnderWay>>>,
        is_instant: bool,
        bytes: usize,
    }

    impl Echo {
        fn chunks(&self) -> Vec<Vec<usize>> {
            self.chunks.lock().unwrap().iter().map(|(chunk, _)| chunk.clone()).collect()
        }

        fn finish(&self) {
            let (_, done) = self.chunks.lock().unwrap().remove(0);
            done.send(()).unwrap();
        }
    }

    impl Work<usize, usize> for Echo {
        fn bytes(&self, _request: &usize) -> usize {
            self.bytes
        }

        fn execute(&self, requests: Vec<usize>) -> BoxFuture<'static, Vec<usize>> {
            let (done, is_done) = oneshot::channel();
            let is_instant = self.is_instant;
            self.chunks.lock().unwrap().push((requests.clone(), done));
            async move {
                if !is_instant {
                    is_done.await.unwrap();
                }
                requests
            }
            .boxed()
        }
    }

    fn from_receiver(receiver: mpsc::Receiver<usize>) -> BoxStream<'static, Result<usize, Status>> {
        stream::unfold(receiver, |mut receiver| async { Some((Ok(receiver.recv().await?), receiver)) })
            .boxed()
    }

    #[test]
    fn a_lone_request_sets_out_at_once_and_the_next_are_gathered_meanwhile() {
        let (requests, receiver) = mpsc::channel(16);
        let echo = Echo::default();
        let mut answers = Box::pin(run(from_receiver(receiver), echo.clone()));
        requests.try_send(1).unwrap();
        assert!(answers.next().now_or_never().is_none());
        assert_eq!(echo.chunks(), [[1]]);
        for request in 2..5 {
            requests.try_send(request).unwrap();
        }
        assert!(answers.next().now_or_never().is_none());
        assert_eq!(echo.chunks(), [[1]], "one chunk is under way at a time");
        echo.finish();
        assert_eq!(answers.next().now_or_never().unwrap().unwrap().unwrap(), 1);
        assert_eq!(echo.chunks(), [[2, 3, 4]], "the next chunk is on its way before answers are handed out");
        echo.finish();
        drop(requests);
        let rest: Vec<_> = answers.map(Result::unwrap).collect().now_or_never().unwrap();
        assert_eq!(rest, [2, 3, 4]);
    }

    #[test]
    fn chunks_are_bounded_by_number_and_by_bytes() {
        let requests =
            || -> BoxStream<'static, Result<usize, Status>> { stream::iter((0..2000).map(Ok)).boxed() };
        let echo = Echo { is_instant: true, ..Echo::default() };
        let answers: Vec<_> =
            run(requests(), echo.clone()).map(Result::unwrap).collect().now_or_never().unwrap();
        assert_eq!(answers, (0..2000).collect::<Vec<_>>());
        assert!(echo.chunks().iter().all(|chunk| chunk.len() <= CHUNK_REQUESTS_MAX));
        let echo = Echo { is_instant: true, bytes: CHUNK_BYTES_MAX / 2, ..Echo::default() };
        let answers: Vec<_> =
            run(requests(), echo.clone()).map(Result::unwrap).collect().now_or_never().unwrap();
        assert_eq!(answers.len(), 2000);
        assert!(echo.chunks().iter().all(|chunk| chunk.len() <= 2));
    }

    #[test]
    fn a_broken_stream_says_so_after_the_answers_to_what_came_before() {
        let requests = stream::iter([Ok(1), Ok(2), Err(Status::data_loss("broken")), Ok(3)]).boxed();
        let echo = Echo { is_instant: true, ..Echo::default() };
        let told: Vec<_> =
            run(requests, echo).map(|told| told.map_err(|s| s.code())).collect().now_or_never().unwrap();
        assert_eq!(told, [Ok(1), Ok(2), Err(tonic::Code::DataLoss)]);
    }
}
