//! What one drain of the writer's queue comes to, per group: the least that has to be written.
//!
//! Pure. Calls on a group reduce to at most: delete all, cut the end, cut the beginning, then one
//! run of new entries. Entries that a later call of the same drain takes away are never written.

use crate::port::{OnDurable, StoreError, WalEntry, WalState};
use althing_core::ids::{CommunityId, Hash};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A call that changes the file.
pub(super) struct Command {
    pub(super) group: CommunityId,
    pub(super) change: Change,
    pub(super) waiter: Waiter,
}

/// What a call changes.
pub(super) enum Change {
    Append { entries: Vec<WalEntry>, epoch: u64 },
    Vote(Bytes),
    Committed(Option<Bytes>),
    Truncate { from: u64 },
    Purge { upto: u64, record: Bytes },
    Remove,
}

/// Who is to be told when a call's change is durable.
pub(super) enum Waiter {
    /// An append, and the room that its bytes take in the queue.
    Callback(OnDurable, OwnedSemaphorePermit),
    /// A call that waits.
    Call(oneshot::Sender<Result<(), StoreError>>),
    /// Nobody: whenever it is.
    Nobody,
}

impl Waiter {
    pub(super) fn tell(self, result: Result<(), StoreError>) {
        match self {
            Self::Callback(on_durable, room) => {
                drop(room);
                on_durable(result);
            }
            // Who does not wait any more need not know.
            Self::Call(done) => drop(done.send(result)),
            Self::Nobody => {}
        }
    }
}

/// A group's records as the file is to have them.
#[derive(Clone, Default)]
pub(super) struct Records {
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
    pub(super) purged: Option<(u64, Bytes)>,
}

const DOMAIN: &str = "althing 2026 store group 1";

impl Records {
    /// Stands for a row of `groups`: the group, then each of vote, committed record, purged index and
    /// purged record as a byte 0, or a byte 1, its length (8 bytes) and itself; little-endian.
    pub(super) fn hash(&self, group: CommunityId) -> Hash {
        let purged = self.purged.as_ref();
        let index = purged.map(|(index, _)| index.to_le_bytes());
        let fields: [Option<&[u8]>; 4] = [
            self.vote.as_deref(),
            self.committed.as_deref(),
            index.as_ref().map(|index| &index[..]),
            purged.map(|(_, record)| &record[..]),
        ];
        let mut row = group.0.to_le_bytes().to_vec();
        for field in fields {
            row.push(u8::from(field.is_some()));
            if let Some(field) = field {
                row.extend((field.len() as u64).to_le_bytes());
                row.extend(field);
            }
        }
        Hash::of(DOMAIN, &row)
    }
}

impl From<&WalState> for Records {
    fn from(state: &WalState) -> Self {
        let WalState { vote, committed, purged, .. } = state.clone();
        Self { vote, committed, purged }
    }
}

/// Drains that committed records may wait for: they only spare a start the wait for its leader, and
/// writing them is a page of its own.
const COMMITTED_WAITS: u32 = 64;

/// The records of all groups, and which of them the file does not have yet. Outlives a drain,
/// because committed records wait.
#[derive(Default)]
pub(super) struct AllRecords {
    pub(super) groups: BTreeMap<CommunityId, Records>,
    pub(super) unwritten: BTreeSet<CommunityId>,
    /// Whether more than committed records is unwritten.
    is_urgent: bool,
    /// Drains that were written without the records.
    waited: u32,
}

/// What a drain changes.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) groups: BTreeMap<CommunityId, GroupPlan>,
    /// Who is to be told, in the order of the calls.
    pub(super) waiters: Vec<Waiter>,
    /// Whether something has to be durable, so that the drain needs an fsync.
    pub(super) needs_commit: bool,
}

/// What a drain changes of one group's entries, in the order of the fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GroupPlan {
    pub(super) remove: bool,
    pub(super) truncate_from: Option<u64>,
    pub(super) purge_upto: Option<u64>,
    pub(super) entries: Vec<WalEntry>,
    pub(super) epoch: u64,
}

impl Plan {
    /// Reduces a drain, and takes its records in.
    pub(super) fn of(commands: impl IntoIterator<Item = Command>, records: &mut AllRecords) -> Self {
        let mut plan = Self::default();
        for Command { group, change, waiter } in commands {
            plan.needs_commit |= !matches!(change, Change::Committed(_));
            plan.waiters.push(waiter);
            records.take(group, &change);
            plan.groups.entry(group).or_default().take(change);
        }
        plan
    }
}

impl AllRecords {
    /// Whether the drain that is about to be written takes the records along.
    pub(super) fn are_due(&mut self) -> bool {
        self.waited += 1;
        !self.unwritten.is_empty() && (self.is_urgent || self.waited >= COMMITTED_WAITS)
    }

    /// They are written.
    pub(super) fn wrote(&mut self) {
        (self.is_urgent, self.waited) = (false, 0);
        self.unwritten.clear();
    }

