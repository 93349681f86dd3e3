//! The archive on disk: `archive.db`, and [`outside`] of it what SQLite must not lose.
//!
//! Writes go through one queue to the [`writer`] and keep their order; all but the appending of
//! history wait until they are durable. Reads go to the file beside it. Every call may be cancelled:
//! before it is queued nothing has happened, afterwards it takes effect though nobody waits.

mod chunks;
mod condemned;
mod history;
mod inherited;
mod look;
mod outside;
mod pins;
mod snapshots;
mod writer;

use super::{
    OpenError, Settings,
    database::{Database, Format, close_as_found, opening},
    directory::Directory,
    facts::Facts,
    health::Health,
};
use crate::port::{Archive, ComponentRecord, HistoryRecord, SnapshotRecord, StoreError};
use althing_core::ids::{CommunityId, Hash, Sequence};
use async_trait::async_trait;
use bytes::Bytes;
pub(super) use look::{ArchiveFile, look};
use outside::Outside;
pub(super) use outside::check_there;
use pins::Pins;
use sqlx::{SqliteConnection, SqlitePool};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};
use writer::{Applier, Job, Outcome, Queued, Waiter, Writer};

const FORMAT: Format = Format {
    application_id: 0x416c_5441, // "AlTA"
    schemas: &[include_str!("schema.sql"), include_str!("schema-2.sql"), include_str!("schema-3.sql")],
    // Bodies are large: fewer, longer steps through their overflow pages.
    page_bytes: 16 << 10,
    // 16 MiB.
    checkpoint_pages: 1024,
};

/// Calls that wait for the writer.
const QUEUE_MAX: usize = writer::DRAIN_MAX;
/// Bytes that wait for the writer.
const QUEUE_BYTES_MAX: u32 = 128 << 20;

/// The archive on disk.
pub(super) struct SqliteArchive {
    readers: SqlitePool,
    facts: Arc<Mutex<Arc<Facts>>>,
    health: Health,
    pending: Arc<Pending>,
    room: Arc<Semaphore>,
    closed: AtomicBool,
    /// The queue's only strong end, until it is closed.
    queue: Mutex<Option<mpsc::Sender<Queued>>>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// Appends of history, which nobody waits for: how many were queued, and how many are in the file.
#[derive(Default)]
struct Pending {
    queued: AtomicU64,
    written: AtomicU64,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.written.load(Ordering::Acquire) >= self.queued.load(Ordering::Acquire)
    }
}

impl SqliteArchive {
    /// Opens `archive.db` and what is outside of it, and starts its writer. Where something is known of the
    /// node, or `is_used` says so, there was an archive.
    pub(super) async fn open(
        directory: Arc<Directory>,
        settings: Settings,
        is_used: bool,
    ) -> Result<Self, OpenError> {
        outside::check_there(directory.path(), is_used)?;
        let path = directory.file("archive.db");
        let Database { mut writer, readers } =
            Database::open(&path, &FORMAT, settings.archive_readers, 0).await?;
        let prepared = match prepare(&directory, &mut writer, is_used).await {
            Ok(prepared) => prepared,
            Err(error) => {
                readers.close().await;
                close_as_found(writer, &path).await;
                return Err(error);
            }
        };
        let Prepared { outside, found, pins } = prepared;
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (health, pending) = (Health::new("archive"), Arc::new(Pending::default()));
        let facts = Arc::new(Mutex::new(Arc::new(found.facts)));
        let task = Writer {
            connection: writer,
            queue,
            applier: Applier::new(pins, &facts),
            number: found.number,
            outside: Some(outside),
            facts: facts.clone(),
            pending: pending.clone(),
            health: health.clone(),
            directory,
        };
        Ok(Self {
            readers,
            facts,
            health,
            pending,
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize)),
            closed: AtomicBool::new(false),
            queue: Mutex::new(Some(sender)),
            writer: tokio::sync::Mutex::new(Some(tokio::spawn(task.run()))),
        })
    }

    /// What the node knows, as it is on disk.
    fn facts(&self) -> Result<Arc<Facts>, StoreError> {
        self.check()?;
        Ok(self.facts.lock().expect("nothing panics while it holds the facts").clone())
    }

    fn check(&self) -> Result<(), StoreError> {
        self.health.check()?;
        if self.closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// Queues a job of so many bytes.
    async fn enqueue(
        &self,
        job: Job,
        bytes: usize,
        reply: Option<oneshot::Sender<Result<Outcome, StoreError>>>,
    ) -> Result<(), StoreError> {
        let room = u32::try_from(bytes).unwrap_or(u32::MAX).min(QUEUE_BYTES_MAX);
        let room = self.room.clone().acquire_many_owned(room).await.expect("the room is never closed");
        self.check()?;
        let queue = self.queue.lock().expect("nothing panics while it holds the queue").clone();
        let queue = queue.ok_or_else(|| self.health.refusal())?;
        let slot = queue.reserve_owned().await.map_err(|_| self.health.refusal())?;
        if matches!(job, Job::AppendHistory(..)) {
            self.pending.queued.fetch_add(1, Ordering::Release);
        }
        slot.send(Queued { job, waiter: Waiter { reply, room } });
        Ok(())
    }

    /// Queues a job, and waits until it is done and durable.
    async fn request(&self, job: Job, bytes: usize) -> Result<Outcome, StoreError> {
        let (reply, outcome) = oneshot::channel();
        self.enqueue(job, bytes, Some(reply)).await?;
        match outcome.await.unwrap_or_else(|_| Err(self.health.refusal()))? {
            Outcome::Refused(error) => Err(error),
            outcome => Ok(outcome),
        }
    }

    async fn perform(&self, job: Job, bytes: usize) -> Result<(), StoreError> {
        self.request(job, bytes).await.map(drop)
    }

    /// Queues a job, waits for it, and says whether what it was to change is there.
    async fn find(&self, job: Job, bytes: usize) -> Result<bool, StoreError> {
        match self.request(job, bytes).await? {
            Outcome::Found(found) => Ok(found),
            other => unreachable!("{other:?} is no outcome of this job"),
        }
    }

    /// One blob by its key.
    async fn blob(&self, sql: &'static str, key: Vec<u8>, what: &str) -> Result<Option<Bytes>, StoreError> {
        self.check()?;
        let body: Option<Vec<u8>> = sqlx::query_scalar(sql)
            .bind(key)
            .fetch_optional(&self.readers)
            .await
            .map_err(|source| reading(what.to_owned(), source))?;
        Ok(body.map(Bytes::from))
    }
}

