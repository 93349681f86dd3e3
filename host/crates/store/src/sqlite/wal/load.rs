//! What `wal.db` holds when it is opened, and whether it can be what was written.

use super::{
    super::{
        database::{OpenError, id_from_sql, opening, position_from_sql, position_to_sql},
        mark::Progress,
    },
    plan::Records,
    segment::{self, LINK_BYTES},
};
use crate::port::WalState;
use althing_core::ids::{CommunityId, Hash};
use bytes::Bytes;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, SqliteConnection};
use std::{collections::BTreeMap, path::Path};

/// What the file holds.
pub(super) struct Loaded {
    /// The records and bounds of every group's log.
    pub(super) states: BTreeMap<CommunityId, WalState>,
    /// The hash of each log's last segment.
    pub(super) tips: BTreeMap<CommunityId, Hash>,
    /// The last change.
    pub(super) progress: Progress,
}

type GroupRow = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Option<Vec<u8>>, Vec<u8>);
type SegmentRow = (i64, i64, i64, i64, Vec<u8>);

/// Reads what the file holds, and checks that it is what was written and has come as far as is marked.
pub(super) async fn checked(
    connection: &mut SqliteConnection,
    path: &Path,
    marked: Progress,
) -> Result<Loaded, OpenError> {
    let loaded = load(connection, path).await?;
    check_mark(connection, path, loaded.progress, marked).await?;
    Ok(loaded)
}

/// Reads what the file holds, and checks that every record is what was written, that no log has a gap
/// and that every segment follows the one it was written behind. Entries are not read: each segment
/// has its hash, which is checked when it is.
pub(super) async fn load(connection: &mut SqliteConnection, path: &Path) -> Result<Loaded, OpenError> {
    let mut states = groups(connection, path).await?;
    let mut progress = progress(connection).await.map_err(|error| opening(path, error))?;
    let mut tips = BTreeMap::new();
    let sql = format!(
        "SELECT number, community, first, last, substr(body, 1, {LINK_BYTES}) FROM segments ORDER BY community, last"
    );
    let mut rows = sqlx::query_as(AssertSqlSafe(sql)).fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(|error| opening(path, error))? {
        let (number, group, first, last, head): SegmentRow = row;
        let group = id_from_sql(group);
        let damaged = |what| OpenError::Damaged { path: path.to_owned(), what };
        extend(states.entry(group).or_default(), position_from_sql(first), position_from_sql(last)).map_err(
            |expected| {
                damaged(format!("the log of group {group} has index {first} where {expected} follows"))
            },
        )?;
        let link = segment::link(&head)
            .filter(|link| tips.get(&group).is_none_or(|tip| *tip == link.before))
            .ok_or_else(|| {
                damaged(format!("entry {first} of group {group} does not follow the one before it"))
            })?;
        tips.insert(group, link.hash);
        if position_from_sql(number) > progress.number {
            progress = Progress { number: position_from_sql(number), hash: link.hash };
        }
    }
    Ok(Loaded { states, tips, progress })
}

async fn groups(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<BTreeMap<CommunityId, WalState>, OpenError> {
    let mut states = BTreeMap::new();
    let mut rows =
        sqlx::query_as("SELECT community, vote, committed, purged, purged_record, hash FROM groups")
            .fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(|error| opening(path, error))? {
        let (group, vote, committed, purged, purged_record, hash): GroupRow = row;
        let group = id_from_sql(group);
        let state = WalState {
            vote: vote.map(Bytes::from),
            committed: committed.map(Bytes::from),
            purged: purged.map(position_from_sql).zip(purged_record.map(Bytes::from)),
            held: None,
        };
        if Records::from(&state).hash(group).0[..] != hash[..] {
            let what = format!("the records of group {group} are not what was written");
            return Err(OpenError::Damaged { path: path.to_owned(), what });
        }
        states.insert(group, state);
    }
    Ok(states)
}

/// The last change that was not a segment.
async fn progress(connection: &mut SqliteConnection) -> Result<Progress, sqlx::Error> {
    let row: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT number, hash FROM progress").fetch_optional(connection).await?;
    let read = row.and_then(|(number, hash)| {
        Some(Progress { number: position_from_sql(number), hash: Hash(hash.try_into().ok()?) })
    });
    Ok(read.unwrap_or_default())
}

/// What is wrong if a log is not the one that was marked.
pub(super) async fn check_mark(
    connection: &mut SqliteConnection,
    path: &Path,
    found: Progress,
    marked: Progress,
) -> Result<(), OpenError> {
    let lost = || OpenError::Lost { path: path.to_owned(), found: found.number, marked: marked.number };
    if found.number < marked.number {
        return Err(lost());
    }
    // The change that was marked, if it is still there, is the one that was marked.
    let of_marked = if found.number == marked.number {
        Some(found.hash)
    } else {
        let head: Option<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT substr(body, 1, {LINK_BYTES}) FROM segments WHERE number = ?"
        )))
        .bind(position_to_sql(marked.number))
        .fetch_optional(connection)
        .await
        .map_err(|error| opening(path, error))?;
        head.and_then(|head| segment::link(&head)).map(|link| link.hash)
    };
    if of_marked.is_some_and(|hash| hash != marked.hash) { Err(lost()) } else { Ok(()) }
}

/// Adds a segment to what is held of a log; the error is the index that should have been.
fn extend(state: &mut WalState, first: u64, last: u64) -> Result<(), u64> {
    let purged = state.purged.as_ref().map(|(index, _)| *index);
    match (state.held, purged) {
        (Some((_, before)), _) if first != before + 1 => return Err(before + 1),
        // What a truncation below the purged index left of a segment counts as gone.
        (None, Some(purged)) if last <= purged => return Ok(()),
        // Entries of the first segment may be purged, but none may miss between.
        (None, Some(purged)) if first > purged + 1 => return Err(purged + 1),
        _ => {}
    }
    let held_first = state.held.map(|(first, _)| first);
    let first = held_first.unwrap_or_else(|| purged.map_or(first, |purged| first.max(purged + 1)));
    state.held = Some((first, last));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_between_segments_is_damage_and_a_purged_beginning_is_not() {
        let purged = WalState { purged: Some((5, Bytes::new())), ..WalState::default() };
        let mut state = purged.clone();
        assert_eq!(extend(&mut state, 3, 8), Ok(()));
        assert_eq!(state.held, Some((6, 8)));
        assert_eq!(extend(&mut state, 9, 9), Ok(()));
        assert_eq!(extend(&mut state, 11, 12), Err(10));
        assert_eq!(extend(&mut purged.clone(), 7, 8), Err(6));
        let mut garbage = purged.clone();
        assert_eq!(extend(&mut garbage, 2, 5), Ok(()));
        assert_eq!(garbage, purged);
        assert_eq!(extend(&mut WalState::default(), 40, 41), Ok(()));
    }
}
