//! What will happen on start, told from what was found. Pure: it decides as a start does, and does nothing.

use super::{Findings, file_of, said_of};
use althing_core::ids::{CommunityId, NodeId, Sequence};
use althing_store::sqlite::OpenError;
use std::fmt;

/// What a replica will do when its node is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foresight {
    /// It has neither snapshot nor log.
    Begins,
    /// It restores its state, executes what its log holds above, and joins its group.
    Restores {
        /// The snapshot; none: it executes its log from the first entry on.
        snapshot: Option<Sequence>,
        /// Newer snapshots that cannot be used.
        passed_over: Vec<Sequence>,
        /// Log entries that it knows to be committed, and executes at once.
        executes: u64,
        /// Log entries above those, which its group decides on.
        undecided: u64,
    },
    /// It is quarantined, and stays out of service.
    Quarantined {
        /// Why.
        why: String,
    },
    /// Its log cannot be used, or begins behind every snapshot: a fresh replica takes its place, if the others have a
    /// quorum.
    ComesBackFresh {
        /// Why.
        why: String,
    },
    /// No state can be made of what is here.
    Cannot {
        /// Why.
        why: String,
    },
    /// The node does not remember that it hosts it: it is left alone, until the directory says otherwise.
    LeftOver,
}

/// What a node will do when it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeForesight {
    /// Nothing is there: it begins a cluster, or joins one, as it is told.
    IsNobody,
    /// It serves.
    Serves(NodeId),
    /// It must not vote with what is here: fresh replicas take the place of its own, if the others have a
    /// quorum.
    ComesBackFresh {
        /// What is wrong.
        why: String,
    },
    /// It does not start.
    Ends {
        /// Why.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// What of a replica decides how it starts.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) is_hosted: bool,
    pub(super) quarantined: Option<String>,
    /// Why it must never run again, if it must not.
    pub(super) distrusted: Option<String>,
    /// Newest first.
    pub(super) snapshots: Vec<StoredSnapshot>,
    /// The last purged index of its log.
    pub(super) purged: Option<u64>,
    /// The first index of its log.
    pub(super) first: Option<u64>,
    /// The last index of its log.
    pub(super) last: Option<u64>,
    /// Whether entries of several terms are in its log.
    pub(super) has_terms: bool,
    pub(super) committed: Option<u64>,
    /// What is wrong with its log's records, if anything is.
    pub(super) log_damage: Option<String>,
    /// The entries that cannot be read, and what is wrong with the first.
    pub(super) damaged_entries: Option<(Vec<u64>, String)>,
}

/// A snapshot, as far as it decides.
#[derive(Clone, Debug)]
pub(super) struct StoredSnapshot {
    pub(super) sequence: Sequence,
    pub(super) log_index: u64,
    /// Why it cannot be restored, if it cannot.
    pub(super) problem: Option<String>,
}

impl Foresight {
    pub(super) fn of(stored: &Stored) -> Self {
        if let Some(why) = &stored.quarantined {
            return Self::Quarantined { why: why.clone() };
        }
        if !stored.is_hosted {
            return Self::LeftOver;
        }
        if let Some(why) = stored.distrusted.as_ref().or(stored.log_damage.as_ref()) {
            return Self::ComesBackFresh { why: why.clone() };
        }
        let purged = stored.purged;
        let mut passed_over = Vec::new();
        for snapshot in &stored.snapshots {
            // Entries up to the purged one are gone: what lies between could not be executed.
            let has_gap = purged.is_some_and(|purged| purged > snapshot.log_index);
            if snapshot.problem.is_none() && !has_gap {
                let from = snapshot.log_index + 1;
                return stored.restores(Some(snapshot.sequence), passed_over, from);
            }
            passed_over.push(snapshot.sequence);
        }
        match (stored.snapshots.first(), purged, stored.last) {
            (Some(_), None, Some(_)) => stored.restores(None, passed_over, 0),
            (Some(newest), ..) if stored.is_reached() => {
                Self::Cannot { why: unusable(newest, passed_over.len(), purged) }
            }
            (Some(newest), ..) => Self::ComesBackFresh { why: unusable(newest, passed_over.len(), purged) },
            (None, Some(purged), _) => {
                let why = format!("there is no snapshot, and its log begins only after entry {purged}");
                Self::ComesBackFresh { why }
            }
            (None, None, None) => Self::Begins,
            (None, None, Some(_)) => stored.restores(None, passed_over, 0),
        }
    }
}

impl Stored {
    /// Whether the log reaches down to a snapshot: peers may have what that lacks.
    fn is_reached(&self) -> bool {
        let purged = self.purged.unwrap_or(0);
        self.snapshots.iter().any(|snapshot| snapshot.log_index >= purged)
    }