/// What is needed beside the file.
struct Prepared {
    outside: Outside,
    found: outside::Found,
    pins: Pins,
}

async fn prepare(
    directory: &Directory,
    writer: &mut SqliteConnection,
    is_used: bool,
) -> Result<Prepared, OpenError> {
    let (outside, found) = Outside::open(directory, writer, is_used).await?;
    let mut pins = Pins::new(Instant::now());
    let begun = chunks::unnamed(writer).await;
    pins.pin(begun.map_err(|error| opening(&directory.file("archive.db"), error))?, Instant::now());
    Ok(Prepared { outside, found, pins })
}

/// An error of reading `what`.
fn reading(what: String, source: sqlx::Error) -> StoreError {
    match source {
        sqlx::Error::PoolClosed => StoreError::Closed,
        source => StoreError::Io {
            what: format!("{what} cannot be read from archive.db"),
            source: Box::new(source),
        },
    }
}

#[async_trait]
impl Archive for SqliteArchive {
    async fn missing_chunks(&self, hashes: &[Hash]) -> Result<Vec<Hash>, StoreError> {
        match self.request(Job::MissingChunks(hashes.to_vec()), size_of_val(hashes)).await? {
            Outcome::MissingChunks(missing) => Ok(missing),
            other => unreachable!("{other:?} is no outcome of this job"),
        }
    }

    async fn put_chunks(&self, chunks: Vec<(Hash, Bytes)>) -> Result<(), StoreError> {
        let bytes = chunks.iter().map(|(_, body)| body.len()).sum();
        self.perform(Job::PutChunks(chunks), bytes).await
    }

    async fn stored_chunks(&self, after: Option<Hash>, limit: u32) -> Result<Vec<Hash>, StoreError> {
        self.check()?;
        let stored = chunks::stored(&self.readers, after, limit).await;
        stored.map_err(|source| reading("the list of chunks".to_owned(), source))
    }

    async fn condemn_chunks(&self, hashes: Vec<Hash>) -> Result<(), StoreError> {
        self.perform(Job::CondemnChunks(hashes), 0).await
    }

    async fn condemned_chunks(&self, limit: u32) -> Result<Vec<Hash>, StoreError> {
        self.check()?;
        let listed = condemned::list(&self.readers, limit).await;
        listed.map_err(|source| reading("the list of condemned chunks".to_owned(), source))
    }

    async fn damaged_snapshots(&self, community: CommunityId) -> Result<BTreeMap<Sequence, u64>, StoreError> {
        self.check()?;
        let damaged = condemned::in_snapshots(&self.readers, community).await;
        damaged.map_err(|source| reading(format!("the snapshots of community {community}"), source))
    }

    async fn chunk(&self, hash: Hash) -> Result<Option<Bytes>, StoreError> {
        let sql = "SELECT body FROM chunks WHERE hash = ?1 \
                   AND NOT EXISTS (SELECT 1 FROM condemned_chunks WHERE hash = ?1)";
        self.blob(sql, hash.0.to_vec(), "a chunk").await
    }

    async fn put_snapshot(
        &self,
        community: CommunityId,
        record: SnapshotRecord,
        chunks: Vec<Hash>,
    ) -> Result<(), StoreError> {
        let bytes = record.manifest.len();
        self.perform(Job::PutSnapshot(community, record, chunks), bytes).await
    }

    async fn snapshots(&self, community: CommunityId) -> Result<Vec<SnapshotRecord>, StoreError> {
        self.check()?;
        let listed = snapshots::list(&self.readers, community).await;
        listed.map_err(|source| reading(format!("the snapshots of community {community}"), source))
    }

