//! The one task that writes the archive: jobs in the order of the calls, as many as there are in
//! one transaction.
//!
//! History comes with every batch of every community and nobody waits for it, so while nothing
//! else is asked for it is gathered for a moment: an fsync per batch here would take half of the
//! disk away from the log. The first error ends the writer: see [`Health`].

use super::{
    super::{directory::Directory, facts::Facts, health::Health},
    Pending, chunks, condemned, history,
    history::Tails,
    outside::{self, Outside},
    pins::Pins,
    snapshots,
};
use crate::port::{HistoryRecord, SnapshotRecord, StoreError};
use althing_core::ids::{CommunityId, Hash, Sequence};
use bytes::Bytes;
use sqlx::{Connection, SqliteConnection};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// Jobs in one transaction.
pub(super) const DRAIN_MAX: usize = 1024;
/// How long history waits for more to come.
const HISTORY_LINGER: Duration = Duration::from_millis(50);

/// A job in the queue.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) waiter: Waiter,
}

/// Who waits for a job, if anybody, and the room that its bytes take in the queue.
pub(super) struct Waiter {
    pub(super) reply: Option<oneshot::Sender<Result<Outcome, StoreError>>>,
    pub(super) room: OwnedSemaphorePermit,
}

impl Waiter {
    fn tell(self, result: Result<Outcome, StoreError>) {
        drop(self.room);
        if let Some(reply) = self.reply {
            // Who does not wait any more need not know.
            let _ = reply.send(result);
        }
    }
}

/// What the writer can do.
pub(super) enum Job {
    MissingChunks(Vec<Hash>),
    PutChunks(Vec<(Hash, Bytes)>),
    CondemnChunks(Vec<Hash>),
    PutSnapshot(CommunityId, SnapshotRecord, Vec<Hash>),
    RetainSnapshots(CommunityId, u32),
    DropSnapshots(CommunityId, Vec<Sequence>),
    PinSnapshot(CommunityId, Sequence, String),
    UnpinSnapshot(CommunityId, Sequence),
    PutComponent(Hash, Bytes),
    DropComponent(Hash),
    AppendHistory(CommunityId, Vec<HistoryRecord>),
    PruneHistory(CommunityId, Sequence),
    TruncateHistory(CommunityId, Sequence),
    RemoveCommunity(CommunityId),
    PutFact(String, Bytes),
    Flush,
}

/// What came of a job.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    MissingChunks(Vec<Hash>),
    Dropped(BTreeSet<Sequence>),
    /// Whether what was to be changed is there.
    Found(bool),
    Refused(StoreError),
}

/// The writer of the archive.
pub(super) struct Writer {
    pub(super) connection: SqliteConnection,
    pub(super) queue: mpsc::Receiver<Queued>,
    pub(super) applier: Applier,
    /// The number of the last change.
    pub(super) number: u64,
    /// None only while it is written.
    pub(super) outside: Option<Outside>,
    /// What the node knows, as it is on disk.
    pub(super) facts: Arc<Mutex<Arc<Facts>>>,
    pub(super) pending: Arc<Pending>,
    pub(super) health: Health,
    pub(super) directory: Arc<Directory>,
}

impl Writer {
    /// Writes until every handle has gone, or the first error.
    pub(super) async fn run(mut self) {
        let mut drained = Vec::new();
        while self.queue.recv_many(&mut drained, DRAIN_MAX).await > 0 {
            self.gather_history(&mut drained).await;
            let (jobs, waiting): (Vec<Job>, Vec<Waiter>) =
                drained.drain(..).map(|Queued { job, waiter }| (job, waiter)).unzip();
            let appends = jobs.iter().filter(|job| matches!(job, Job::AppendHistory(..))).count();
            let is_awaited = waiting.iter().any(|waiter| waiter.reply.is_some());
            match self.write(jobs, is_awaited).await {
                Ok(outcomes) => {
                    self.pending.written.fetch_add(appends as u64, Ordering::Release);
                    waiting.into_iter().zip(outcomes).for_each(|(waiter, outcome)| waiter.tell(Ok(outcome)));
                }
                Err(error) => return self.fail(&error, waiting).await,
            }
        }
        if let Err(error) = self.connection.close().await {
            // What was promised is durable in SQLite's own WAL, which the next start takes up.
            tracing::warn!(%error, "archive.db was not closed cleanly");
        }
        drop(self.directory);
    }

