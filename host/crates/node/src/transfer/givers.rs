//! Whom to ask for a chunk: the nodes of one transfer, or of one mending, and how each has answered so far.
//!
//! The node that offers a snapshot is asked first, the others when it has its hands full or fails.
//! Each begins with a few questions at a time and gets more with every good answer, so that a slow
//! link is not asked for more than it carries. One that has sent wrong bytes is asked nothing more.

use crate::peer::{ask::Peers, method};
use althing_consensus::peers::Lane;
use althing_core::{
    ids::{CommunityId, Hash, NodeId},
    refusal::{Code, Refusal},
};
use bytes::Bytes;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
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
enum Failure {
    /// It sent something else under the chunk's name.
    #[error("it sent {bytes} bytes that are not chunk {hash}")]
    WrongBytes { hash: Hash, bytes: usize },
    /// It said no, or could not be asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Failure {
    /// As a metric names it.
    fn kind(&self) -> &'static str {
        match self {
            Self::WrongBytes { .. } => "wrong-bytes",
            Self::Refused(refusal) => match refusal.code {
                Code::TimedOut => "timed-out",
                Code::NoLeader | Code::UnknownOutcome => "unreachable",
                _ => "refused",
            },
        }
    }

    /// Whether it answered, and has not what it was asked for.
    fn is_lack(&self) -> bool {
        self.kind() == "refused"
    }

    fn is_slow(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == Code::TimedOut)
    }
}

/// The nodes that may have the chunks of one transfer, or of one mending.
pub(crate) struct Givers {
    givers: Mutex<Vec<Giver>>,
    changed: Notify,
    /// Whether one that lacks a chunk may have the next all the same.
    may_lack: bool,
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
        Self { givers: Mutex::new(givers), changed: Notify::new(), may_lack: false }
    }

    /// As [`Self::new`], for chunks that have nothing to do with each other: whoever lacks some may have others.
    pub(crate) fn of_anything(first: NodeId, others: impl IntoIterator<Item = NodeId>) -> Self {
        Self { may_lack: true, ..Self::new(first, others) }
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

    /// The chunk of this name from the first that gives it, and who that was, asking one after the other; none
    /// when nobody does. `is_it` says whether what came is that chunk, and each has `patience` to send it.
    pub(crate) async fn fetch(
        &self,
        peers: &Peers,
        community: CommunityId,
        hash: Hash,
        patience: Duration,
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Option<(Bytes, NodeId)> {
        let mut tried = Vec::new();
        while let Some(node) = self.next(&tried).await {
            let asked: Result<Bytes, Refusal> =
                peers.ask(node, Lane::Bulk, community, method::CHUNK, &hash, patience).await;
            let failure = match asked {
                Ok(bytes) if is_it(&bytes) => {
                    self.gave(node);
                    return Some((bytes, node));
                }
                Ok(other) => Failure::WrongBytes { hash, bytes: other.len() },
                Err(refusal) => Failure::Refused(refusal),
            };
            self.note(node, hash, &failure);
            tried.push(node);
        }
        None
    }

    /// Counts a failure, and tells of it.
    fn note(&self, node: NodeId, hash: Hash, failure: &Failure) {
        let kind = failure.kind();
        metrics::counter!("althing_transfer_refused_total", "node" => node.to_string(), "why" => kind)
            .increment(1);
        if self.failed(node, failure) {
            tracing::warn!(%node, %failure, "a node is asked for nothing more of these chunks");
        } else {
            tracing::debug!(%node, chunk = %hash, %failure, "a chunk did not come");
        }
    }

    /// The node to ask now, of those that `tried` does not name; waits while all of them have their
    /// hands full. None: nobody is left. Who is named has to be reported on, by [`Self::gave`] or
    /// [`Self::failed`].
    async fn next(&self, tried: &[NodeId]) -> Option<NodeId> {
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
    fn gave(&self, node: NodeId) {
        self.answered(node, |giver| {
            giver.failures = 0;
            giver.open_max = OPEN_MAX.min(giver.open_max + 1);
        });
    }

    /// A node has not given what it was asked for; whether it has just been given up.
    fn failed(&self, node: NodeId, failure: &Failure) -> bool {
        let mut is_given_up = false;
        self.answered(node, |giver| {
            giver.failures += 1;
            giver.told = Some(failure.to_string());
            if failure.is_slow() {
                giver.open_max = (giver.open_max / 2).max(1);
            }
            let was_out = giver.is_out;
            let is_forgiven = self.may_lack && failure.is_lack();
            let is_enough = giver.failures >= FAILURES_MAX && !is_forgiven;
            giver.is_out |= is_enough || matches!(failure, Failure::WrongBytes { .. });
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
    fn who_lacks_some_chunks_is_asked_for_others_where_they_have_nothing_to_do_with_each_other() {
        let lacks = || Failure::Refused(Refusal::new(Code::Internal, "it is not here"));
        for (givers, wanted) in [(Givers::new(ONE, []), None), (Givers::of_anything(ONE, []), Some(ONE))] {
            for _ in 0..FAILURES_MAX {
                assert_eq!(next(&givers, &[]), Some(Some(ONE)));
                givers.failed(ONE, &lacks());
            }
            assert_eq!(next(&givers, &[]), Some(wanted));
        }
        let givers = Givers::of_anything(ONE, []);
        let asked = (0..2 * FAILURES_MAX).filter(|_| {
            next(&givers, &[]) == Some(Some(ONE)) && {
                givers.failed(ONE, &timed_out());
                true
            }
        });
        assert_eq!(asked.count() as u32, FAILURES_MAX, "who does not answer is not asked for ever");
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
