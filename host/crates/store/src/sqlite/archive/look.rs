//! The archive of a data directory that is only looked at.

use super::{FORMAT, Facts, Health, Pending, QUEUE_BYTES_MAX, Semaphore, SqliteArchive, chunks, outside};
use crate::{
    port::{Archive, StoreError},
    sqlite::{
        Mended, OpenError,
        database::{Format, id_from_sql, opening},
    },
};
use althing_core::ids::{CommunityId, Hash};
use sqlx::SqlitePool;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

/// The archive, as it can be read.
pub(crate) struct ArchiveFile {
    /// Whatever would change it is refused, as if it were closed.
    pub(crate) archive: Arc<dyn Archive>,
    /// What is wrong, and mended by a start.
    pub(crate) mended: Vec<Mended>,
    readers: SqlitePool,
}

/// The archive behind these connections, with what is outside of it in a directory.
///
/// # Errors
/// If a node would not start with that.
pub(crate) async fn look(
    readers: SqlitePool,
    folder: &Path,
    is_used: bool,
) -> Result<ArchiveFile, OpenError> {
    let path = folder.join("archive.db");
    let mut connection = readers.acquire().await.map_err(|error| opening(&path, error))?;
    let outside::Found { facts, mended, .. } = outside::look(folder, &mut connection, is_used).await?;
    drop(connection);
    let archive = Arc::new(SqliteArchive::of_readers(readers.clone(), facts));
    Ok(ArchiveFile { archive, mended, readers })
}

impl ArchiveFile {
    /// The communities that have snapshots or history here.
    pub(crate) async fn communities(&self) -> Result<BTreeSet<CommunityId>, StoreError> {
        let sql = "SELECT community FROM snapshots UNION SELECT community FROM history";
        let rows: Vec<i64> = sqlx::query_scalar(sql)
            .fetch_all(&self.readers)
            .await
            .map_err(|source| super::reading("the list of communities".to_owned(), source))?;
        Ok(rows.into_iter().map(id_from_sql).collect())
    }

    /// Which of these chunks are not here; their bytes are not looked at.
    pub(crate) async fn missing_chunks(&self, hashes: &[Hash]) -> Result<Vec<Hash>, StoreError> {
        let failed = |source| super::reading("the list of chunks".to_owned(), source);
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        let here = chunks::present(&mut connection, hashes).await.map_err(failed)?;
        Ok(hashes.iter().filter(|hash| !here.contains(hash)).copied().collect())
    }

    /// How many chunks and records of history there are, and of how many bytes: `(rows, bytes)` by table.
    pub(crate) async fn sizes(&self) -> Result<BTreeMap<&'static str, (u64, u64)>, StoreError> {
        let tables = [
            ("chunks", "SELECT count(*), coalesce(sum(length(body)), 0) FROM chunks"),
            ("history", "SELECT count(*), coalesce(sum(length(body)), 0) FROM history"),
        ];
        let mut sizes = BTreeMap::new();
        for (table, sql) in tables {
            let (rows, bytes): (i64, i64) = sqlx::query_as(sql)
                .fetch_one(&self.readers)
                .await
                .map_err(|source| super::reading(format!("the size of {table}"), source))?;
            sizes.insert(table, (rows.cast_unsigned(), bytes.cast_unsigned()));
        }
        Ok(sizes)
    }
}

impl SqliteArchive {
    /// What [`FORMAT`] is, for whoever opens the file.
    pub(crate) const FORMAT: &Format = &FORMAT;

    fn of_readers(readers: SqlitePool, facts: Facts) -> Self {
        Self {
            readers,
            facts: Arc::new(Mutex::new(Arc::new(facts))),
            health: Health::new("archive"),
            pending: Arc::new(Pending::default()),
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize)),
            closed: AtomicBool::new(false),
            queue: Mutex::new(None),
            writer: tokio::sync::Mutex::new(None),
        }
    }
}