    /// While there is nothing but history, waits a moment for more.
    async fn gather_history(&mut self, drained: &mut Vec<Queued>) {
        let deadline = Instant::now() + HISTORY_LINGER;
        while drained.len() < DRAIN_MAX && drained.iter().all(|queued| queued.waiter.reply.is_none()) {
            let room = DRAIN_MAX - drained.len();
            match timeout_at(deadline, self.queue.recv_many(drained, room)).await {
                Ok(received) if received > 0 => {}
                _ => return,
            }
        }
    }

    /// One transaction, then what is outside of the file.
    async fn write(&mut self, jobs: Vec<Job>, is_awaited: bool) -> Result<Vec<Outcome>, StoreError> {
        let failed = |source: sqlx::Error| StoreError::Io {
            what: "archive.db cannot be written".to_owned(),
            source: Box::new(source),
        };
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let outcomes = self.applier.apply_all(&mut transaction, jobs).await.map_err(failed)?;
        let number = is_awaited.then_some(self.number + 1);
        if let Some(number) = number {
            outside::step(&mut transaction, number).await.map_err(failed)?;
            self.number = number;
        }
        transaction.commit().await.map_err(failed)?;
        self.write_outside(number).await?;
        Ok(outcomes)
    }

    /// Facts that changed, and the mark if somebody is to be told; where fsyncs hold up nobody else.
    async fn write_outside(&mut self, number: Option<u64>) -> Result<(), StoreError> {
        let facts = self.applier.changed_facts();
        if facts.is_none() && number.is_none() {
            return Ok(());
        }
        let mut outside = self.outside.take().expect("it is put back after each writing");
        let written = facts.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let result = outside.write(written.as_deref(), number);
            (outside, result)
        });
        let stopped = |source| StoreError::Io {
            what: "what is outside of archive.db was not written to the end".to_owned(),
            source: Box::new(source),
        };
        let (outside, result) = writing.await.map_err(stopped)?;
        self.outside = Some(outside);
        result?;
        if let Some(facts) = facts {
            *self.facts.lock().expect("nothing panics while it holds the facts") = facts;
        }
        Ok(())
    }

    /// Tells everybody, now and later.
    async fn fail(mut self, error: &StoreError, waiting: Vec<Waiter>) {
        self.health.fail(error);
        waiting.into_iter().for_each(|waiter| waiter.tell(Err(self.health.refusal())));
        self.queue.close();
        while let Some(queued) = self.queue.recv().await {
            queued.waiter.tell(Err(self.health.refusal()));
        }
        // Closing would make a checkpoint, that is, write on where a write has failed. The directory
        // stays locked with it until the process ends.
        std::mem::forget((self.connection, self.directory));
    }
}

/// Does jobs within a transaction, with what it remembers from one to the next.
pub(super) struct Applier {
    pins: Pins,
    tails: Tails,
    facts: Facts,
    /// Whether the facts are others than on disk.
    are_changed: bool,
}

impl Applier {
    pub(super) fn new(pins: Pins, facts: &Mutex<Arc<Facts>>) -> Self {
        let facts = Facts::clone(&facts.lock().expect("nothing panics while it holds the facts"));
        Self { pins, tails: Tails::default(), facts, are_changed: false }
    }

    /// The facts, if they are others than they were asked for last.
    fn changed_facts(&mut self) -> Option<Arc<Facts>> {
        std::mem::take(&mut self.are_changed).then(|| Arc::new(self.facts.clone()))
    }

    /// To change the facts.
    fn facts_mut(&mut self) -> &mut Facts {
        self.are_changed = true;
        &mut self.facts
    }