    /// What comes of executing the log from an entry on. Below that, a start reads the first entry and the
    /// last, and, in a log of several terms, others in search of where those began.
    fn restores(&self, snapshot: Option<Sequence>, passed_over: Vec<Sequence>, from: u64) -> Foresight {
        if let Some((damaged, what)) = &self.damaged_entries
            && damaged.iter().any(|&index| {
                let is_end = Some(index) == self.first || Some(index) == self.last;
                index >= from || is_end || self.has_terms
            })
        {
            return Foresight::ComesBackFresh { why: what.clone() };
        }
        let end = self.last.map_or(from, |last| last + 1).max(from);
        let decided = self.committed.map_or(from, |committed| committed + 1).clamp(from, end);
        Foresight::Restores { snapshot, passed_over, executes: decided - from, undecided: end - decided }
    }
}

fn unusable(newest: &StoredSnapshot, all: usize, purged: Option<u64>) -> String {
    let why = match &newest.problem {
        Some(problem) => problem.clone(),
        None => format!("its log begins only after entry {}", purged.unwrap_or_default()),
    };
    match all {
        1 => format!("its only snapshot, at sequence {}, cannot be used ({why})", newest.sequence),
        _ => format!(
            "none of its {all} snapshots can be used (the one at sequence {}: {why})",
            newest.sequence
        ),
    }
}

const OLDER: &str =
    "start the newer version of althing that wrote it, or restore a backup made before the upgrade";
const ANOTHER: &str = "choose another data directory, or move the file away";
const TRY_AGAIN: &str = "see to the disk and the rights on it, and start it again";
const LEFT: &str = "keep the directory as long as you like; a node on an empty one can join with `--join`";
const NEW_NODE: &str = "move the data directory away, and let the node come back as a new one with `--join`; with no other \
                        node left, restore a backup";

impl NodeForesight {
    pub(super) fn of(refusal: Option<&OpenError>, findings: &Findings) -> Self {
        if let Some(error) = refusal {
            let why = format!("{}: {}", file_of(error), said_of(error));
            return match (is_of_log(error), error) {
                (true, _) if findings.identity.is_some() => Self::ComesBackFresh { why },
                (_, OpenError::Newer { .. }) => Self::Ends { why, remedy: OLDER },
                (_, OpenError::Foreign { .. }) => Self::Ends { why, remedy: ANOTHER },
                (_, OpenError::Lost { .. } | OpenError::Damaged { .. }) => {
                    Self::Ends { why, remedy: NEW_NODE }
                }
                _ => Self::Ends { why, remedy: TRY_AGAIN },
            };
        }
        if findings.has_left {
            let why = "this node has left its cluster for good".to_owned();
            return Self::Ends { why, remedy: LEFT };
        }
        if let Some(damage) = findings.damages.iter().find(|damage| damage.place.contains("\"distrusted\"")) {
            return Self::Ends { why: damage.to_string(), remedy: NEW_NODE };
        }
        let Some(identity) = &findings.identity else {
            let unreadable = findings.damages.iter().find(|damage| damage.place.contains("\"identity\""));
            return match unreadable {
                Some(damage) => Self::Ends { why: damage.to_string(), remedy: NEW_NODE },
                None => Self::IsNobody,
            };
        };
        let system = findings.communities.iter().find(|found| found.id == CommunityId::SYSTEM);
        match system.and_then(|system| system.on_start.as_ref()) {
            Some(Foresight::ComesBackFresh { why } | Foresight::Quarantined { why }) => {
                Self::ComesBackFresh { why: format!("its replica of the system community: {why}") }
            }
            Some(Foresight::Cannot { why }) => {
                let why = format!("its replica of the system community cannot be started: {why}");
                Self::Ends { why, remedy: NEW_NODE }
            }
            _ => Self::Serves(identity.node),
        }
    }
}

/// Whether it is the log alone that cannot be used: who the node is, is in the archive.
fn is_of_log(error: &OpenError) -> bool {
    let (OpenError::Lost { path, .. } | OpenError::Damaged { path, .. } | OpenError::Foreign { path }) =
        error
    else {
        return false;
    };
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wal."))
}

impl fmt::Display for Foresight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins => f.write_str("has nothing yet: begins its group, or learns from the others"),
            Self::Restores { snapshot, passed_over, executes, undecided } => {
                if let [newest, ..] = &passed_over[..] {
                    write!(
                        f,
                        "passes over {} (the newest at {newest}), ",
                        count(passed_over.len() as u64, "snapshot")
                    )?;
                }
                match snapshot {
                    Some(at) => write!(f, "restores the snapshot at {at}, ")?,
                    None => f.write_str("begins at its log's first entry, ")?,
                }
                write!(f, "executes {}, and joins its group", count(*executes, "log entry"))?;
                match undecided {
                    0 => Ok(()),
                    more => write!(f, ", which decides on {more} more"),
                }
            }
            Self::Quarantined { .. } => {
                f.write_str("stays out of service, quarantined: `althing member rebuild` brings it back")
            }
            Self::ComesBackFresh { why } => write!(
                f,
                "does not vote with its log ({why}): comes back under a fresh replica id through the other nodes; if no \
                 quorum of them answers, it stays out and says so"
            ),
            Self::Cannot { why } => write!(
                f,
                "does not start from what is here: {why}; unless another node has what is missing, `althing member rebuild` \
                 brings it back, or, with no others left, a backup"
            ),
            Self::LeftOver => {
                f.write_str("is not hosted here: left alone until the directory says otherwise")
            }
        }
    }
}

