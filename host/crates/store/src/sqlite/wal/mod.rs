//! The log on disk: `wal.db`.
//!
//! A call changes [`logs`] and is queued in one step, so both see the same order; the [`writer`]
//! makes the file follow and tells when it has. Reads are answered from memory, or from the file
//! for what is no longer there. Every call may be cancelled: before it is queued nothing has
//! happened, afterwards it takes effect though nobody waits.

mod load;
mod logs;
mod look;
mod mark;
mod plan;
mod script;
mod segment;
mod writer;

use super::{
    OpenError, Settings,
    database::{Database, Format, close_as_found, id_to_sql, position_from_sql, position_to_sql},
    directory::Directory,
    health::Health,
};
use crate::{
    port::{OnDurable, StoreError, Wal, WalCounters, WalEntry, WalState},
    rules::take_bounded,
};
use althing_core::ids::CommunityId;
use async_trait::async_trait;
use bytes::Bytes;
use logs::{Found, Logs};
pub(super) use look::{LogFile, Marked, look, marked};
use mark::Marker;
pub(super) use mark::begin as begin_mark;
use plan::{AllRecords, Change, Command, Records, Waiter};
use sqlx::SqlitePool;
use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};
use writer::Writer;

const FORMAT: Format = Format {
    application_id: 0x416c_5457, // "AlTW"
    schemas: &[include_str!("schema.sql")],
    page_bytes: 4096,
    // 16 MiB: a checkpoint costs two fsyncs more, so not too often.
    checkpoint_pages: 4096,
};

/// Calls that wait for the writer.
const QUEUE_MAX: usize = writer::DRAIN_MAX;
/// Bytes of entries that wait for the writer.
const QUEUE_BYTES_MAX: u32 = 64 << 20;
/// Segments read in one query, so that a read holds little more than it returns.
const READ_SEGMENTS: i64 = 4;

/// The log on disk.
pub(super) struct SqliteWal {
    shared: Arc<Shared>,
    health: Health,
    readers: SqlitePool,
    room: Arc<Semaphore>,
    /// The queue's only strong end, until it is closed.
    queue: Mutex<Option<mpsc::Sender<Command>>>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// What the handle and the writer share.
struct Shared {
    logs: Mutex<Logs>,
    commits: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Shared {
    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().expect("nothing panics while it holds the logs")
    }
}

impl SqliteWal {
    /// Opens `wal.db`, and starts its writer.
    pub(super) async fn open(directory: Arc<Directory>, settings: Settings) -> Result<Self, OpenError> {
        let path = directory.file("wal.db");
        let mark = mark::open(&directory)?;
        let marked = mark.marked();
        let database = Database::open(&path, &FORMAT, settings.wal_readers, marked.number).await?;
        let Database { mut writer, readers } = database;
        let loaded = match load::checked(&mut writer, &path, marked).await {
            Ok(loaded) => loaded,
            Err(error) => {
                readers.close().await;
                close_as_found(writer, &path).await;
                return Err(error);
            }
        };
        let mut logs = Logs::new(settings.wal_cache_bytes);
        let mut records = AllRecords::default();
        for (group, state) in loaded.states {
            records.groups.insert(group, Records::from(&state));
            logs.load(group, state);
        }
        let shared = Arc::new(Shared {
            logs: Mutex::new(logs),
            commits: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let health = Health::new("log");
        let marker = Marker::start(mark, health.clone())
            .map_err(|source| OpenError::Directory { path: directory.file(""), source })?;
        let task = Writer {
            connection: writer,
            queue,
            records,
            tips: loaded.tips,
            progress: loaded.progress,
            marker,
            shared: shared.clone(),
            health: health.clone(),
            directory,
        };
        Ok(Self {
            shared,
            health,
            readers,
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize)),
            queue: Mutex::new(Some(sender)),
            writer: tokio::sync::Mutex::new(Some(tokio::spawn(task.run()))),
        })
    }

    /// Whether any group has something here.
    pub(super) fn has_groups(&self) -> bool {
        !self.shared.logs().groups().is_empty()
    }

    /// Writes out what is queued, and closes the file.
    pub(super) async fn shut(&self) {
        // The file's last connection is to be the writer's: it makes the final checkpoint.
        self.readers.close().await;
        self.shared.logs().closed = true;
        self.queue.lock().expect("nothing panics while it holds the queue").take();
        if let Some(writer) = self.writer.lock().await.take() {
            // It ends by itself; an error here is a runtime that is being shut down.
            let _ = writer.await;
        }
    }

