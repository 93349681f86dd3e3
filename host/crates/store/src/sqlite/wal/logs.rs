//! What is known of every group's log without asking SQLite.
//!
//! Changes take effect here first, in the order of the calls, and the writer follows with the file.
//! So the records and the bounds are always here, and so are the newest entries of each log (its
//! *tail*): those that are not yet written must be, those that are written may be, within a bound
//! over all groups. Knows nothing of files.

use crate::{
    port::{StoreError, WalEntry, WalState},
    rules::{check_follows, take_bounded},
};
use althing_core::ids::CommunityId;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

/// The logs of all groups.
pub(super) struct Logs {
    logs: BTreeMap<CommunityId, Log>,
    /// Written runs in the tails, oldest first: what is let go when the bound is met.
    written: VecDeque<Written>,
    written_bytes: usize,
    written_bytes_max: usize,
    epoch: u64,
    /// Whether the store accepts nothing more.
    pub(super) closed: bool,
}

/// One group's log.
#[derive(Default)]
pub(super) struct Log {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
    held: Option<(u64, u64)>,
    /// The newest entries, up to the last one held.
    tail: VecDeque<WalEntry>,
    /// Entries from here on are not in the file yet.
    unwritten_from: u64,
    /// Changes whenever entries go away other than by being let go from the tail.
    epoch: u64,
}

struct Written {
    group: CommunityId,
    last: u64,
    bytes: usize,
}

/// Where the entries are that somebody wants to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All that there is of them.
    Here(Vec<WalEntry>),
    /// These, from the start on, are in the file only; what is read there is good if the log's
    /// epoch is still the same afterwards.
    InFile(Range<u64>),
    /// Entries went away since the epoch.
    Changed,
}

/// What an entry costs in memory beside its bytes.
const ENTRY_BYTES: usize = 64;

impl Logs {
    /// No logs; `written_bytes_max` bounds the entries that are kept although they are written.
    pub(super) fn new(written_bytes_max: usize) -> Self {
        Self {
            logs: BTreeMap::new(),
            written: VecDeque::new(),
            written_bytes: 0,
            written_bytes_max,
            epoch: 0,
            closed: false,
        }
    }

    /// Takes in a log as the file has it.
    pub(super) fn load(&mut self, group: CommunityId, state: WalState) {
        let WalState { vote, committed, purged, held } = state;
        let next = held.map(|(_, last)| last).or(purged.as_ref().map(|(index, _)| *index));
        let unwritten_from = next.map_or(0, |last| last + 1);
        let tail = VecDeque::new();
        self.logs.insert(group, Log { vote, committed, purged, held, tail, unwritten_from, epoch: 0 });
    }

    pub(super) fn state(&self, group: CommunityId) -> WalState {
        let Some(log) = self.logs.get(&group) else { return WalState::default() };
        WalState {
            vote: log.vote.clone(),
            committed: log.committed.clone(),
            purged: log.purged.clone(),
            held: log.held,
        }
    }

    pub(super) fn groups(&self) -> Vec<CommunityId> {
        self.logs.iter().filter(|(_, log)| !log.is_empty()).map(|(group, _)| *group).collect()
    }

    /// Changes whenever entries of a group go away.
    pub(super) fn epoch(&self, group: CommunityId) -> u64 {
        self.logs.get(&group).map_or(0, |log| log.epoch)
    }

    /// Finds the entries of a range, if none went away since `epoch`.
    pub(super) fn find(&self, group: CommunityId, epoch: u64, range: Range<u64>, bytes_max: usize) -> Found {
        if self.epoch(group) != epoch {
            return Found::Changed;
        }
        let Some((log, (first, last))) = self.logs.get(&group).and_then(|log| Some((log, log.held?))) else {
            return Found::Here(Vec::new());
        };
        let range = range.start.max(first)..range.end.min(last + 1);
        if range.is_empty() {
            return Found::Here(Vec::new());
        }
        let tail_from = log.tail.front().map_or(last + 1, |entry| entry.index);
        if range.start < tail_from {
            return Found::InFile(range.start..range.end.min(tail_from));
        }
        let place = |index: u64| usize::try_from(index - tail_from).expect("a tail fits into memory");
        let entries = log.tail.range(place(range.start)..place(range.end)).cloned();
        Found::Here(take_bounded(entries, bytes_max, |entry| entry.body.len()))
    }