impl fmt::Display for NodeForesight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsNobody => f.write_str(
                "belongs to no cluster: begins one (`althing serve --bootstrap`) or joins one (`--join ADDRESS`)",
            ),
            Self::Serves(node) => write!(f, "serves as node {node}"),
            Self::ComesBackFresh { why } => write!(
                f,
                "does not vote with what is here ({why}): comes back under fresh replica ids through the other nodes; if no \
                 quorum of them answers, it ends and says so"
            ),
            Self::Ends { why, remedy } => write!(f, "ends: {why}; {remedy}"),
        }
    }
}

fn count(number: u64, what: &str) -> String {
    let what = match (number, what.strip_suffix('y')) {
        (1, _) => what.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{what}s"),
    };
    format!("{number} {what}")
}

#[cfg(test)]
mod tests {
    use super::{Foresight, Stored, StoredSnapshot};
    use althing_core::ids::Sequence;

    fn snapshot(sequence: u64, log_index: u64, problem: Option<&str>) -> StoredSnapshot {
        StoredSnapshot { sequence: Sequence(sequence), log_index, problem: problem.map(str::to_owned) }
    }

    fn stored(snapshots: Vec<StoredSnapshot>, purged: Option<u64>, last: Option<u64>) -> Stored {
        Stored { is_hosted: true, snapshots, purged, last, committed: last, ..Stored::default() }
    }

    fn said(stored: &Stored) -> String {
        Foresight::of(stored).to_string()
    }

    #[test]
    fn the_newest_snapshot_is_restored_and_the_log_above_it_executed() {
        let mut stored = stored(vec![snapshot(80, 90, None), snapshot(40, 45, None)], Some(40), Some(103));
        stored.committed = Some(100);
        let wanted = "restores the snapshot at 80, executes 10 log entries, and joins its group, which decides on 3 more";
        assert_eq!(said(&stored), wanted);
        stored.committed = Some(50);
        assert!(said(&stored).contains("executes 0 log entries"), "what is in the snapshot is not executed");
        stored.committed = Some(500);
        assert!(said(&stored).contains("executes 13 log entries"), "and what is not there neither");
    }

    #[test]
    fn a_damaged_snapshot_is_passed_over_unless_the_log_does_not_reach_back_to_the_one_before() {
        let snapshots = vec![snapshot(80, 90, Some("damaged")), snapshot(40, 45, None)];
        let reaches = stored(snapshots.clone(), Some(45), Some(100));
        assert_eq!(
            said(&reaches),
            "passes over 1 snapshot (the newest at 80), restores the snapshot at 40, executes 55 log entries, and joins \
             its group"
        );
        let gap = stored(snapshots, Some(46), Some(100));
        assert!(
            said(&gap).starts_with("does not start from what is here: none of its 2 snapshots can be used"),
            "{}",
            said(&gap)
        );
    }

    #[test]
    fn without_a_snapshot_the_log_must_begin_at_its_beginning() {
        assert_eq!(Foresight::of(&stored(Vec::new(), None, None)), Foresight::Begins);
        let whole = Foresight::of(&stored(Vec::new(), None, Some(7)));
        let Foresight::Restores { snapshot: None, executes: 8, .. } = whole else { panic!("{whole:?}") };
        let damaged = stored(vec![snapshot(5, 6, Some("damaged"))], None, Some(7));
        assert!(said(&damaged).contains("begins at its log's first entry, executes 8 log entries"));
        let purged = Foresight::of(&stored(Vec::new(), Some(3), Some(7)));
        assert!(matches!(purged, Foresight::ComesBackFresh { .. }));
    }

    #[test]
    fn an_entry_that_is_not_read_on_start_keeps_nobody_out() {
        let with = |damaged: &[u64], last| {
            let mut stored = stored(vec![snapshot(80, 90, None)], Some(70), Some(last));
            stored.damaged_entries = Some((damaged.to_vec(), "damaged".to_owned()));
            stored.first = Some(71);
            matches!(Foresight::of(&stored), Foresight::ComesBackFresh { .. })
        };
        assert!(!with(&[72, 90], 100), "the snapshot holds what they did");
        assert!(with(&[72, 91], 100));
        assert!(with(&[71], 100), "the first one is read in any case");
        assert!(with(&[90], 90), "the last one is read in any case");
    }

    #[test]
    fn a_quarantine_counts_before_all_and_a_damaged_log_before_snapshots() {
        let mut stored = stored(vec![snapshot(80, 90, None)], None, Some(100));
        stored.log_damage = Some("its vote cannot be read".to_owned());
        assert!(said(&stored).starts_with("does not vote with its log (its vote"));
        stored.distrusted = Some("its log was lost".to_owned());
        assert!(said(&stored).starts_with("does not vote with its log (its log was lost"));
        stored.quarantined = Some("it differs".to_owned());
        assert!(said(&stored).contains("quarantined"));
        stored.quarantined = None;
        stored.is_hosted = false;
        assert_eq!(Foresight::of(&stored), Foresight::LeftOver);
    }
}