    fn take(&mut self, group: CommunityId, change: &Change) {
        let records = match change {
            Change::Append { .. } | Change::Truncate { .. } => return,
            Change::Remove => {
                self.groups.remove(&group);
                self.unwritten.remove(&group);
                return;
            }
            Change::Vote(_) | Change::Committed(_) | Change::Purge { .. } => {
                self.groups.entry(group).or_default()
            }
        };
        match change {
            Change::Vote(vote) => records.vote = Some(vote.clone()),
            Change::Committed(committed) => records.committed.clone_from(committed),
            Change::Purge { upto, record } => records.purged = Some((*upto, record.clone())),
            Change::Append { .. } | Change::Truncate { .. } | Change::Remove => {}
        }
        self.is_urgent |= !matches!(change, Change::Committed(_));
        self.unwritten.insert(group);
    }
}

impl GroupPlan {
    fn take(&mut self, change: Change) {
        match change {
            Change::Append { entries, epoch } => {
                self.entries.extend(entries);
                self.epoch = epoch;
            }
            Change::Truncate { from } => {
                self.entries.retain(|entry| entry.index < from);
                if self.entries.is_empty() {
                    self.truncate_from = Some(self.truncate_from.map_or(from, |before| before.min(from)));
                }
            }
            Change::Purge { upto, .. } => {
                self.entries.retain(|entry| entry.index > upto);
                self.purge_upto = self.purge_upto.max(Some(upto));
            }
            Change::Remove => *self = Self { remove: true, ..Self::default() },
            Change::Vote(_) | Change::Committed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    const GROUP: CommunityId = CommunityId(1);

    fn entries(range: Range<u64>, body: &'static str) -> Vec<WalEntry> {
        range.map(|index| WalEntry { index, body: Bytes::from_static(body.as_bytes()) }).collect()
    }

    fn append(range: Range<u64>, body: &'static str) -> Change {
        Change::Append { entries: entries(range, body), epoch: 0 }
    }

    fn plan(changes: Vec<Change>) -> (Plan, AllRecords) {
        let mut records = AllRecords::default();
        let commands =
            changes.into_iter().map(|change| Command { group: GROUP, change, waiter: Waiter::Nobody });
        (Plan::of(commands, &mut records), records)
    }

    #[test]
    fn the_hash_of_records_never_changes_and_covers_their_group() {
        let bytes = |text: &'static [u8]| Some(Bytes::from_static(text));
        let whole = Records {
            vote: bytes(b"vote"),
            committed: bytes(b"committed"),
            purged: Some((258, Bytes::from_static(b"purged"))),
        };
        assert_eq!(
            whole.hash(CommunityId(3)).to_string(),
            "eac70c7a09c6489a3793f3da135ab8d20af8532dae4d2a2ab19601318e0fdad6"
        );
        assert_eq!(
            Records::default().hash(CommunityId(3)).to_string(),
            "6414239ce6210033dd1e9495b2f07986cd5dae6740214639e04f4ba5b0aa011d"
        );
        assert_ne!(whole.hash(CommunityId(3)), whole.hash(CommunityId(4)));
    }

    #[test]
    fn entries_cut_in_the_same_drain_are_never_written() {
        let (plan, _) = plan(vec![append(5..9, "old"), Change::Truncate { from: 7 }, append(7..8, "new")]);
        let expected = [entries(5..7, "old"), entries(7..8, "new")].concat();
        assert_eq!(plan.groups[&GROUP], GroupPlan { entries: expected, ..GroupPlan::default() });
    }

    #[test]
    fn a_cut_below_the_new_entries_reaches_the_file() {
        let (plan, _) = plan(vec![append(5..9, "old"), Change::Truncate { from: 3 }, append(3..4, "new")]);
        let expected =
            GroupPlan { truncate_from: Some(3), entries: entries(3..4, "new"), ..GroupPlan::default() };
        assert_eq!(plan.groups[&GROUP], expected);
    }

    #[test]
    fn committed_records_alone_need_no_fsync_and_wait_but_not_for_ever() {
        let (alone, mut records) = plan(vec![Change::Committed(Some(Bytes::from_static(b"c")))]);
        assert!(!alone.needs_commit);
        assert!((1..COMMITTED_WAITS).all(|_| !records.are_due()));
        assert!(records.are_due());
        records.wrote();
        assert!(!records.are_due());
        let (with_vote, mut records) = plan(vec![Change::Committed(None), Change::Vote(Bytes::new())]);
        assert!(with_vote.needs_commit && records.are_due());
    }

    #[test]
    fn removal_forgets_what_came_before_it_but_not_what_comes_after() {
        let (plan, records) =
            plan(vec![append(1..3, "old"), Change::Vote(Bytes::new()), Change::Remove, append(1..2, "new")]);
        let expected = GroupPlan { remove: true, entries: entries(1..2, "new"), ..GroupPlan::default() };
        assert_eq!(plan.groups[&GROUP], expected);
        assert!(records.groups.is_empty() && records.unwritten.is_empty());
    }
}
