//! Comparing state roots: what voters cut after the same batch must be the same state, and not only the
//! same history.
//!
//! A snapshot falls due at the same sequences everywhere, but not every replica cuts each, and not always
//! after the same batch: one that hurries skips some, an operator or the scrub may ask one for a snapshot
//! anywhere, and batches that make no transition lie between. So a root that too few others
//! have is asked for again, ever more seldom, and given up at last. Where the digests differ too, that is
//! for the digests to judge: they say which transition was the first.

use super::{QUESTIONS_MAX, TIMEOUT, Verdict, judge};
use crate::{
    community::Community,
    node::Node,
    peer::{DigestAt, RootTestimony, method},
    quarantine::state::OtherRoot,
    roots::Root,
};
use althing_core::ids::{CommunityId, NodeId, ReplicaId, Sequence};
use std::{collections::BTreeMap, sync::Arc};

/// Most roots of a community that are asked about in one round.
const AT_ONCE: usize = 4;
/// The longest pause before a root is asked for again, in rounds: with all pauses before it, half an hour.
const PAUSE_MAX: u64 = 4096;

/// Which roots of one replica have still to be compared.
#[derive(Default)]
pub(super) struct Progress {
    replica: ReplicaId,
    /// The newest root that was taken up.
    seen: Option<Sequence>,
    waiting: BTreeMap<Sequence, Wait>,
}

/// When a root is asked for again.
struct Wait {
    round: u64,
    pause: u64,
}

/// A root to be compared now.
struct Open {
    here: Arc<Community>,
    own: Root,
    voters: BTreeMap<ReplicaId, NodeId>,
}

/// Compares what is due. `round` counts the rounds.
pub(super) async fn compare(node: &Node, progress: &mut BTreeMap<CommunityId, Progress>, round: u64) {
    let communities: Vec<Arc<Community>> = node.communities().values().cloned().collect();
    progress.retain(|&id, _| communities.iter().any(|here| here.id() == id));
    let running = communities.into_iter().filter(|here| here.must_run().is_ok());
    let open: Vec<Open> =
        running.flat_map(|here| progress.entry(here.id()).or_default().due(&here, round)).collect();
    let told = ask(node, &open).await;
    for Open { here, own, voters } in open {
        let votes = votes(&here, own, &voters, &told);
        let known = progress.entry(here.id()).or_default();
        let majority = match judge(own.root, votes.values().map(|vote| vote.map(|(_, told)| told.root))) {
            Verdict::Open => {
                known.put_off(own.sequence, round);
                continue;
            }
            Verdict::Same => None,
            Verdict::Differs(majority) => Some(Some(majority)),
            Verdict::Hopeless => Some(None),
        };
        known.waiting.remove(&own.sequence);
        let Some(majority) = majority else { continue };
        let differing =
            votes.values().flatten().filter(|(_, told)| told.root == majority.unwrap_or(told.root));
        let mut differing = differing.filter(|(_, told)| told.root != own.root);
        let Some(&(witness, told)) = differing.next() else { continue };
        let same_history = told.digest == own.digest && differing.all(|(_, told)| told.digest == own.digest);
        if same_history && here.must_run().is_ok() {
            node.quarantine_for_root(&here, OtherRoot { own, majority, witness }).await;
        }
    }
}

impl Progress {
    /// The roots to be compared in this round.
    fn due(&mut self, here: &Arc<Community>, round: u64) -> Vec<Open> {
        let replica = here.hosted.replica;
        if self.replica != replica {
            *self = Self { replica, ..Self::default() };
        }
        let kept = here.roots.sequences();
        self.waiting.retain(|sequence, _| kept.contains(sequence));
        for &sequence in kept.iter().filter(|&&sequence| Some(sequence) > self.seen) {
            self.waiting.insert(sequence, Wait { round, pause: 1 });
        }
        self.seen = self.seen.max(kept.into_iter().max());
        let voters: BTreeMap<ReplicaId, NodeId> =
            here.status().voters.into_iter().map(|(voter, member)| (voter, member.node)).collect();
        if !voters.keys().any(|&voter| voter != replica) {
            return Vec::new();
        }
        let due = self.waiting.iter().rev().filter(|(_, wait)| wait.round <= round).take(AT_ONCE);
        due.filter_map(|(&sequence, _)| here.roots.at(sequence))
            .map(|own| Open { here: here.clone(), own, voters: voters.clone() })
            .collect()
    }

