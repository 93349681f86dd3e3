//! Operations in order, many under way at once, answered in order, each executed once.
//!
//! Every operation says that it comes after the one before, so no server executes it earlier,
//! whatever is lost on the way. When a stream breaks, or an operation in the middle was not executed,
//! all unanswered ones are sent again, in order and under their numbers, on a new stream.

use crate::{
    backoff::Backoff,
    community::stub,
    error::{CallError, PipelineError},
    nodes::Link,
    numbers::Number,
    session::{Session, Submitted, submitted},
};
use althing_core::{
    ids::OperationNumber,
    refusal::{Code, Refusal, Retry},
};
use althing_proto::{Malformed, present, v1};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Operations on their way. Moves only while [`Self::next`] is awaited.
#[derive(Debug)]
pub struct Pipeline<S> {
    session: Session,
    /// None when there are no more.
    payloads: Option<S>,
    in_flight: usize,
    /// The number of the next operation.
    reserved: Option<Number>,
    /// In the order of their numbers.
    unanswered: VecDeque<Unanswered>,
    /// The last of this pipeline's operations that was executed, 0 before: what the first
    /// unanswered one comes after.
    executed: OperationNumber,
    connection: Option<Connection>,
    /// Since the last answer; none while all goes well.
    trouble: Option<Backoff>,
}

#[derive(Debug)]
struct Unanswered {
    number: Number,
    payload: Bytes,
}

#[derive(Debug)]
struct Connection {
    link: Link,
    requests: mpsc::Sender<v1::SubmitRequest>,
    answers: Streaming<v1::SubmitStreamResponse>,
}

/// The answer to one operation of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its number in the session.
    pub number: OperationNumber,
    /// What became of it, or why it was not executed; then those after it go on without it.
    pub answer: Result<Submitted, Refusal>,
}

/// What happened next.
enum Event {
    /// An operation to submit; none when there are no more.
    Payload(Option<Bytes>),
    /// An answer to the first unanswered operation.
    Answer(v1::SubmitStreamResponse),
}

impl<S: Stream<Item = Bytes> + Unpin> Pipeline<S> {
    pub(crate) fn new(session: Session, payloads: S, in_flight: usize) -> Self {
        let window = usize::try_from(session.window()).unwrap_or(usize::MAX);
        Self {
            session,
            payloads: Some(payloads),
            in_flight: in_flight.min(window).max(1),
            reserved: None,
            unanswered: VecDeque::new(),
            executed: OperationNumber(0),
            connection: None,
            trouble: None,
        }
    }