    async fn pin_snapshot(
        &self,
        community: CommunityId,
        sequence: Sequence,
        note: String,
    ) -> Result<bool, StoreError> {
        let bytes = note.len();
        self.find(Job::PinSnapshot(community, sequence, note), bytes).await
    }

    async fn unpin_snapshot(&self, community: CommunityId, sequence: Sequence) -> Result<bool, StoreError> {
        self.find(Job::UnpinSnapshot(community, sequence), 0).await
    }

    async fn pinned_snapshots(
        &self,
        community: CommunityId,
    ) -> Result<BTreeMap<Sequence, String>, StoreError> {
        Ok(self.facts()?.pins_of(community).map(|(sequence, note)| (sequence, note.clone())).collect())
    }

    async fn drop_snapshots(
        &self,
        community: CommunityId,
        sequences: Vec<Sequence>,
    ) -> Result<BTreeSet<Sequence>, StoreError> {
        match self.request(Job::DropSnapshots(community, sequences), 0).await? {
            Outcome::Dropped(dropped) => Ok(dropped),
            other => unreachable!("{other:?} is no outcome of this job"),
        }
    }

    async fn retain_snapshots(&self, community: CommunityId, keep: u32) -> Result<(), StoreError> {
        self.perform(Job::RetainSnapshots(community, keep), 0).await
    }

    async fn put_component(&self, hash: Hash, body: Bytes) -> Result<(), StoreError> {
        let bytes = body.len();
        self.perform(Job::PutComponent(hash, body), bytes).await
    }

    async fn drop_component(&self, hash: Hash) -> Result<(), StoreError> {
        self.perform(Job::DropComponent(hash), 0).await
    }

    async fn component(&self, hash: Hash) -> Result<Option<Bytes>, StoreError> {
        self.blob("SELECT body FROM components WHERE hash = ?", hash.0.to_vec(), "a component").await
    }

    async fn components(&self) -> Result<Vec<ComponentRecord>, StoreError> {
        self.check()?;
        let rows: Vec<(Vec<u8>, i64)> =
            sqlx::query_as("SELECT hash, length(body) FROM components ORDER BY hash")
                .fetch_all(&self.readers)
                .await
                .map_err(|source| reading("the list of components".to_owned(), source))?;
        let record = |(hash, bytes): (Vec<u8>, i64)| {
            Some(ComponentRecord { hash: Hash(hash.try_into().ok()?), bytes: bytes.cast_unsigned() })
        };
        let records = rows.into_iter().map(record).collect::<Option<_>>();
        records.ok_or_else(|| StoreError::Damaged { what: "a component's hash in archive.db".to_owned() })
    }

    async fn append_history(
        &self,
        community: CommunityId,
        records: Vec<HistoryRecord>,
    ) -> Result<(), StoreError> {
        let bytes = records.iter().map(|record| record.body.len()).sum::<usize>();
        self.enqueue(Job::AppendHistory(community, records), bytes, None).await
    }

    async fn history(
        &self,
        community: CommunityId,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<HistoryRecord>, StoreError> {
        self.check()?;
        let is_complete = self.pending.is_empty();
        let read = history::read(&self.readers, community, from, bytes_max).await?;
        if read.is_full || is_complete {
            return Ok(read.records);
        }
        // What was appended lately may belong to the answer, and is not in the file yet.
        self.flush().await?;
        Ok(history::read(&self.readers, community, from, bytes_max).await?.records)
    }

    async fn history_held(&self, community: CommunityId) -> Result<Option<(Sequence, Sequence)>, StoreError> {
        self.check()?;
        if !self.pending.is_empty() {
            self.flush().await?;
        }
        history::held(&self.readers, community).await
    }

    async fn prune_history(&self, community: CommunityId, keep_from: Sequence) -> Result<(), StoreError> {
        self.perform(Job::PruneHistory(community, keep_from), 0).await
    }

    async fn truncate_history(&self, community: CommunityId, from: Sequence) -> Result<(), StoreError> {
        self.perform(Job::TruncateHistory(community, from), 0).await
    }

    async fn remove_community(&self, community: CommunityId) -> Result<(), StoreError> {
        self.perform(Job::RemoveCommunity(community), 0).await
    }

    async fn fact(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.facts()?.values.get(name).cloned())
    }

    async fn put_fact(&self, name: &str, value: Bytes) -> Result<(), StoreError> {
        let bytes = value.len();
        self.perform(Job::PutFact(name.to_owned(), value), bytes).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.perform(Job::Flush, 0).await
    }

    async fn close(&self) {
        // The file's last connection is to be the writer's: it makes the final checkpoint.
        self.readers.close().await;
        self.closed.store(true, Ordering::Release);
        self.queue.lock().expect("nothing panics while it holds the queue").take();
        if let Some(writer) = self.writer.lock().await.take() {
            // It ends by itself; an error here is a runtime that is being shut down.
            let _ = writer.await;
        }
    }

    async fn failed(&self) -> StoreError {
        self.health.failed().await
    }
}
