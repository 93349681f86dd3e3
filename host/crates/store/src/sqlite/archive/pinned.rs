//! Snapshots that stay whatever is retained, because somebody said so.
//!
//! Not to be taken for [`super::pins`], which are of chunks, short, and in memory only.

use super::super::database::{id_to_sql, position_from_sql, position_to_sql};
use althing_core::ids::{CommunityId, Sequence};
use sqlx::{SqliteConnection, SqlitePool};
use std::collections::BTreeMap;

/// Pins a snapshot, or replaces its note; whether there is one.
pub(super) async fn pin(
    connection: &mut SqliteConnection,
    community: CommunityId,
    sequence: Sequence,
    note: String,
) -> Result<bool, sqlx::Error> {
    let sql = "INSERT OR REPLACE INTO pinned_snapshots (community, sequence, note) \
               SELECT community, sequence, ? FROM snapshots WHERE community = ? AND sequence = ?";
    let query = sqlx::query(sql).bind(note).bind(id_to_sql(community)).bind(position_to_sql(sequence.0));
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

/// Takes a pin away; whether there is such a snapshot.
pub(super) async fn unpin(
    connection: &mut SqliteConnection,
    community: CommunityId,
    sequence: Sequence,
) -> Result<bool, sqlx::Error> {
    let (community, sequence) = (id_to_sql(community), position_to_sql(sequence.0));
    sqlx::query("DELETE FROM pinned_snapshots WHERE community = ? AND sequence = ?")
        .bind(community)
        .bind(sequence)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM snapshots WHERE community = ? AND sequence = ?)")
        .bind(community)
        .bind(sequence)
        .fetch_one(connection)
        .await
}

/// Takes all pins of a community away.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    community: CommunityId,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM pinned_snapshots WHERE community = ?")
        .bind(id_to_sql(community))
        .execute(connection)
        .await?;
    Ok(())
}

/// The pinned snapshots of a community, with their notes.
pub(super) async fn list(
    readers: &SqlitePool,
    community: CommunityId,
) -> Result<BTreeMap<Sequence, String>, sqlx::Error> {
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT sequence, note FROM pinned_snapshots WHERE community = ?")
            .bind(id_to_sql(community))
            .fetch_all(readers)
            .await?;
    Ok(rows.into_iter().map(|(sequence, note)| (Sequence(position_from_sql(sequence)), note)).collect())
}
