//! History: one row per record, in any number of gapless runs.

use super::super::database::{id_to_sql, position_from_sql, position_to_sql, rows_sql};
use crate::port::{HistoryRecord, StoreError};
use althing_core::ids::{CommunityId, Hash, Sequence};
use bytes::Bytes;
use sqlx::{SqliteConnection, SqlitePool};
use std::collections::BTreeMap;

const DOMAIN: &str = "althing 2026 store history 1";
/// Rows in one statement.
const ROWS_MAX: usize = 32;
/// Rows whose sizes are looked at in one query.
const READ_ROWS: i64 = 1024;

/// The last sequence of each community's history, as far as known: what tells a record that goes to
/// the end, which nearly all do, from one that needs looking for its place.
#[derive(Default)]
pub(super) struct Tails(BTreeMap<CommunityId, Option<Sequence>>);

/// Records read, and whether there are more that were too many.
pub(super) struct Read {
    pub(super) records: Vec<HistoryRecord>,
    pub(super) is_full: bool,
}

/// Appends records; those that overlap what is here are left alone.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    tails: &mut Tails,
    community: CommunityId,
    records: Vec<HistoryRecord>,
) -> Result<(), sqlx::Error> {
    let mut tail = match tails.0.get(&community) {
        Some(tail) => *tail,
        None => load_tail(connection, community).await?,
    };
    let mut at_end = Vec::new();
    for record in records {
        if tail.is_none_or(|tail| record.first > tail) {
            let gap = tail.is_none_or(|tail| record.first != tail.next());
            tail = Some(record.last);
            at_end.push((record, gap));
        } else {
            insert(connection, community, std::mem::take(&mut at_end)).await?;
            insert_between(connection, community, record).await?;
        }
    }
    insert(connection, community, at_end).await?;
    tails.0.insert(community, tail);
    Ok(())
}

async fn load_tail(
    connection: &mut SqliteConnection,
    community: CommunityId,
) -> Result<Option<Sequence>, sqlx::Error> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(last) FROM history WHERE community = ?")
        .bind(id_to_sql(community))
        .fetch_one(connection)
        .await?;
    Ok(last.map(|last| Sequence(position_from_sql(last))))
}

