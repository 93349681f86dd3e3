//! What no replica says that keeps to the protocol, seen in a message alone and beside what is committed here. It is
//! refused before Raft is told, for Raft takes a peer's word: what is at odds with itself stops a group, and a term
//! that is far ahead leaves none for its elections. Whether a message that is sound is true, nobody sees here.

use super::types::{LogId, Vote};
use std::cmp::Ordering;

/// No further ahead are the terms of others than this: an election takes milliseconds, so many take months.
const TERMS_AHEAD_MAX: u64 = 1 << 32;
/// No log has an index beyond this.
const INDEX_MAX: u64 = 1 << 62;

/// What a message says of a log.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Who speaks, and in which term.
    pub(crate) vote: Vote,
    /// Whether only a leader says such a thing; only a candidate does, if not.
    pub(crate) leads: bool,
    /// The place behind which `entries` begin; none: the beginning of the log.
    pub(crate) previous: Option<LogId>,
    /// The places of entries, which follow each other.
    pub(crate) entries: Vec<LogId>,
    /// Other places in the same log.
    pub(crate) others: Vec<LogId>,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here {
    pub(crate) vote: Vote,
    pub(crate) committed: Option<LogId>,
}

/// What is wrong with a statement, if anything is.
pub(crate) fn wrong(said: &Statement, here: &Here) -> Option<&'static str> {
    let all = || said.previous.iter().chain(&said.entries).chain(&said.others);
    if said.vote.committed != said.leads {
        return Some("only leaders hand over what they lead, and only candidates ask for votes");
    }
    if said.vote.leader_id.term > here.vote.leader_id.term.saturating_add(TERMS_AHEAD_MAX) {
        return Some("its term is further ahead than elections can have come");
    }
    if all().any(|at| at.index > INDEX_MAX) {
        return Some("no log has such an index");
    }
    if all().any(|at| at.leader_id > said.vote.leader_id) {
        return Some("it has what a later leader wrote");
    }
    if !follow(said.previous.as_ref(), &said.entries) {
        return Some("its entries do not follow each other");
    }
    // Whom this replica has left, Raft tells so; a candidate may lack what is committed.
    let is_heard = said.leads && said.vote.leader_id >= here.vote.leader_id;
    let committed = here.committed.as_ref().filter(|_| is_heard)?;
    all().any(|at| contradicts(at, committed)).then_some("it contradicts what is committed here")
}

fn follow(previous: Option<&LogId>, entries: &[LogId]) -> bool {
    let mut last = previous;
    entries.iter().all(|entry| {
        let is_next = entry.index == last.map_or(0, |last| last.index + 1);
        let is_later = last.is_none_or(|last| last.leader_id <= entry.leader_id);
        last = Some(entry);
        is_next && is_later
    })
}

/// Whether no log has both places.
fn contradicts(at: &LogId, committed: &LogId) -> bool {
    match at.index.cmp(&committed.index) {
        Ordering::Less => at.leader_id > committed.leader_id,
        Ordering::Equal => at.leader_id != committed.leader_id,
        Ordering::Greater => at.leader_id < committed.leader_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::Leader;

    fn at(term: u64, index: u64) -> LogId {
        LogId { leader_id: Leader { term, node_id: 1 }, index }
    }

    fn vote(term: u64, committed: bool) -> Vote {
        Vote { leader_id: Leader { term, node_id: 1 }, committed }
    }

    /// What a leader of term 5 says to a replica that follows in term 4, with entry 7 of term 3 committed.
    fn judged(change: impl FnOnce(&mut Statement)) -> Option<&'static str> {
        let mut said = Statement {
            vote: vote(5, true),
            leads: true,
            previous: Some(at(3, 7)),
            entries: vec![at(4, 8), at(5, 9), at(5, 10)],
            others: vec![at(4, 8)],
        };
        change(&mut said);
        wrong(&said, &Here { vote: vote(4, true), committed: Some(at(3, 7)) })
    }

    #[test]
    fn what_a_leader_says_is_sound() {
        assert_eq!(judged(|_| ()), None);
        assert_eq!(judged(|said| said.entries.clear()), None);
        assert_eq!(
            judged(|said| said.previous = Some(at(2, 6))),
            Some("its entries do not follow each other")
        );
        let from_the_beginning = |said: &mut Statement| {
            said.previous = None;
            said.entries = (0..9).map(|index| at(3, index)).collect();
        };
        assert_eq!(judged(from_the_beginning), None);
    }

    #[test]
    fn what_is_at_odds_with_itself_is_not() {
        let follow = Some("its entries do not follow each other");
        assert_eq!(judged(|said| said.previous = None), follow);
        assert_eq!(judged(|said| _ = said.entries.remove(1)), follow, "a gap");
        assert_eq!(judged(|said| said.entries.swap(0, 1)), follow);
        assert_eq!(judged(|said| said.entries[1] = at(3, 9)), follow, "an earlier leader");
        let later = Some("it has what a later leader wrote");
        assert_eq!(judged(|said| said.entries[2] = at(6, 10)), later);
        assert_eq!(judged(|said| said.others[0] = at(6, 8)), later);
        assert!(judged(|said| said.vote.committed = false).is_some(), "no leader yet");
        assert!(judged(|said| said.leads = false).is_some(), "a leader does not ask for votes");
    }

    #[test]
    fn numbers_that_none_counts_to_are_not() {
        assert_eq!(judged(|said| said.vote = vote(u64::MAX, true)).map(|why| &why[..8]), Some("its term"));
        assert_eq!(judged(|said| said.others[0].index = u64::MAX), Some("no log has such an index"));
        assert_eq!(judged(|said| said.previous = Some(at(3, u64::MAX))), Some("no log has such an index"));
    }

    #[test]
    fn what_contradicts_a_committed_entry_is_not_unless_nobody_listens() {
        let contradicts = Some("it contradicts what is committed here");
        let other = |said: &mut Statement| {
            said.previous = Some(at(2, 7));
            said.entries.clear();
        };
        assert_eq!(judged(other), contradicts);
        assert_eq!(judged(|said| said.others[0] = at(4, 6)), contradicts, "earlier, of a later leader");
        assert_eq!(judged(|said| said.others[0] = at(2, 9)), contradicts, "later, of an earlier leader");
        let deposed = |said: &mut Statement| {
            *said = Statement {
                vote: vote(2, true),
                leads: true,
                previous: Some(at(2, 8)),
                entries: vec![],
                others: vec![],
            };
        };
        assert_eq!(judged(deposed), None, "Raft says to it that it is deposed");
        let candidate = |said: &mut Statement| {
            *said = Statement {
                vote: vote(9, false),
                leads: false,
                previous: None,
                entries: vec![],
                others: vec![at(2, 8)],
            };
        };
        assert_eq!(judged(candidate), None, "Raft says to it that it lacks entries");
    }
}