    /// The next answer, in the order of the operations; none when all are answered.
    ///
    /// Cancellation: safe; nothing is lost by dropping the future.
    ///
    /// # Errors
    /// The session or the community is gone, or nobody answers for as long as the client is patient.
    /// Nothing follows.
    pub async fn next(&mut self) -> Option<Result<Answered, PipelineError>> {
        while self.payloads.is_some() || !self.unanswered.is_empty() {
            let failure = match self.event().await {
                Ok(Event::Payload(Some(payload))) => {
                    self.submit(payload);
                    continue;
                }
                Ok(Event::Payload(None)) => {
                    self.payloads = None;
                    continue;
                }
                Ok(Event::Answer(answer)) => match self.read(answer) {
                    Ok(answered) => return Some(Ok(answered)),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            if let Err(error) = self.recover(failure).await {
                return Some(Err(error));
            }
        }
        None
    }

    /// The answers as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Answered, PipelineError>> {
        stream::unfold(self, |mut pipeline| async move {
            let next = pipeline.next().await?;
            Some((next, pipeline))
        })
    }

    /// Waits for an operation to submit or an answer to read.
    async fn event(&mut self) -> Result<Event, CallError> {
        if !self.unanswered.is_empty() && self.connection.is_none() {
            self.connect().await?;
        }
        self.reserve().await;
        let attempt = self.session.community().client().options().attempt;
        let waiting = !self.unanswered.is_empty();
        let room = self.reserved.is_some() && self.payloads.is_some();
        let payloads = self.payloads.as_mut();
        let answers = self.connection.as_mut().map(|connection| &mut connection.answers);
        // Answers first: they make room.
        tokio::select! {
            biased;
            answer = next_answer(answers), if waiting => answer.map(Event::Answer),
            payload = next_payload(payloads), if room => Ok(Event::Payload(payload)),
            () = tokio::time::sleep(attempt), if waiting => Err(CallError::NoAnswer { after: attempt }),
        }
    }

    /// Has a number ready for the next operation, if there is room for one.
    async fn reserve(&mut self) {
        let room = self.unanswered.len() < self.in_flight && self.payloads.is_some();
        if !room || self.reserved.is_some() {
            return;
        }
        self.reserved = self.session.numbers().try_next();
        if self.reserved.is_none() && self.unanswered.is_empty() {
            self.reserved = Some(self.session.numbers().next().await);
        }
    }

    /// Puts an operation on its way. Without a connection it goes out with the next.
    fn submit(&mut self, payload: Bytes) {
        let number = self.reserved.take().expect("no payload is taken without a number");
        let after = self.unanswered.back().map_or(self.executed, |before| before.number.get());
        let request = self.session.request(number.get(), after, payload.clone());
        self.unanswered.push_back(Unanswered { number, payload });
        if let Some(connection) = &self.connection {
            // Never full: it has room for all that may be unanswered. If it is closed, the answers
            // say so next.
            let _ = connection.requests.try_send(request);
        }
    }

    /// Opens a stream, beginning with all that is unanswered.
    async fn connect(&mut self) -> Result<(), CallError> {
        let (requests, outgoing) = mpsc::channel(self.in_flight);
        let mut after = self.executed;
        for Unanswered { number, payload } in &self.unanswered {
            let request = self.session.request(number.get(), after, payload.clone());
            requests.try_send(request).expect("there is room for all that may be unanswered");
            after = number.get();
        }
        let client = self.session.community().client();
        let link = client.link();
        let attempt = client.options().attempt;
        let mut communities = stub(link.channel.clone());
        let opening = communities.submit_stream(ReceiverStream::new(outgoing));
        let failure = match tokio::time::timeout(attempt, opening).await {
            Ok(Ok(response)) => {
                self.connection = Some(Connection { link, requests, answers: response.into_inner() });
                return Ok(());
            }
            Ok(Err(status)) => status.into(),
            Err(_) => CallError::NoAnswer { after: attempt },
        };
        if failure.is_of_the_node() {
            client.leave(&link);
        }
        Err(failure)
    }

    /// The answer to the first unanswered operation, if it is one that stays so.
    fn read(&mut self, told: v1::SubmitStreamResponse) -> Result<Answered, CallError> {
        use v1::submit_stream_response::Answer;
        let first = self.unanswered.front().expect("nothing is read when nothing is unanswered");
        let number = first.number.get();
        if told.number != number.0 {
            let why = format!("is {}, but {number} is the first unanswered", told.number);
            return Err(Malformed::new("number", why).into());
        }
        let answer = match present("answer", told.answer)? {
            Answer::Done(done) => {
                let submitted = submitted(number, done)?;
                self.executed = number;
                Ok(submitted)
            }
            Answer::Failed(failure) => {
                let refusal = Refusal::from(failure);
                if !is_of_the_operation(&refusal) {
                    return Err(CallError::Refused(refusal));
                }
                // Those under way come after one that is never executed: they begin anew.
                self.connection = None;
                Err(refusal)
            }
        };
        self.unanswered.pop_front();
        self.trouble = None;
        Ok(Answered { number, answer })
    }

    /// After a failure: lets go of the connection and waits, or stops for good.
    async fn recover(&mut self, failure: CallError) -> Result<(), PipelineError> {
        tracing::debug!(%failure, unanswered = self.unanswered.len(), "the pipeline begins anew");
        let client = self.session.community().client();
        if let Some(connection) = self.connection.take()
            && failure.is_of_the_node()
        {
            client.leave(&connection.link);
        }
        let patience = client.options().patience;
        let backoff = self.trouble.get_or_insert_with(|| Backoff::new(patience));
        if failure.retry() != Retry::Never && backoff.wait().await {
            return Ok(());
        }
        let first = self.unanswered.front().map_or(self.executed.next(), |first| first.number.get());
        let unanswered = self.unanswered.len();
        self.payloads = None;
        self.unanswered.clear();
        Err(PipelineError { first, unanswered, last: failure })
    }
}

async fn next_payload<S: Stream<Item = Bytes> + Unpin>(payloads: Option<&mut S>) -> Option<Bytes> {
    payloads?.next().await
}

async fn next_answer(
    answers: Option<&mut Streaming<v1::SubmitStreamResponse>>,
) -> Result<v1::SubmitStreamResponse, CallError> {
    let ended = || CallError::Refused(Refusal::new(Code::UnknownOutcome, "the server ended the stream"));
    answers.ok_or_else(ended)?.message().await?.ok_or_else(ended)
}

/// Whether a refusal is about this operation alone, and stays so.
fn is_of_the_operation(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::BadRequest | Code::TooLarge | Code::Acknowledged | Code::Mismatch)
}
