//! Snapshots: a manifest and the chunks that it names, committed together.

use super::{
    super::database::{id_to_sql, position_from_sql, position_to_sql, rows_sql},
    chunks::{self, ROWS_MAX},
    pinned,
    pins::Pins,
};
use crate::port::SnapshotRecord;
use althing_core::ids::{CommunityId, Hash, Sequence};
use bytes::Bytes;
use sqlx::{SqliteConnection, SqlitePool};
use std::collections::BTreeSet;

/// Commits a snapshot, or returns the first chunk that is missing and changes nothing.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    pins: &mut Pins,
    community: CommunityId,
    record: SnapshotRecord,
    chunks: Vec<Hash>,
) -> Result<Option<Hash>, sqlx::Error> {
    let here = chunks::present(connection, &chunks).await?;
    if let Some(missing) = chunks.iter().find(|hash| !here.contains(hash)) {
        return Ok(Some(*missing));
    }
    let (community, sequence) = (id_to_sql(community), position_to_sql(record.sequence.0));
    sqlx::query("DELETE FROM snapshots WHERE community = ? AND sequence = ?")
        .bind(community)
        .bind(sequence)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO snapshots (community, sequence, log_index, manifest) VALUES (?, ?, ?, ?)")
        .bind(community)
        .bind(sequence)
        .bind(position_to_sql(record.log_index))
        .bind(Vec::from(record.manifest))
        .execute(&mut *connection)
        .await?;
    for hashes in chunks.chunks(ROWS_MAX) {
        let head = "INSERT OR IGNORE INTO snapshot_chunks (community, sequence, hash) VALUES";
        let mut query = sqlx::query(sqlx::AssertSqlSafe(rows_sql(head, "(?, ?, ?)", hashes.len())));
        for hash in hashes {
            query = query.bind(community).bind(sequence).bind(hash.0.to_vec());
        }
        query.execute(&mut *connection).await?;
    }
    chunks.iter().for_each(|hash| pins.unpin(hash));
    Ok(None)
}

/// Drops all but the newest `keep` snapshots and the pinned ones, and the chunks that nothing names any
/// more.
pub(super) async fn retain(
    connection: &mut SqliteConnection,
    pins: &mut Pins,
    community: CommunityId,
    keep: u32,
) -> Result<(), sqlx::Error> {
    let sql = "DELETE FROM snapshots WHERE community = ?1 AND sequence NOT IN \
               (SELECT sequence FROM snapshots WHERE community = ?1 ORDER BY sequence DESC LIMIT ?2) \
               AND sequence NOT IN (SELECT sequence FROM pinned_snapshots WHERE community = ?1)";
    sqlx::query(sql).bind(id_to_sql(community)).bind(i64::from(keep)).execute(&mut *connection).await?;
    chunks::collect(connection, pins).await
}

/// Drops snapshots that are not pinned, and the chunks that nothing names any more; which were dropped.
pub(super) async fn drop(
    connection: &mut SqliteConnection,
    pins: &mut Pins,
    community: CommunityId,
    sequences: Vec<Sequence>,
) -> Result<BTreeSet<Sequence>, sqlx::Error> {
    let sql = "DELETE FROM snapshots WHERE community = ?1 AND sequence = ?2 AND sequence NOT IN \
               (SELECT sequence FROM pinned_snapshots WHERE community = ?1)";
    let mut dropped = BTreeSet::new();
    for sequence in sequences {
        let query = sqlx::query(sql).bind(id_to_sql(community)).bind(position_to_sql(sequence.0));
        if query.execute(&mut *connection).await?.rows_affected() > 0 {
            dropped.insert(sequence);
        }
    }
    chunks::collect(connection, pins).await?;
    Ok(dropped)
}

/// Drops all of a community's snapshots, pinned or not, and the chunks that nothing names any more.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    pins: &mut Pins,
    community: CommunityId,
) -> Result<(), sqlx::Error> {
    pinned::forget(connection, community).await?;
    retain(connection, pins, community, 0).await
}

/// A community's snapshots, newest first.
pub(super) async fn list(
    readers: &SqlitePool,
    community: CommunityId,
) -> Result<Vec<SnapshotRecord>, sqlx::Error> {
    let sql =
        "SELECT sequence, log_index, manifest FROM snapshots WHERE community = ? ORDER BY sequence DESC";
    let rows: Vec<(i64, i64, Vec<u8>)> =
        sqlx::query_as(sql).bind(id_to_sql(community)).fetch_all(readers).await?;
    let record = |(sequence, log_index, manifest)| SnapshotRecord {
        sequence: Sequence(position_from_sql(sequence)),
        log_index: position_from_sql(log_index),
        manifest: Bytes::from(manifest),
    };
    Ok(rows.into_iter().map(record).collect())
}
