//! Chunks that were found damaged: they count as missing until they are stored again.
//!
//! Marked rather than removed, because snapshots name them, and are whole again when they are mended.

use super::{
    super::database::{id_to_sql, position_from_sql},
    chunks::hashes,
};
use althing_core::ids::{CommunityId, Hash, Sequence};
use bytes::Bytes;
use sqlx::{SqliteConnection, SqlitePool};
use std::collections::BTreeMap;

/// Condemns those of the chunks that are stored.
pub(super) async fn condemn(connection: &mut SqliteConnection, hashes: Vec<Hash>) -> Result<(), sqlx::Error> {
    let sql = "INSERT OR IGNORE INTO condemned_chunks (hash) SELECT hash FROM chunks WHERE hash = ?";
    for hash in hashes {
        sqlx::query(sql).bind(hash.0.to_vec()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Replaces the bodies of those that are condemned, which then are so no more.
pub(super) async fn acquit(
    connection: &mut SqliteConnection,
    chunks: &[(Hash, Bytes)],
) -> Result<(), sqlx::Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM condemned_chunks)";
    let is_any: bool = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
    if !is_any {
        return Ok(());
    }
    for (hash, body) in chunks {
        let removed = sqlx::query("DELETE FROM condemned_chunks WHERE hash = ?")
            .bind(hash.0.to_vec())
            .execute(&mut *connection)
            .await?;
        if removed.rows_affected() > 0 {
            sqlx::query("UPDATE chunks SET body = ? WHERE hash = ?")
                .bind(body.to_vec())
                .bind(hash.0.to_vec())
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// The condemned ones, ascending.
pub(super) async fn list(readers: &SqlitePool, limit: u32) -> Result<Vec<Hash>, sqlx::Error> {
    let sql = "SELECT hash FROM condemned_chunks ORDER BY hash LIMIT ?";
    Ok(hashes(sqlx::query_scalar(sql).bind(limit).fetch_all(readers).await?))
}

/// How many of them each snapshot names, of those that name one.
pub(super) async fn in_snapshots(
    readers: &SqlitePool,
    community: CommunityId,
) -> Result<BTreeMap<Sequence, u64>, sqlx::Error> {
    let sql = "SELECT sequence, count(*) FROM condemned_chunks \
               CROSS JOIN snapshot_chunks ON snapshot_chunks.hash = condemned_chunks.hash \
               WHERE community = ? GROUP BY sequence";
    let rows: Vec<(i64, i64)> = sqlx::query_as(sql).bind(id_to_sql(community)).fetch_all(readers).await?;
    let counted =
        |(sequence, count): (i64, i64)| (Sequence(position_from_sql(sequence)), count.unsigned_abs());
    Ok(rows.into_iter().map(counted).collect())
}