    /// Changes the logs and queues the change, in one step. The waiter is told in any case.
    async fn enqueue(
        &self,
        group: CommunityId,
        waiter: Waiter,
        change: impl FnOnce(&mut Logs) -> Result<Change, StoreError>,
    ) -> Result<(), StoreError> {
        let slot = self.slot().await;
        let changed = slot.and_then(|slot| {
            let mut logs = self.logs()?;
            let change = change(&mut logs)?;
            Ok((slot, change, logs))
        });
        match changed {
            Ok((slot, change, logs)) => {
                slot.send(Command { group, change, waiter });
                drop(logs);
                Ok(())
            }
            Err(error) => {
                waiter.tell(Err(self.health.refusal()));
                Err(error)
            }
        }
    }

    /// Waits for room in the queue.
    async fn slot(&self) -> Result<mpsc::OwnedPermit<Command>, StoreError> {
        let queue = self.queue.lock().expect("nothing panics while it holds the queue").clone();
        let queue = queue.ok_or_else(|| self.health.refusal())?;
        queue.reserve_owned().await.map_err(|_| self.health.refusal())
    }

    /// Makes a change, and waits until it is durable.
    async fn write_through(
        &self,
        group: CommunityId,
        change: impl FnOnce(&mut Logs) -> Change + Send,
    ) -> Result<(), StoreError> {
        let (done, durable) = oneshot::channel();
        self.enqueue(group, Waiter::Call(done), |logs| Ok(change(logs))).await?;
        durable.await.unwrap_or_else(|_| Err(self.health.refusal()))
    }

    fn logs(&self) -> Result<MutexGuard<'_, Logs>, StoreError> {
        self.health.check()?;
        let logs = self.shared.logs();
        if logs.closed { Err(StoreError::Closed) } else { Ok(logs) }
    }

    /// Entries of a range; none if some went away meanwhile, so that what was read may be of two minds.
    async fn try_read(
        &self,
        group: CommunityId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Option<Vec<WalEntry>>, StoreError> {
        let epoch = self.logs()?.epoch(group);
        let (mut read, mut next) = (Vec::<WalEntry>::new(), range.start);
        loop {
            let found = self.logs()?.find(group, epoch, next..range.end, bytes_max);
            let missing = match found {
                Found::Changed => return Ok(None),
                Found::Here(entries) => {
                    let all = read.into_iter().chain(entries);
                    return Ok(Some(take_bounded(all, bytes_max, |entry| entry.body.len())));
                }
                Found::InFile(range) => range,
            };
            let entries = self.read_file(group, missing.clone()).await;
            if self.logs()?.epoch(group) != epoch {
                return Ok(None);
            }
            let entries = entries?;
            if entries.first().map(|entry| entry.index) != Some(missing.start) {
                let what = format!("entry {} of group {group} is not in wal.db", missing.start);
                return Err(StoreError::Damaged { what });
            }
            next = missing.start + entries.len() as u64;
            read.extend(entries);
            if read.iter().map(|entry| entry.body.len()).sum::<usize>() > bytes_max {
                return Ok(Some(take_bounded(read, bytes_max, |entry| entry.body.len())));
            }
        }
    }

    /// Entries of a range that the file has, from its start on; none if it has none.
    async fn read_file(&self, group: CommunityId, range: Range<u64>) -> Result<Vec<WalEntry>, StoreError> {
        let sql = "SELECT first, last, body FROM segments \
                   WHERE community = ? AND last >= ? AND first < ? ORDER BY last LIMIT ?";
        let rows: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(sql)
            .bind(id_to_sql(group))
            .bind(position_to_sql(range.start))
            .bind(position_to_sql(range.end))
            .bind(READ_SEGMENTS)
            .fetch_all(&self.readers)
            .await
            .map_err(|source| match source {
                sqlx::Error::PoolClosed => StoreError::Closed,
                source => StoreError::Io {
                    what: format!("entries of group {group} cannot be read from wal.db"),
                    source: Box::new(source),
                },
            })?;
        let mut entries = Vec::new();
        for (first, last, body) in rows {
            let (first, last) = (position_from_sql(first), position_from_sql(last));
            let segment = segment::decode(group, first, last, Bytes::from(body))?;
            entries.extend(segment.into_iter().filter(|entry| range.contains(&entry.index)));
        }
        Ok(entries)
    }
}

#[async_trait]
impl Wal for SqliteWal {
    async fn state(&self, group: CommunityId) -> Result<WalState, StoreError> {
        Ok(self.logs()?.state(group))
    }

