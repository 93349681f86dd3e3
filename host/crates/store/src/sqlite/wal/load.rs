//! What `wal.db` holds when it is opened, and whether it can be what was written.

use super::super::database::{OpenError, id_from_sql, opening, position_from_sql};
use crate::port::WalState;
use althing_core::ids::CommunityId;
use bytes::Bytes;
use futures::TryStreamExt;
use sqlx::SqliteConnection;
use std::{collections::BTreeMap, path::Path};

type GroupRow = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Option<Vec<u8>>);

/// Reads the records and the bounds of every group's log, and checks that no log has a gap. Bodies
/// of entries are not read: each has its own hash, which is checked when it is.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<BTreeMap<CommunityId, WalState>, OpenError> {
    let mut states = BTreeMap::new();
    let mut rows = sqlx::query_as("SELECT community, vote, committed, purged, purged_record FROM groups")
        .fetch(&mut *connection);
    while let Some(row) = rows.try_next().await.map_err(|error| opening(path, error))? {
        let (group, vote, committed, purged, purged_record): GroupRow = row;
        let state = WalState {
            vote: vote.map(Bytes::from),
            committed: committed.map(Bytes::from),
            purged: purged.map(position_from_sql).zip(purged_record.map(Bytes::from)),
            held: None,
        };
        states.insert(id_from_sql(group), state);
    }
    drop(rows);
    let mut rows = sqlx::query_as("SELECT community, first, last FROM segments ORDER BY community, last")
        .fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(|error| opening(path, error))? {
        let (group, first, last): (i64, i64, i64) = row;
        let group = id_from_sql(group);
        extend(states.entry(group).or_default(), position_from_sql(first), position_from_sql(last)).map_err(
            |expected| OpenError::Damaged {
                path: path.to_owned(),
                what: format!("the log of group {group} has index {first} where {expected} follows"),
            },
        )?;
    }
    Ok(states)
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