async fn insert(
    connection: &mut SqliteConnection,
    community: CommunityId,
    mut records: Vec<(HistoryRecord, bool)>,
) -> Result<(), sqlx::Error> {
    while !records.is_empty() {
        let rows: Vec<(HistoryRecord, bool)> = records.drain(..records.len().min(ROWS_MAX)).collect();
        let head = "INSERT INTO history (community, first, last, gap, hash, body) VALUES";
        let mut query = sqlx::query(sqlx::AssertSqlSafe(rows_sql(head, "(?, ?, ?, ?, ?, ?)", rows.len())));
        for (record, gap) in rows {
            query = query
                .bind(id_to_sql(community))
                .bind(position_to_sql(record.first.0))
                .bind(position_to_sql(record.last.0))
                .bind(gap)
                .bind(hash(community, &record).0.to_vec())
                .bind(Vec::from(record.body));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Inserts a record before others, unless it overlaps one.
async fn insert_between(
    connection: &mut SqliteConnection,
    community: CommunityId,
    record: HistoryRecord,
) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO history (community, first, last, hash, body, gap) SELECT ?1, ?2, ?3, ?4, ?5, \
                   NOT EXISTS (SELECT 1 FROM history WHERE community = ?1 AND last = ?2 - 1) \
               WHERE NOT EXISTS (SELECT 1 FROM ( \
                   SELECT first FROM history WHERE community = ?1 AND last >= ?2 ORDER BY last LIMIT 1 \
               ) WHERE first <= ?3)";
    let inserted = sqlx::query(sql)
        .bind(id_to_sql(community))
        .bind(position_to_sql(record.first.0))
        .bind(position_to_sql(record.last.0))
        .bind(hash(community, &record).0.to_vec())
        .bind(Vec::from(record.body))
        .execute(&mut *connection)
        .await?;
    if inserted.rows_affected() > 0 {
        sqlx::query("UPDATE history SET gap = 0 WHERE community = ? AND first = ? AND gap = 1")
            .bind(id_to_sql(community))
            .bind(position_to_sql(record.last.0.saturating_add(1)))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Drops records that end before `keep_from`.
pub(super) async fn prune(
    connection: &mut SqliteConnection,
    tails: &mut Tails,
    community: CommunityId,
    keep_from: Sequence,
) -> Result<(), sqlx::Error> {
    tails.0.remove(&community);
    let sql = "DELETE FROM history WHERE community = ? AND last < ?";
    delete(&mut *connection, sql, community, keep_from).await?;
    // What is the oldest now follows nothing any more.
    let sql = "UPDATE history SET gap = 1 WHERE gap = 0 AND id = \
               (SELECT id FROM history WHERE community = ? ORDER BY last LIMIT 1)";
    sqlx::query(sql).bind(id_to_sql(community)).execute(connection).await?;
    Ok(())
}

/// Drops records that end at `from` or later.
pub(super) async fn truncate(
    connection: &mut SqliteConnection,
    tails: &mut Tails,
    community: CommunityId,
    from: Sequence,
) -> Result<(), sqlx::Error> {
    tails.0.remove(&community);
    delete(connection, "DELETE FROM history WHERE community = ? AND last >= ?", community, from).await
}

async fn delete(
    connection: &mut SqliteConnection,
    sql: &'static str,
    community: CommunityId,
    sequence: Sequence,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(sql).bind(id_to_sql(community)).bind(position_to_sql(sequence.0));
    query.execute(connection).await?;
    Ok(())
}

/// Records from `from` on: sizes first, so that no more bodies are read than are returned.
pub(super) async fn read(
    readers: &SqlitePool,
    community: CommunityId,
    from: Sequence,
    bytes_max: usize,
) -> Result<Read, StoreError> {
    let failed = |source| super::reading(format!("the history of community {community}"), source);
    let (mut last, mut bytes, mut is_full) = (None, 0_usize, false);
    let mut next = position_to_sql(from.0);
    'sizes: loop {
        let sql = "SELECT last, length(body) FROM history \
                   WHERE community = ? AND last >= ? ORDER BY last LIMIT ?";
        let query = sqlx::query_as(sql).bind(id_to_sql(community)).bind(next).bind(READ_ROWS);
        let sizes: Vec<(i64, i64)> = query.fetch_all(readers).await.map_err(failed)?;
        let is_end = sizes.len() < usize::try_from(READ_ROWS).expect("a small number");
        for (row, size) in sizes {
            bytes = bytes.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            if bytes > bytes_max && last.is_some() {
                is_full = true;
                break 'sizes;
            }
            (last, next) = (Some(row), row.saturating_add(1));
        }
        if is_end {
            break;
        }
    }
    let Some(last) = last else { return Ok(Read { records: Vec::new(), is_full }) };
    let sql = "SELECT first, last, hash, body FROM history \
               WHERE community = ? AND last BETWEEN ? AND ? ORDER BY last";
    let query = sqlx::query_as(sql).bind(id_to_sql(community)).bind(position_to_sql(from.0)).bind(last);
    let rows: Vec<(i64, i64, Vec<u8>, Vec<u8>)> = query.fetch_all(readers).await.map_err(failed)?;
    let records = rows.into_iter().map(|row| checked(community, row)).collect::<Result<_, _>>()?;
    Ok(Read { records, is_full })
}

fn checked(
    community: CommunityId,
    (first, last, stored, body): (i64, i64, Vec<u8>, Vec<u8>),
) -> Result<HistoryRecord, StoreError> {
    let (first, last) = (Sequence(position_from_sql(first)), Sequence(position_from_sql(last)));
    let record = HistoryRecord { first, last, body: Bytes::from(body) };
    if stored == hash(community, &record).0 {
        return Ok(record);
    }
    let what = format!(
        "transitions {first} to {last} of community {community} in archive.db are not what was written: \
         read them from another replica"
    );
    Err(StoreError::Damaged { what })
}

/// The bounds of the newest gapless run.
pub(super) async fn held(
    readers: &SqlitePool,
    community: CommunityId,
) -> Result<Option<(Sequence, Sequence)>, StoreError> {
    let sql = "SELECT \
                   (SELECT max(first) FROM history WHERE community = ?1 AND gap = 1), \
                   (SELECT max(last) FROM history WHERE community = ?1)";
    let query = sqlx::query_as(sql).bind(id_to_sql(community));
    let (first, last): (Option<i64>, Option<i64>) = query
        .fetch_one(readers)
        .await
        .map_err(|source| super::reading(format!("the history of community {community}"), source))?;
    let sequence = |position: i64| Sequence(position_from_sql(position));
    Ok(first.map(sequence).zip(last.map(sequence)))
}

fn hash(community: CommunityId, record: &HistoryRecord) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    for number in [community.0, record.first.0, record.last.0] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&record.body);
    Hash(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_record_never_changes_and_covers_its_place() {
        let record = |first| HistoryRecord {
            first: Sequence(first),
            last: Sequence(9),
            body: Bytes::from_static(b"transitions"),
        };
        assert_eq!(
            hash(CommunityId(3), &record(7)).to_string(),
            "6c666130d88fd4568541681b9415e60ae66b01392cafa3d2ce046fd10e20a19b"
        );
        assert_ne!(hash(CommunityId(3), &record(7)), hash(CommunityId(3), &record(8)));
        assert_ne!(hash(CommunityId(3), &record(7)), hash(CommunityId(4), &record(7)));
    }
}
