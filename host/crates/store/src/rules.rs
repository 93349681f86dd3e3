//! Rules of the port that both implementations keep with the same words.

use crate::port::{StoreError, WalEntry};
use althing_core::ids::CommunityId;

/// Entries must follow each other, and what is there; an empty log that was never purged may begin
/// anywhere.
pub(crate) fn check_follows(
    group: CommunityId,
    last: Option<u64>,
    entries: &[WalEntry],
) -> Result<(), StoreError> {
    let Some(first) = entries.first() else { return Ok(()) };
    let expected = last.map_or(first.index, |last| last + 1)..;
    for (expected, WalEntry { index, .. }) in expected.zip(entries) {
        if *index != expected {
            let what =
                format!("an append to the log of group {group} has index {index} where {expected} follows");
            return Err(StoreError::Damaged { what });
        }
    }
    Ok(())
}

/// Takes from the front while `bytes_max` is not exceeded, but at least one.
pub(crate) fn take_bounded<T>(
    items: impl IntoIterator<Item = T>,
    bytes_max: usize,
    bytes: impl Fn(&T) -> usize,
) -> Vec<T> {
    let (mut taken, mut total) = (Vec::new(), 0_usize);
    for item in items {
        total = total.saturating_add(bytes(&item));
        if total > bytes_max && !taken.is_empty() {
            break;
        }
        taken.push(item);
    }
    taken
}
