//! A client session: operations are numbered, so that one that was sent twice is executed once
//! (promise P6).

use crate::{
    backoff::Backoff,
    community::{Community, stub},
    error::{CallError, SubmitError},
    numbers::{Number, Numbers},
    pipeline::Pipeline,
};
use althing_core::{
    actor::Actor,
    batch::Operation,
    ids::{OperationNumber, SessionId},
    refusal::Retry,
    transition::Receipt,
};
use althing_proto::{Malformed, operation, present, v1};
use bytes::Bytes;
use futures::Stream;
use std::{sync::Arc, time::Duration};

/// An open session. Cheap to clone; clones are the same session and may submit at the same time.
#[derive(Clone, Debug)]
pub struct Session {
    community: Community,
    actor: Actor,
    id: SessionId,
    window: u64,
    ttl: Option<Duration>,
    numbers: Arc<Numbers>,
}

/// What became of an operation that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its number in the session.
    pub number: OperationNumber,
    /// The answer. A program's no is in [`Receipt::outcome`].
    pub receipt: Receipt,
    /// Whether an earlier attempt was executed, so that this is its answer again.
    pub repeated: bool,
}

/// Whether earlier attempts may have been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Earlier {
    None,
    Possible,
}

impl Session {
    pub(crate) fn new(community: Community, actor: Actor, id: SessionId, window: u64, ttl: Duration) -> Self {
        let numbers = Numbers::after(OperationNumber(0), window);
        Self { community, actor, id, window, ttl: Some(ttl), numbers }
    }

    pub(crate) fn resumed(
        community: Community,
        actor: Actor,
        id: SessionId,
        next: OperationNumber,
        window: u64,
    ) -> Self {
        let numbers = Numbers::after(OperationNumber(next.0.saturating_sub(1)), window);
        Self { community, actor, id, window, ttl: None, numbers }
    }

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The most operations that may be under way at once.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.window
    }

    /// The session expires when unused for so long, if the server said.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// All operations up to this number have their answers, or were given up.
    #[must_use]
    pub fn acknowledged(&self) -> OperationNumber {
        self.numbers.settled()
    }

    pub(crate) fn community(&self) -> &Community {
        &self.community
    }

    pub(crate) fn numbers(&self) -> &Arc<Numbers> {
        &self.numbers
    }

    /// Submits one operation and waits for what became of it, sending it again under the same number
    /// while that may help. Waits first while as many operations are under way as the window allows.
    ///
    /// Cancellation: when dropped, the operation may have been executed; its number is given up, so
    /// that it is not executed later on once the session's next operation is.
    ///
    /// # Errors
    /// See [`SubmitError`]: refused, not executed in time, or not known.
    pub async fn submit(&self, payload: impl Into<Bytes>) -> Result<Submitted, SubmitError> {
        let number = self.numbers.next().await;
        self.submit_as(&number, payload.into()).await
    }

    async fn submit_as(&self, number: &Number, payload: Bytes) -> Result<Submitted, SubmitError> {
        let client = self.community.client();
        let mut backoff = Backoff::new(client.options().patience);
        let mut earlier = Earlier::None;
        loop {
            let request = self.request(number.get(), OperationNumber(0), payload.clone());
            let limit = client.options().attempt;
            let answer =
                client.attempt(limit, |channel| async move { stub(channel).submit(request).await }).await;
            let failure = match answer.and_then(|done| Ok(submitted(number.get(), done)?)) {
                Ok(submitted) => return Ok(submitted),
                Err(failure) => failure,
            };
            if may_have_been_executed(&failure) {
                earlier = Earlier::Possible;
            }
            if failure.retry() == Retry::Never || !backoff.wait().await {
                return Err(given_up(number.get(), earlier, backoff.attempts(), failure));
            }
            tracing::debug!(number = number.get().0, %failure, "submitting again");
        }
    }

    /// Submits operations in order, without waiting in between: see [`Pipeline`]. At most `in_flight`
    /// are under way (and at most the session's window).
    ///
    /// While a pipeline is under way, the session should not be used for anything else: numbers that
    /// others take in between are no part of the order.
    pub fn pipeline<S>(&self, payloads: S, in_flight: usize) -> Pipeline<S>
    where
        S: Stream<Item = Bytes> + Unpin,
    {
        Pipeline::new(self.clone(), payloads, in_flight)
    }

    /// The request that submits `payload` as `number`.
    pub(crate) fn request(
        &self,
        number: OperationNumber,
        after: OperationNumber,
        payload: Bytes,
    ) -> v1::SubmitRequest {
        let acknowledged = self.numbers.settled();
        let actor = self.actor.clone();
        let operation = Operation { session: self.id, number, acknowledged, after, actor, payload };
        operation::request(self.community.name(), operation)
    }
}

/// An answer, read.
pub(crate) fn submitted(
    number: OperationNumber,
    response: v1::SubmitResponse,
) -> Result<Submitted, Malformed> {
    let receipt = present("receipt", response.receipt)?.try_into()?;
    Ok(Submitted { number, receipt, repeated: response.repeated })
}

/// Whether the attempt that ended so may have been executed. A malformed answer is one: it says that
/// there is a receipt.
fn may_have_been_executed(failure: &CallError) -> bool {
    failure.retry() == Retry::Named || matches!(failure, CallError::Malformed(_))
}

fn given_up(number: OperationNumber, earlier: Earlier, attempts: u32, last: CallError) -> SubmitError {
    match (earlier, last) {
        (Earlier::Possible, last) => SubmitError::Unknown { number, attempts, last },
        (Earlier::None, CallError::Refused(refusal)) if refusal.code.retry() == Retry::Never => {
            SubmitError::Refused(refusal)
        }
        (Earlier::None, last) => SubmitError::NotExecuted { attempts, last },
    }
}
