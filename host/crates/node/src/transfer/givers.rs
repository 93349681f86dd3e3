//! Whom to ask for a chunk: the nodes of one transfer, and how each has answered so far.
//!
//! The node that offers the snapshot is asked first, the others when it has its hands full or fails.
//! Each begins with a few questions at a time and gets more with every good answer, so that a slow
//! link is not asked for more than it carries. One that has sent wrong bytes is asked nothing more.

use althing_core::{
    ids::{Hash, NodeId},
    refusal::{Code, Refusal},
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Most questions that are open with one node.
const OPEN_MAX: usize = 32;
/// How many a node begins with.
const OPEN_FIRST: usize = 2;
/// After so many failures in a row a node is asked nothing more.
const FAILURES_MAX: u32 = 4;
/// Most nodes that are asked in one transfer.
const GIVERS_MAX: usize = 16;

/// Why a node did not give a chunk.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It sent something else under the chunk's name.
    #[error("it sent {bytes} bytes that are not chunk {hash}")]
    WrongBytes { hash: Hash, bytes: usize },
    /// It said no, or could not be asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Failure {
    /// As a metric names it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::WrongBytes { .. } => "wrong-bytes",
            Self::Refused(refusal) => match refusal.code {
                Code::TimedOut => "timed-out",
                Code::NoLeader | Code::UnknownOutcome => "unreachable",
                _ => "refused",
            },
        }
    }

    fn is_slow(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == Code::TimedOut)
    }
}

/// The nodes that may have the chunks of one transfer.
pub(super) struct Givers {
    givers: Mutex<Vec<Giver>>,
    changed: Notify,
}

struct Giver {
    node: NodeId,
    open: usize,
    open_max: usize,
    /// In a row.
    failures: u32,
    is_out: bool,
    /// The last failure.
    told: Option<String>,
}

enum Choice {
    Ask(NodeId),
    Wait,
    Nobody,
}

impl Givers {
    /// `first`, and then the others in their order.
    pub(super) fn new(first: NodeId, others: impl IntoIterator<Item = NodeId>) -> Self {
        let mut givers: Vec<Giver> = Vec::new();
        for node in std::iter::once(first).chain(others) {
            if givers.len() < GIVERS_MAX && givers.iter().all(|giver| giver.node != node) {
                let (open, open_max) = (0, OPEN_FIRST);
                givers.push(Giver { node, open, open_max, failures: 0, is_out: false, told: None });
            }
        }
        Self { givers: Mutex::new(givers), changed: Notify::new() }
    }

