//! Snapshots: a manifest and the chunks that it names, committed together.

use super::{
    super::{
        database::{id_to_sql, position_from_sql, position_to_sql, rows_sql},
        facts::Facts,
    },
    chunks::{self, ROWS_MAX},
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

/// Whether there is a snapshot.
pub(super) async fn is_there(
    connection: &mut SqliteConnection,
    community: CommunityId,
    sequence: Sequence,
) -> Result<bool, sqlx::Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM snapshots WHERE community = ? AND sequence = ?)";
    let query = sqlx::query_scalar(sql).bind(id_to_sql(community)).bind(position_to_sql(sequence.0));
    query.fetch_one(connection).await
}

/// Drops all but the newest `keep` snapshots and the pinned ones, and the chunks that nothing names any
/// more.
pub(super) async fn retain(
    connection: &mut SqliteConnection,
    pins: &mut Pins,
    facts: &Facts,
    community: CommunityId,
    keep: u32,
) -> Result<(), sqlx::Error> {
    let sql = "SELECT sequence FROM snapshots WHERE community = ? ORDER BY sequence DESC LIMIT -1 OFFSET ?";
    let query = sqlx::query_scalar(sql).bind(id_to_sql(community)).bind(i64::from(keep));
    let older: Vec<i64> = query.fetch_all(&mut *connection).await?;
    let older = older.into_iter().map(|sequence| Sequence(position_from_sql(sequence))).collect();
    drop(connection, pins, facts, community, older).await?;
    Ok(())
}

/// Drops snapshots that are not pinned, and the chunks that nothing names any more; which were dropped.
pub(super) async fn drop(
    connection: &mut SqliteConnection,
    pins: &mut Pins,
    facts: &Facts,
    community: CommunityId,
    sequences: Vec<Sequence>,
) -> Result<BTreeSet<Sequence>, sqlx::Error> {
    let sql = "DELETE FROM snapshots WHERE community = ? AND sequence = ?";
    let mut dropped = BTreeSet::new();
    for sequence in sequences.into_iter().filter(|&sequence| !facts.has_pinned(community, sequence)) {
        let query = sqlx::query(sql).bind(id_to_sql(community)).bind(position_to_sql(sequence.0));
        if query.execute(&mut *connection).await?.rows_affected() > 0 {
            dropped.insert(sequence);
        }
    }
    chunks::collect(connection, pins).await?;
    Ok(dropped)
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