    /// Appends to a tail; returns the log's epoch, for [`Logs::wrote`].
    pub(super) fn append(&mut self, group: CommunityId, entries: &[WalEntry]) -> Result<u64, StoreError> {
        let log = self.logs.entry(group).or_default();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(log.epoch) };
        let before = log.held.map(|(_, last)| last).or(log.purged.as_ref().map(|(index, _)| *index));
        check_follows(group, before, entries)?;
        if log.held.is_none() {
            log.unwritten_from = first.index;
        }
        log.held = Some((log.held.map_or(first.index, |(first, _)| first), last.index));
        log.tail.extend(entries.iter().cloned());
        Ok(log.epoch)
    }

    pub(super) fn save_vote(&mut self, group: CommunityId, vote: Bytes) {
        self.logs.entry(group).or_default().vote = Some(vote);
    }

    pub(super) fn save_committed(&mut self, group: CommunityId, committed: Option<Bytes>) {
        self.logs.entry(group).or_default().committed = committed;
    }

    pub(super) fn truncate(&mut self, group: CommunityId, from: u64) {
        self.epoch += 1;
        let Some(log) = self.logs.get_mut(&group) else { return };
        log.epoch = self.epoch;
        while log.tail.back().is_some_and(|entry| entry.index >= from) {
            log.tail.pop_back();
        }
        log.held =
            log.held.filter(|(first, _)| *first < from).map(|(first, last)| (first, last.min(from - 1)));
        log.unwritten_from = log.unwritten_from.min(from);
    }

    /// Whether entries up to `upto` are purged already.
    pub(super) fn is_purged(&self, group: CommunityId, upto: u64) -> bool {
        let purged = self.logs.get(&group).and_then(|log| log.purged.as_ref());
        purged.is_some_and(|(purged, _)| *purged >= upto)
    }

    pub(super) fn purge(&mut self, group: CommunityId, upto: u64, record: Bytes) {
        self.epoch += 1;
        let log = self.logs.entry(group).or_default();
        log.epoch = self.epoch;
        log.purged = Some((upto, record));
        log.held = log.held.filter(|(_, last)| *last > upto).map(|(first, last)| (first.max(upto + 1), last));
        log.let_go(upto);
    }

    pub(super) fn remove(&mut self, group: CommunityId) {
        self.epoch += 1;
        // An epoch is never used again, so a group of the same name later is not taken for this one.
        self.logs.insert(group, Log { epoch: self.epoch, ..Log::default() });
    }

    /// The file has a group's entries up to `last`. Lets go of the oldest written entries of all
    /// groups that are beyond the bound.
    pub(super) fn wrote(&mut self, group: CommunityId, epoch: u64, entries: &[WalEntry]) {
        let (Some(last), Some(log)) = (entries.last(), self.logs.get_mut(&group)) else { return };
        // Entries of another epoch may be gone, and others in their places not yet written. Those
        // that are not gone count as written with the next ones: the writer keeps the order.
        if log.epoch == epoch {
            log.unwritten_from = log.unwritten_from.max(last.index + 1);
        }
        let bytes = entries.iter().map(|entry| ENTRY_BYTES + entry.body.len()).sum();
        self.written.push_back(Written { group, last: last.index, bytes });
        self.written_bytes += bytes;
        while self.written_bytes > self.written_bytes_max {
            let oldest = self.written.pop_front().expect("bytes are of runs");
            self.written_bytes -= oldest.bytes;
            let Some(log) = self.logs.get_mut(&oldest.group) else { continue };
            if let Some(written) = log.unwritten_from.checked_sub(1) {
                log.let_go(oldest.last.min(written));
            }
        }
    }
}

impl Log {
    fn is_empty(&self) -> bool {
        self.vote.is_none() && self.committed.is_none() && self.purged.is_none() && self.held.is_none()
    }

    fn let_go(&mut self, upto: u64) {
        while self.tail.front().is_some_and(|entry| entry.index <= upto) {
            self.tail.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: CommunityId = CommunityId(1);

    fn entries(range: Range<u64>, body: &'static str) -> Vec<WalEntry> {
        range.map(|index| WalEntry { index, body: Bytes::from_static(body.as_bytes()) }).collect()
    }

    #[test]
    fn entries_that_are_not_written_are_never_let_go() {
        let mut logs = Logs::new(0);
        let epoch = logs.append(GROUP, &entries(1..5, "a")).unwrap();
        logs.append(GROUP, &entries(5..7, "b")).unwrap();
        logs.wrote(GROUP, epoch, &entries(1..5, "a"));
        assert_eq!(logs.find(GROUP, epoch, 1..7, 100), Found::InFile(1..5));
        assert_eq!(logs.find(GROUP, epoch, 5..7, 100), Found::Here(entries(5..7, "b")));
    }

    #[test]
    fn a_write_of_entries_truncated_meanwhile_does_not_let_their_successors_go() {
        let mut logs = Logs::new(0);
        let epoch = logs.append(GROUP, &entries(1..9, "old")).unwrap();
        logs.truncate(GROUP, 4);
        let later = logs.append(GROUP, &entries(4..6, "new")).unwrap();
        logs.wrote(GROUP, epoch, &entries(1..9, "old"));
        assert_eq!(logs.find(GROUP, later, 4..6, 100), Found::Here(entries(4..6, "new")));
        assert_eq!(logs.find(GROUP, epoch, 4..6, 100), Found::Changed);
        logs.wrote(GROUP, later, &entries(4..6, "new"));
        assert_eq!(logs.find(GROUP, later, 1..6, 100), Found::InFile(1..6));
    }

    #[test]
    fn the_oldest_runs_of_all_groups_go_first() {
        let run = ENTRY_BYTES + 1;
        let mut logs = Logs::new(2 * run);
        for group in 1..=3 {
            let epoch = logs.append(CommunityId(group), &entries(1..2, "a")).unwrap();
            logs.wrote(CommunityId(group), epoch, &entries(1..2, "a"));
        }
        assert_eq!(logs.find(CommunityId(1), 0, 1..2, 100), Found::InFile(1..2));
        assert_eq!(logs.find(CommunityId(2), 0, 1..2, 100), Found::Here(entries(1..2, "a")));
    }

    #[test]
    fn a_removed_group_of_the_same_name_has_another_epoch() {
        let mut logs = Logs::new(0);
        let epoch = logs.append(GROUP, &entries(1..2, "a")).unwrap();
        logs.remove(GROUP);
        assert_ne!(logs.epoch(GROUP), epoch);
        assert_eq!(logs.groups(), []);
    }
}
