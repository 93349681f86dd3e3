//! One community: opening sessions, asking, reading, following.

use crate::{
    error::{CallError, SubscribeError},
    nodes::{Client, MESSAGE_BYTES_MAX},
    session::Session,
    subscription::Subscription,
};
use althing_core::{
    actor::Actor,
    ids::{Hash, OperationNumber, Sequence, SessionId},
    limits::KEY_BYTES_MAX,
    time::Timestamp,
    transition::{Rejection, Transition, Trap},
};
use althing_proto::{Consistency, Malformed, hash, present, v1};
use bytes::Bytes;
use std::time::Duration;
use tonic::transport::Channel;
use v1::communities_client::CommunitiesClient;

/// A community of the cluster, by name or id.
#[derive(Clone, Debug)]
pub struct Community {
    client: Client,
    name: String,
}

/// What a program said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queried {
    /// The answer.
    pub answer: Answer,
    /// The state that was asked.
    pub sequence: Sequence,
    /// That state's time.
    pub time: Timestamp,
    /// That state's digest.
    pub digest: Hash,
    /// Fuel used.
    pub fuel: u64,
}

/// An answer, in one of three kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In the program's own words.
    Answered(Bytes),
    /// The program said no.
    Rejected(Rejection),
    /// The program failed.
    Trapped(Trap),
}

/// A page of the program's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Keys and values, ascending.
    pub pairs: Vec<(Bytes, Bytes)>,
    /// Where to go on; none at the end.
    pub next: Option<Bytes>,
    /// The state that was read.
    pub sequence: Sequence,
    /// That state's digest.
    pub digest: Hash,
}

/// A page of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// In order, without gaps.
    pub transitions: Vec<Transition>,
    /// The oldest that the answering node holds.
    pub oldest: Sequence,
    /// The newest that the answering node holds.
    pub newest: Sequence,
}

impl Community {
    pub(crate) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Its name or id, as given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Opens a session for `actor`. If an answer is lost on the way, another session is opened; the
    /// lost one expires unused.
    ///
    /// # Errors
    /// No such community; nobody answers; too many sessions.
    pub async fn open_session(&self, actor: Actor) -> Result<Session, CallError> {
        let request =
            v1::OpenSessionRequest { community: self.name.clone(), actor: Some(actor.clone().into()) };
        let opened = self
            .client
            .repeat(request, |channel, request| async move { stub(channel).open_session(request).await })
            .await?;
        let ttl = Duration::from_millis(opened.ttl_millis);
        Ok(Session::new(self.clone(), actor, SessionId(opened.session), opened.window, ttl))
    }

    /// Goes on with a session that was opened before, from `next` on; all numbers below are taken as
    /// answered. `window` is the one the session was opened with.
    #[must_use]
    pub fn resume_session(
        &self,
        actor: Actor,
        session: SessionId,
        next: OperationNumber,
        window: u64,
    ) -> Session {
        Session::resumed(self.clone(), actor, session, next, window)
    }

    /// Asks the program.
    ///
    /// # Errors
    /// No such community or program; nobody answers; the freshness asked for is not had in time. A
    /// program's own no is in [`Queried::answer`].
    pub async fn query(
        &self,
        actor: Actor,
        question: impl Into<Bytes>,
        consistency: Consistency,
    ) -> Result<Queried, CallError> {
        let request = v1::QueryRequest {
            community: self.name.clone(),
            actor: Some(actor.into()),
            question: question.into(),
            consistency: Some(consistency.into()),
        };
        let told = self
            .client
            .repeat(request, |channel, request| async move { stub(channel).query(request).await })
            .await?;
        Ok(queried(told)?)
    }

    /// Reads at most `limit` keys (at most 1024) from `start` up to and without `end`.
    ///
    /// # Errors
    /// No such community; nobody answers; the freshness asked for is not had in time.
    pub async fn scan(
        &self,
        start: impl Into<Bytes>,
        end: Option<Bytes>,
        limit: u32,
        consistency: Consistency,
    ) -> Result<Page, CallError> {
        let request = v1::ScanRequest {
            community: self.name.clone(),
            start: start.into(),
            end,
            limit,
            consistency: Some(consistency.into()),
        };
        let told = self
            .client
            .repeat(request, |channel, request| async move { stub(channel).scan(request).await })
            .await?;
        Ok(Page {
            pairs: told.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect(),
            next: told.next,
            sequence: Sequence(told.sequence),
            digest: hash("digest", &told.digest)?,
        })
    }

    /// Reads at most `limit` transitions (at most 1024) that the answering node holds, from `from`
    /// on; from the oldest if it is 0.
    ///
    /// # Errors
    /// No such community; nobody answers; `from` is no longer held.
    pub async fn history(&self, from: Sequence, limit: u32) -> Result<Held, CallError> {
        let request = v1::HistoryRequest { community: self.name.clone(), from: from.0, limit };
        let told = self
            .client
            .repeat(request, |channel, request| async move { stub(channel).history(request).await })
            .await?;
        let transitions = told.transitions.into_iter().map(Transition::try_from).collect::<Result<_, _>>()?;
        Ok(Held { transitions, oldest: Sequence(told.oldest), newest: Sequence(told.newest) })
    }

    /// Follows the transitions from `from` on; from now on if it is 0.
    ///
    /// # Errors
    /// No such community; nobody answers. That `from` is no longer held is told by the first
    /// [`Subscription::next`].
    pub async fn subscribe(&self, from: Sequence) -> Result<Subscription, SubscribeError> {
        let next = match from {
            Sequence(0) => {
                let newest = self.newest().await;
                newest.map_err(|last| SubscribeError::Stopped { next: from, last })?.next()
            }
            from => from,
        };
        Ok(Subscription::new(self.clone(), next))
    }

    /// The newest sequence: every operation answered before the call is at or below it.
    ///
    /// # Errors
    /// No such community; nobody answers.
    pub async fn newest(&self) -> Result<Sequence, CallError> {
        let beyond = Bytes::from(vec![0xff; KEY_BYTES_MAX]);
        Ok(self.scan(beyond, None, 1, Consistency::Linearizable).await?.sequence)
    }
}

/// What is called, over a connection.
pub(crate) fn stub(channel: Channel) -> CommunitiesClient<Channel> {
    CommunitiesClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

fn queried(told: v1::QueryResponse) -> Result<Queried, Malformed> {
    use v1::query_response::Kind;
    let answer = match present("kind", told.kind)? {
        Kind::Answer(answer) => Answer::Answered(answer),
        Kind::Rejected(rejected) => Answer::Rejected(rejected.into()),
        Kind::Trapped(trapped) => Answer::Trapped(trapped.try_into()?),
    };
    Ok(Queried {
        answer,
        sequence: Sequence(told.sequence),
        time: present("time", told.time)?.try_into()?,
        digest: hash("digest", &told.digest)?,
        fuel: told.fuel,
    })
}
