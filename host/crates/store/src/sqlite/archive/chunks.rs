//! Chunks: stored once by hash, kept while a snapshot names them or somebody is about to.

use super::{super::database::rows_sql, condemned, pins::Pins};
use althing_core::ids::Hash;
use bytes::Bytes;
use sqlx::{SqliteConnection, SqlitePool};
use std::{collections::BTreeSet, time::Instant};

/// Hashes in one statement.
pub(super) const ROWS_MAX: usize = 64;

/// Which of the chunks are not here; those that are get pinned.
pub(super) async fn missing(
    connection: &mut SqliteConnection,
    pins: &mut Pins,
    hashes: Vec<Hash>,
) -> Result<Vec<Hash>, sqlx::Error> {
    let here = present(connection, &hashes).await?;
    let (here, missing): (Vec<Hash>, Vec<Hash>) = hashes.into_iter().partition(|hash| here.contains(hash));
    pins.pin(here, Instant::now());
    Ok(missing)
}

/// Which of the chunks are here.
pub(super) async fn present(
    connection: &mut SqliteConnection,
    hashes: &[Hash],
) -> Result<BTreeSet<Hash>, sqlx::Error> {
    let mut here = BTreeSet::new();
    for hashes in hashes.chunks(ROWS_MAX) {
        let head = "WITH wanted (hash) AS (VALUES";
        let sql = rows_sql(head, "(?)", hashes.len())
            + ") SELECT hash FROM chunks WHERE hash IN wanted \
             AND hash NOT IN (SELECT hash FROM condemned_chunks)";
        let mut query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
        for hash in hashes {
            query = query.bind(hash.0.to_vec());
        }
        let found: Vec<Vec<u8>> = query.fetch_all(&mut *connection).await?;
        here.extend(self::hashes(found));
    }
    Ok(here)
}

/// Stores chunks that are not here yet or condemned, and pins them all.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    pins: &mut Pins,
    chunks: Vec<(Hash, Bytes)>,
) -> Result<(), sqlx::Error> {
    pins.pin(chunks.iter().map(|(hash, _)| *hash), Instant::now());
    condemned::acquit(connection, &chunks).await?;
    for (hash, body) in chunks {
        sqlx::query("INSERT OR IGNORE INTO chunks (hash, body) VALUES (?, ?)")
            .bind(hash.0.to_vec())
            .bind(Vec::from(body))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Chunks that are here, ascending, from behind one on.
pub(super) async fn stored(
    readers: &SqlitePool,
    after: Option<Hash>,
    limit: u32,
) -> Result<Vec<Hash>, sqlx::Error> {
    let sql = "SELECT hash FROM chunks WHERE hash > ? AND hash NOT IN (SELECT hash FROM condemned_chunks) \
               ORDER BY hash LIMIT ?";
    let after = after.map_or(Vec::new(), |hash| hash.0.to_vec());
    let found = sqlx::query_scalar(sql).bind(after).bind(limit).fetch_all(readers).await?;
    Ok(hashes(found))
}

/// Hashes as they were written; what is none is left out.
pub(super) fn hashes(found: Vec<Vec<u8>>) -> Vec<Hash> {
    found.into_iter().filter_map(|hash| Some(Hash(hash.try_into().ok()?))).collect()
}

/// The chunks that no snapshot names.
pub(super) async fn unnamed(connection: &mut SqliteConnection) -> Result<Vec<Hash>, sqlx::Error> {
    let sql = "SELECT hash FROM chunks \
               WHERE NOT EXISTS (SELECT 1 FROM snapshot_chunks WHERE snapshot_chunks.hash = chunks.hash)";
    let unnamed: Vec<Vec<u8>> = sqlx::query_scalar(sql).fetch_all(connection).await?;
    Ok(hashes(unnamed))
}

/// Removes the chunks that no snapshot names and nobody pinned.
pub(super) async fn collect(connection: &mut SqliteConnection, pins: &mut Pins) -> Result<(), sqlx::Error> {
    let mut garbage = unnamed(&mut *connection).await?;
    let now = Instant::now();
    garbage.retain(|hash| !pins.holds(hash, now));
    for hashes in garbage.chunks(ROWS_MAX) {
        let sql = rows_sql("DELETE FROM chunks WHERE hash IN (VALUES", "(?)", hashes.len()) + ")";
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for hash in hashes {
            query = query.bind(hash.0.to_vec());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