    async fn read(
        &self,
        group: CommunityId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<WalEntry>, StoreError> {
        loop {
            if let Some(entries) = self.try_read(group, range.clone(), bytes_max).await? {
                return Ok(entries);
            }
        }
    }

    async fn append(
        &self,
        group: CommunityId,
        entries: Vec<WalEntry>,
        on_durable: OnDurable,
    ) -> Result<(), StoreError> {
        let bytes = entries.iter().map(|entry| entry.body.len()).sum::<usize>();
        let count = entries.len() as u64;
        let room = u32::try_from(bytes).unwrap_or(u32::MAX).min(QUEUE_BYTES_MAX);
        let room = self.room.clone().acquire_many_owned(room).await.expect("the room is never closed");
        self.enqueue(group, Waiter::Callback(on_durable, room), |logs| {
            let epoch = logs.append(group, &entries)?;
            Ok(Change::Append { entries, epoch })
        })
        .await?;
        self.shared.entries.fetch_add(count, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn save_vote(&self, group: CommunityId, vote: Bytes) -> Result<(), StoreError> {
        self.write_through(group, |logs| {
            logs.save_vote(group, vote.clone());
            Change::Vote(vote)
        })
        .await
    }

    async fn save_committed(&self, group: CommunityId, committed: Option<Bytes>) -> Result<(), StoreError> {
        self.enqueue(group, Waiter::Nobody, |logs| {
            logs.save_committed(group, committed.clone());
            Ok(Change::Committed(committed))
        })
        .await
    }

    async fn truncate(&self, group: CommunityId, from: u64) -> Result<(), StoreError> {
        self.write_through(group, |logs| {
            logs.truncate(group, from);
            Change::Truncate { from }
        })
        .await
    }

    async fn purge(&self, group: CommunityId, upto: u64, record: Bytes) -> Result<(), StoreError> {
        if self.logs()?.is_purged(group, upto) {
            return Ok(());
        }
        self.write_through(group, |logs| {
            logs.purge(group, upto, record.clone());
            Change::Purge { upto, record }
        })
        .await
    }

    async fn remove_group(&self, group: CommunityId) -> Result<(), StoreError> {
        self.write_through(group, |logs| {
            logs.remove(group);
            Change::Remove
        })
        .await
    }

    async fn groups(&self) -> Result<Vec<CommunityId>, StoreError> {
        Ok(self.logs()?.groups())
    }

    fn counters(&self) -> WalCounters {
        WalCounters {
            commits: self.shared.commits.load(Ordering::Relaxed),
            entries: self.shared.entries.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
        }
    }

    async fn close(&self) {
        self.shut().await;
    }

    async fn failed(&self) -> StoreError {
        self.health.failed().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    const GROUP: CommunityId = CommunityId(1);

    async fn write(wal: &SqliteWal, first: u64, text: &'static str) {
        let entry = |index| WalEntry { index, body: Bytes::from_static(text.as_bytes()) };
        let (told, durable) = oneshot::channel();
        let on_durable = Box::new(move |result| drop(told.send(result)));
        wal.append(GROUP, (first..first + 4).map(entry).collect(), on_durable).await.unwrap();
        durable.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_read_during_which_entries_were_replaced_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { wal_cache_bytes: 0, ..Settings::default() };
        let wal = SqliteWal::open(Arc::new(Directory::lock(directory.path()).unwrap()), settings);
        let wal = wal.await.unwrap();
        write(&wal, 1, "old").await;
        let mut first_try = pin!(wal.try_read(GROUP, 1..99, 99));
        let mut read = pin!(wal.read(GROUP, 1..99, 99));
        assert!(futures::poll!(&mut first_try).is_pending(), "the file is asked");
        assert!(futures::poll!(&mut read).is_pending(), "the file is asked");

        wal.truncate(GROUP, 3).await.unwrap();
        write(&wal, 3, "new").await;

        assert_eq!(first_try.await.unwrap(), None);
        let read = read.await.unwrap();
        let read: Vec<_> = read.iter().map(|entry| (entry.index, &entry.body[..])).collect();
        let (old, new) = (&b"old"[..], &b"new"[..]);
        assert_eq!(read, [(1, old), (2, old), (3, new), (4, new), (5, new), (6, new)]);
        wal.shut().await;
    }
}