    /// Their ids, the best first.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.givers().iter().filter(|giver| !giver.is_out).map(|giver| giver.node).collect()
    }

    /// What each that has failed said last.
    pub(super) fn told(&self) -> String {
        let givers = self.givers();
        let told =
            givers.iter().filter_map(|giver| Some(format!("node {}: {}", giver.node, giver.told.as_ref()?)));
        told.collect::<Vec<_>>().join("; ")
    }

    /// The node to ask now, of those that `tried` does not name; waits while all of them have their
    /// hands full. None: nobody is left. Who is named has to be reported on, by [`Self::gave`] or
    /// [`Self::failed`].
    pub(super) async fn next(&self, tried: &[NodeId]) -> Option<NodeId> {
        loop {
            // Before the look, so that no change in between is missed.
            let changed = self.changed.notified();
            match self.choose(tried) {
                Choice::Ask(node) => return Some(node),
                Choice::Nobody => return None,
                Choice::Wait => changed.await,
            }
        }
    }

    fn choose(&self, tried: &[NodeId]) -> Choice {
        let mut givers = self.givers();
        let mut candidates: Vec<&mut Giver> =
            givers.iter_mut().filter(|giver| !giver.is_out && !tried.contains(&giver.node)).collect();
        if candidates.is_empty() {
            return Choice::Nobody;
        }
        candidates.retain(|giver| giver.open < giver.open_max);
        // The first of those that fail least.
        let Some(best) = candidates.into_iter().min_by_key(|giver| giver.failures) else {
            return Choice::Wait;
        };
        best.open += 1;
        Choice::Ask(best.node)
    }

    /// A node has given what it was asked for.
    pub(super) fn gave(&self, node: NodeId) {
        self.answered(node, |giver| {
            giver.failures = 0;
            giver.open_max = OPEN_MAX.min(giver.open_max + 1);
        });
    }

    /// A node has not given what it was asked for; whether it has just been given up.
    pub(super) fn failed(&self, node: NodeId, failure: &Failure) -> bool {
        let mut is_given_up = false;
        self.answered(node, |giver| {
            giver.failures += 1;
            giver.told = Some(failure.to_string());
            if failure.is_slow() {
                giver.open_max = (giver.open_max / 2).max(1);
            }
            let was_out = giver.is_out;
            giver.is_out |= giver.failures >= FAILURES_MAX || matches!(failure, Failure::WrongBytes { .. });
            is_given_up = giver.is_out && !was_out;
        });
        is_given_up
    }

    fn answered(&self, node: NodeId, change: impl FnOnce(&mut Giver)) {
        if let Some(giver) = self.givers().iter_mut().find(|giver| giver.node == node) {
            giver.open -= 1;
            change(giver);
        }
        self.changed.notify_waiters();
    }

    fn givers(&self) -> MutexGuard<'_, Vec<Giver>> {
        self.givers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    fn next(givers: &Givers, tried: &[NodeId]) -> Option<Option<NodeId>> {
        givers.next(tried).now_or_never()
    }

    fn timed_out() -> Failure {
        Refusal::new(Code::TimedOut, "late").into()
    }

    #[test]
    fn the_first_is_asked_first_and_the_others_when_it_has_its_hands_full() {
        let givers = Givers::new(ONE, [TWO, ONE]);
        assert_eq!(givers.nodes(), [ONE, TWO]);
        let asked: Vec<_> = (0..5).map(|_| next(&givers, &[])).collect();
        assert_eq!(asked, [Some(Some(ONE)), Some(Some(ONE)), Some(Some(TWO)), Some(Some(TWO)), None]);
        givers.gave(ONE);
        assert_eq!([next(&givers, &[]), next(&givers, &[])], [Some(Some(ONE)); 2]);
        assert_eq!(next(&givers, &[]), None, "one more with each good answer");
    }

    #[test]
    fn a_chunk_goes_round_until_nobody_is_left() {
        let givers = Givers::new(ONE, [TWO]);
        assert_eq!(next(&givers, &[ONE]), Some(Some(TWO)));
        assert_eq!(next(&givers, &[TWO]), Some(Some(ONE)));
        assert_eq!(next(&givers, &[ONE, TWO]), Some(None));
    }

    #[test]
    fn who_fails_comes_last_and_after_some_failures_in_a_row_not_at_all() {
        let givers = Givers::new(ONE, [TWO]);
        assert_eq!(next(&givers, &[]), Some(Some(ONE)));
        assert!(!givers.failed(ONE, &timed_out()));
        assert_eq!(next(&givers, &[]), Some(Some(TWO)), "the first fails more");
        for round in 1..FAILURES_MAX {
            assert_eq!(next(&givers, &[TWO]), Some(Some(ONE)));
            assert_eq!(next(&givers, &[TWO]), None, "one question at a time: it was too slow");
            assert_eq!(givers.failed(ONE, &timed_out()), round + 1 == FAILURES_MAX);
        }
        assert_eq!(next(&givers, &[TWO]), Some(None));
        assert_eq!(givers.nodes(), [TWO]);
    }

    #[test]
    fn who_has_sent_wrong_bytes_is_asked_nothing_more() {
        let givers = Givers::new(ONE, []);
        assert_eq!(next(&givers, &[]), Some(Some(ONE)));
        assert!(givers.failed(ONE, &Failure::WrongBytes { hash: Hash::default(), bytes: 3 }));
        assert_eq!(next(&givers, &[]), Some(None));
    }

    #[test]
    fn whoever_waits_is_told_when_a_node_has_room_again() {
        let givers = Givers::new(ONE, []);
        assert_eq!([next(&givers, &[]), next(&givers, &[])], [Some(Some(ONE)); 2]);
        let mut waiting = Box::pin(givers.next(&[]));
        assert_eq!((&mut waiting).now_or_never(), None);
        givers.gave(ONE);
        assert_eq!(waiting.now_or_never(), Some(Some(ONE)));
    }
}
