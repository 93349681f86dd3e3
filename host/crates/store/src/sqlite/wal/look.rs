//! The log of a data directory that is only looked at.

use super::{FORMAT, Health, QUEUE_BYTES_MAX, Semaphore, Shared, SqliteWal, load, logs::Logs, mark};
use crate::{
    port::Wal,
    sqlite::{
        OpenError,
        database::{Format, id_from_sql, opening},
        mark::Progress,
    },
};
use althing_core::ids::CommunityId;
use sqlx::SqlitePool;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

/// How far the log had come when somebody was last told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marked(Progress);

impl Marked {
    /// The number of that change.
    pub(crate) fn number(self) -> u64 {
        self.0.number
    }
}

/// What is marked in a directory; none where there is no store yet.
pub(crate) fn marked(directory: &Path) -> Result<Option<Marked>, OpenError> {
    Ok(mark::look(directory)?.map(Marked))
}

/// The log, as it can be read.
pub(crate) struct LogFile {
    /// Whatever would change it is refused, as if it were closed.
    pub(crate) wal: Arc<dyn Wal>,
    /// The number of its last change.
    pub(crate) changes: u64,
    /// How many segments each group has, and of how many bytes.
    pub(crate) segments: BTreeMap<CommunityId, (u64, u64)>,
    /// An error if it is not the log that was marked.
    pub(crate) chain: Result<(), OpenError>,
}

/// Reads what [`SqliteWal::open`] reads, with the same checks. Without a mark, the chain is not held
/// against anything.
pub(crate) async fn look(
    readers: SqlitePool,
    path: &Path,
    mark: Option<Marked>,
) -> Result<LogFile, OpenError> {
    let failed = |error| opening(path, error);
    let mut connection = readers.acquire().await.map_err(failed)?;
    let loaded = load::load(&mut connection, path).await?;
    let chain = match mark {
        Some(Marked(marked)) => load::check_mark(&mut connection, path, loaded.progress, marked).await,
        None => Ok(()),
    };
    let rows: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT community, count(*), sum(length(body)) FROM segments GROUP BY community")
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
    drop(connection);
    let segments = rows.into_iter().map(|(group, segments, bytes)| {
        (id_from_sql(group), (segments.cast_unsigned(), bytes.cast_unsigned()))
    });
    let mut logs = Logs::new(0);
    for (group, state) in loaded.states {
        logs.load(group, state);
    }
    Ok(LogFile {
        changes: loaded.progress.number,
        segments: segments.collect(),
        chain,
        wal: Arc::new(SqliteWal::of_readers(logs, readers)),
    })
}

impl SqliteWal {
    /// What [`FORMAT`] is, for whoever opens the file.
    pub(crate) const FORMAT: &Format = &FORMAT;

    fn of_readers(logs: Logs, readers: SqlitePool) -> Self {
        let shared = Shared {
            logs: Mutex::new(logs),
            commits: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
            health: Health::new("log"),
            readers,
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize)),
            queue: Mutex::new(None),
            writer: tokio::sync::Mutex::new(None),
        }
    }
}
