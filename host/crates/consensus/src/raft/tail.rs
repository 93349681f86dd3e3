//! The newest entries of a log, decoded, so that the way of an entry to the followers and to the
//! state machine reads no storage.

use super::types::{Entry, Payload};
use std::{collections::VecDeque, ops::Range};

/// Most entries kept.
const ENTRIES_MAX: usize = 4096;
/// Most bytes kept, but for a single entry that is larger alone.
const BYTES_MAX: usize = 16 << 20;

/// Consecutive entries that end with the last of the log.
#[derive(Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// Entries were appended to the log.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let follows = self.entries.back().map(|last| last.log_id.index + 1);
        if let (Some(next), Some(first)) = (follows, entries.first())
            && first.log_id.index != next
        {
            self.clear();
        }
        for entry in entries {
            self.bytes += size(&entry);
            self.entries.push_back(entry);
        }
        while self.entries.len() > ENTRIES_MAX || (self.bytes > BYTES_MAX && self.entries.len() > 1) {
            self.drop_first();
        }
    }

    /// The log was truncated: nothing from `from` on is left.
    pub(crate) fn truncate(&mut self, from: u64) {
        while self.entries.back().is_some_and(|last| last.log_id.index >= from) {
            let dropped = self.entries.pop_back().expect("there is a last entry");
            self.bytes -= size(&dropped);
        }
    }

    /// Entries before `from` are no longer wanted soon.
    pub(crate) fn release(&mut self, from: u64) {
        while self.entries.front().is_some_and(|first| first.log_id.index < from) {
            self.drop_first();
        }
    }

    /// The entries of a range, if the tail reaches back to its start; at most `count_max`, stopping
    /// before `bytes_max` is exceeded, but at least one.
    pub(crate) fn read(&self, range: &Range<u64>, count_max: usize, bytes_max: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.log_id.index;
        let skip = usize::try_from(range.start.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let entries: Vec<Entry> = self
            .entries
            .iter()
            .skip(skip)
            .take_while(|entry| entry.log_id.index < range.end)
            .take(count_max)
            .take_while(|entry| {
                let is_first = bytes == 0;
                bytes += size(entry);
                is_first || bytes <= bytes_max
            })
            .cloned()
            .collect();
        (!entries.is_empty()).then_some(entries)
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn drop_first(&mut self) {
        if let Some(dropped) = self.entries.pop_front() {
            self.bytes -= size(&dropped);
        }
    }
}

/// What an entry weighs: its payload and something for itself.
fn size(entry: &Entry) -> usize {
    const OVERHEAD: usize = 64;
    OVERHEAD
        + match &entry.payload {
            Payload::Normal(proposal) => proposal.0.len(),
            Payload::Blank | Payload::Membership(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::{Leader, LogId, Proposal};

    fn entries(range: Range<u64>, bytes: usize) -> Vec<Entry> {
        let leader_id = Leader { term: 1, node_id: 1 };
        range
            .map(|index| Entry {
                log_id: LogId { leader_id, index },
                payload: Payload::Normal(Proposal(vec![0; bytes].into())),
            })
            .collect()
    }

    fn indices(read: Option<Vec<Entry>>) -> Option<Vec<u64>> {
        read.map(|entries| entries.iter().map(|entry| entry.log_id.index).collect())
    }

    #[test]
    fn a_tail_answers_only_ranges_that_it_reaches_back_to() {
        let mut tail = Tail::default();
        tail.append(entries(5..10, 10));
        assert_eq!(indices(tail.read(&(4..7), 9, 1 << 20)), None);
        assert_eq!(indices(tail.read(&(5..7), 9, 1 << 20)), Some(vec![5, 6]));
        assert_eq!(indices(tail.read(&(8..20), 9, 1 << 20)), Some(vec![8, 9]));
        assert_eq!(indices(tail.read(&(10..20), 9, 1 << 20)), None);
        tail.release(8);
        assert_eq!(indices(tail.read(&(7..9), 9, 1 << 20)), None);
        tail.truncate(9);
        assert_eq!(indices(tail.read(&(8..20), 9, 1 << 20)), Some(vec![8]));
    }

    #[test]
    fn a_read_has_at_least_one_entry_and_otherwise_keeps_its_bounds() {
        let mut tail = Tail::default();
        tail.append(entries(0..10, 1000));
        assert_eq!(indices(tail.read(&(0..10), 3, 1 << 20)), Some(vec![0, 1, 2]));
        assert_eq!(indices(tail.read(&(0..10), 9, 2200)), Some(vec![0, 1]));
        assert_eq!(indices(tail.read(&(0..10), 9, 1)), Some(vec![0]));
    }

    #[test]
    fn a_tail_is_bounded_and_forgets_what_does_not_follow() {
        let mut tail = Tail::default();
        tail.append(entries(0..2 * ENTRIES_MAX as u64, 0));
        assert_eq!(tail.entries.len(), ENTRIES_MAX);
        tail.append(entries(90_000..90_001, 2 * BYTES_MAX));
        assert_eq!(tail.entries.len(), 1);
        tail.append(entries(90_001..90_002, 5));
        assert_eq!(indices(tail.read(&(90_001..90_002), 9, 9)), Some(vec![90_001]));
        assert_eq!(tail.entries.len(), 1);
    }
}
