//! A community's transitions, in order, each once, whatever breaks on the way.

use crate::{
    backoff::Backoff,
    community::{Community, stub},
    error::{CallError, SubscribeError},
    nodes::Link,
};
use althing_core::{
    ids::Sequence,
    refusal::{Code, Refusal, Retry},
    transition::Transition,
};
use althing_proto::v1;
use futures::{Stream, stream};
use std::collections::VecDeque;
use tokio::time::Instant;
use tonic::Streaming;

/// Follows a community. Moves only while [`Self::next`] is awaited; a server cuts those that are too
/// slow, and this goes on from where it was.
#[derive(Debug)]
pub struct Subscription {
    community: Community,
    /// The next one to be told by the server.
    wanted: Sequence,
    told: VecDeque<Transition>,
    connection: Option<Connection>,
    trouble: Option<Backoff>,
}

#[derive(Debug)]
struct Connection {
    link: Link,
    since: Instant,
    answers: Streaming<v1::SubscribeResponse>,
}

impl Subscription {
    pub(crate) fn new(community: Community, next: Sequence) -> Self {
        Self { community, wanted: next, told: VecDeque::new(), connection: None, trouble: None }
    }

    /// The sequence of the transition that [`Self::next`] gives next.
    #[must_use]
    pub fn position(&self) -> Sequence {
        self.told.front().map_or(self.wanted, |transition| transition.sequence)
    }

    /// The next transition; waits until there is one, for ever if need be.
    ///
    /// Cancellation: safe; nothing is lost by dropping the future.
    ///
    /// # Errors
    /// The transition is no longer held ([`Code::HistoryGone`]); the community is gone; nobody answers
    /// for as long as the client is patient; the server tells another sequence than the next. Called
    /// again, it tries again.
    pub async fn next(&mut self) -> Result<Transition, SubscribeError> {
        loop {
            if let Some(transition) = self.told.pop_front() {
                return Ok(transition);
            }
            match self.receive().await {
                Ok(transitions) => self.check(transitions)?,
                Err(failure) => self.recover(failure).await?,
            }
        }
    }

    /// The transitions as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Transition, SubscribeError>> {
        stream::unfold(Some(self), |subscription| async move {
            let mut subscription = subscription?;
            let next = subscription.next().await;
            let rest = next.is_ok().then_some(subscription);
            Some((next, rest))
        })
    }

    async fn receive(&mut self) -> Result<Vec<Transition>, CallError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.community, self.wanted).await?),
        };
        let message = connection.answers.message().await?;
        let ended = || CallError::Refused(Refusal::new(Code::NoLeader, "the server ended the stream"));
        let transitions = message.ok_or_else(ended)?.transitions;
        Ok(transitions.into_iter().map(Transition::try_from).collect::<Result<_, _>>()?)
    }

    /// Takes what was told, if it is what comes next.
    fn check(&mut self, transitions: Vec<Transition>) -> Result<(), SubscribeError> {
        for transition in transitions {
            if transition.sequence != self.wanted {
                self.connection = None;
                return Err(SubscribeError::OutOfSequence { next: self.wanted, found: transition.sequence });
            }
            self.wanted = self.wanted.next();
            self.told.push_back(transition);
        }
        self.trouble = None;
        Ok(())
    }

    /// After a failure: lets go of the connection and waits, or stops.
    async fn recover(&mut self, failure: CallError) -> Result<(), SubscribeError> {
        tracing::debug!(%failure, next = self.wanted.0, "the subscription begins anew");
        let options = self.community.client().options();
        if let Some(connection) = self.connection.take() {
            if failure.is_of_the_node() {
                self.community.client().leave(&connection.link);
            }
            if connection.since.elapsed() >= options.attempt {
                self.trouble = None;
            }
        }
        let backoff = self.trouble.get_or_insert_with(|| Backoff::new(options.patience));
        if failure.retry() != Retry::Never && backoff.wait().await {
            return Ok(());
        }
        self.trouble = None;
        Err(SubscribeError::Stopped { next: self.wanted, last: failure })
    }
}

async fn connect(community: &Community, from: Sequence) -> Result<Connection, CallError> {
    let client = community.client();
    let link = client.link();
    let attempt = client.options().attempt;
    let request = v1::SubscribeRequest { community: community.name().to_owned(), from: from.0 };
    let mut communities = stub(link.channel.clone());
    let failure = match tokio::time::timeout(attempt, communities.subscribe(request)).await {
        Ok(Ok(response)) => {
            let answers = response.into_inner();
            return Ok(Connection { link, since: Instant::now(), answers });
        }
        Ok(Err(status)) => status.into(),
        Err(_) => CallError::NoAnswer { after: attempt },
    };
    if failure.is_of_the_node() {
        client.leave(&link);
    }
    Err(failure)
}