    /// Does jobs in order. Successive appends to history become one per community: within a
    /// transaction nobody can tell.
    async fn apply_all(
        &mut self,
        connection: &mut SqliteConnection,
        jobs: Vec<Job>,
    ) -> Result<Vec<Outcome>, sqlx::Error> {
        let mut outcomes = Vec::with_capacity(jobs.len());
        let mut appends = BTreeMap::<CommunityId, Vec<HistoryRecord>>::new();
        for job in jobs {
            if let Job::AppendHistory(community, records) = job {
                appends.entry(community).or_default().extend(records);
                outcomes.push(Outcome::Done);
                continue;
            }
            self.append_history(connection, &mut appends).await?;
            outcomes.push(self.apply(connection, job).await?);
        }
        self.append_history(connection, &mut appends).await?;
        Ok(outcomes)
    }

    async fn append_history(
        &mut self,
        connection: &mut SqliteConnection,
        appends: &mut BTreeMap<CommunityId, Vec<HistoryRecord>>,
    ) -> Result<(), sqlx::Error> {
        for (community, records) in std::mem::take(appends) {
            history::append(connection, &mut self.tails, community, records).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, connection: &mut SqliteConnection, job: Job) -> Result<Outcome, sqlx::Error> {
        let Self { pins, tails, facts, .. } = self;
        match job {
            Job::MissingChunks(hashes) => {
                return Ok(Outcome::MissingChunks(chunks::missing(connection, pins, hashes).await?));
            }
            Job::PutChunks(chunks) => chunks::put(connection, pins, chunks).await?,
            Job::CondemnChunks(hashes) => condemned::condemn(connection, hashes).await?,
            Job::PutSnapshot(community, record, chunks) => {
                if let Some(hash) = snapshots::put(connection, pins, community, record, chunks).await? {
                    return Ok(Outcome::Refused(StoreError::MissingChunk { hash }));
                }
            }
            Job::RetainSnapshots(community, keep) => {
                snapshots::retain(connection, pins, facts, community, keep).await?;
            }
            Job::DropSnapshots(community, sequences) => {
                let dropped = snapshots::drop(connection, pins, facts, community, sequences).await?;
                return Ok(Outcome::Dropped(dropped));
            }
            Job::PinSnapshot(community, sequence, note) => {
                let is_there = snapshots::is_there(connection, community, sequence).await?;
                if is_there {
                    self.facts_mut().pins.insert((community, sequence), note);
                }
                return Ok(Outcome::Found(is_there));
            }
            Job::UnpinSnapshot(community, sequence) => {
                if facts.has_pinned(community, sequence) {
                    self.facts_mut().pins.remove(&(community, sequence));
                }
                return Ok(Outcome::Found(snapshots::is_there(connection, community, sequence).await?));
            }
            Job::PutComponent(hash, body) => put_component(connection, hash, body).await?,
            Job::DropComponent(hash) => drop_component(connection, hash).await?,
            Job::AppendHistory(community, records) => {
                history::append(connection, tails, community, records).await?;
            }
            Job::PruneHistory(community, keep_from) => {
                history::prune(connection, tails, community, keep_from).await?;
            }
            Job::TruncateHistory(community, from) => {
                history::truncate(connection, tails, community, from).await?;
            }
            Job::RemoveCommunity(community) => {
                if facts.pins_of(community).next().is_some() {
                    self.facts_mut().pins.retain(|(of, _), _| *of != community);
                }
                let Self { pins, tails, facts, .. } = self;
                snapshots::retain(connection, pins, facts, community, 0).await?;
                history::truncate(connection, tails, community, Sequence(0)).await?;
            }
            Job::PutFact(name, value) => drop(self.facts_mut().values.insert(name, value)),
            Job::Flush => {}
        }
        Ok(Outcome::Done)
    }
}

async fn put_component(
    connection: &mut SqliteConnection,
    hash: Hash,
    body: Bytes,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO components (hash, body) VALUES (?, ?)")
        .bind(hash.0.to_vec())
        .bind(Vec::from(body))
        .execute(connection)
        .await?;
    Ok(())
}

async fn drop_component(connection: &mut SqliteConnection, hash: Hash) -> Result<(), sqlx::Error> {
    let query = sqlx::query("DELETE FROM components WHERE hash = ?").bind(hash.0.to_vec());
    query.execute(connection).await.map(drop)
}