    /// Too few have cut there so far.
    fn put_off(&mut self, sequence: Sequence, round: u64) {
        let Some(wait) = self.waiting.get_mut(&sequence) else { return };
        *wait = Wait { round: round + wait.pause, pause: wait.pause * 2 };
        if wait.pause > PAUSE_MAX {
            tracing::debug!(%sequence, "too few others have a snapshot there: its state root is not compared");
            self.waiting.remove(&sequence);
        }
    }
}

type Told = BTreeMap<(CommunityId, ReplicaId, Sequence), RootTestimony>;

/// What each voter says, by replica; its own word is one of them.
fn votes(
    here: &Community,
    own: Root,
    voters: &BTreeMap<ReplicaId, NodeId>,
    told: &Told,
) -> BTreeMap<ReplicaId, Option<(NodeId, RootTestimony)>> {
    let vote = |(&voter, &on): (&ReplicaId, &NodeId)| {
        let told = match voter == here.hosted.replica {
            true => Some(RootTestimony { digest: own.digest, time: own.time, root: own.root }),
            // Cut after another batch at that sequence, it is another state by right.
            false => {
                told.get(&(here.id(), voter, own.sequence)).filter(|told| told.time == own.time).copied()
            }
        };
        (voter, told.map(|told| (on, told)))
    };
    voters.iter().map(vote).collect()
}

async fn ask(node: &Node, open: &[Open]) -> Told {
    let mut questions: BTreeMap<NodeId, Vec<DigestAt>> = BTreeMap::new();
    for Open { here, own, voters } in open {
        let others = voters.iter().filter(|&(&voter, &on)| voter != here.hosted.replica && on != node.id());
        for (&replica, &on) in others {
            let question = DigestAt { community: here.id(), replica, sequence: own.sequence };
            questions.entry(on).or_default().push(question);
        }
    }
    let told = node.peers().ask_each(method::ROOTS, questions, QUESTIONS_MAX, TIMEOUT).await;
    told.into_iter().map(|(asked, told)| ((asked.community, asked.replica, asked.sequence), told)).collect()
}

impl Node {
    /// Answers a peer that compares: the roots that replicas here have cut themselves.
    pub(crate) fn roots_here(&self, questions: &[DigestAt]) -> Vec<Option<RootTestimony>> {
        let testimony = |asked: &DigestAt| {
            let here = self.hosted(asked.community).filter(|here| here.hosted.replica == asked.replica)?;
            if !here.is_quarantined() && here.must_run().is_err() {
                return None;
            }
            let Root { digest, time, root, .. } = here.roots.at(asked.sequence)?;
            Some(RootTestimony { digest, time, root })
        };
        questions.iter().take(QUESTIONS_MAX).map(testimony).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{PAUSE_MAX, Progress, Wait};
    use althing_core::ids::Sequence;

    #[test]
    fn a_root_that_nobody_else_has_is_asked_for_ever_more_seldom_and_then_given_up() {
        let mut progress = Progress::default();
        progress.waiting.insert(Sequence(40), Wait { round: 0, pause: 1 });
        let mut asked = Vec::new();
        let mut round = 0;
        while let Some(wait) = progress.waiting.get(&Sequence(40)) {
            round = wait.round;
            asked.push(round);
            progress.put_off(Sequence(40), round);
        }
        assert_eq!(asked[..4], [0, 1, 3, 7]);
        assert!(asked.len() < 16 && round < 2 * PAUSE_MAX, "{asked:?}");
    }
}
