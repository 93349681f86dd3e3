//! Comparing: every replica holds its digest against those of all voters at the same sequence, each
//! from its own execution, and quarantines itself when it is not what a majority has (promise P7).
//!
//! One task for a node. A round asks each other node once, about all communities that have something
//! new, at the sequence where this node stood a round ago, so that those who keep up have it too. What
//! a round leaves open the next one asks again: a digest stands for all that came before it.
//!
//! The same rounds compare the state roots of snapshots ([`roots`]), which show what no digest does: state
//! that was damaged since, and that no operation has touched.

mod roots;

use crate::{
    community::Community,
    node::Node,
    peer::{DigestAt, Testimony, method},
    quarantine::Difference,
};
use althing_core::ids::{CommunityId, Hash, NodeId, ReplicaId, Sequence};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Between two rounds. A difference is noticed after two of them, and the answers.
const EVERY: Duration = Duration::from_millis(250);
/// How long a node may take to answer.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Most questions in one message.
pub(crate) const QUESTIONS_MAX: usize = 1024;

/// How far one replica has been compared.
#[derive(Default)]
struct Progress {
    replica: ReplicaId,
    /// Where it is known to be as the majority is.
    agreed: Sequence,
    /// Where it stood a round ago.
    mark: Sequence,
}

/// A replica that has something new to compare.
struct Open {
    here: Arc<Community>,
    at: Sequence,
    own: Hash,
    voters: BTreeMap<ReplicaId, NodeId>,
}

/// What the voters' digests say about one's own.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// A majority has it too.
    Same,
    /// A majority has this one.
    Differs(Hash),
    /// No digest can have a majority any more.
    Hopeless,
    /// Too few have answered.
    Open,
}

/// Runs as long as the node.
pub(crate) async fn run(node: Node) {
    let (mut progress, mut of_roots) = (BTreeMap::new(), BTreeMap::new());
    for number in 0.. {
        node.runtime().sleep(EVERY).await;
        // First: a digest that differs says more than a root that does.
        round(&node, &mut progress).await;
        roots::compare(&node, &mut of_roots, number).await;
    }
}

async fn round(node: &Node, progress: &mut BTreeMap<CommunityId, Progress>) {
    let communities: Vec<Arc<Community>> = node.communities().values().cloned().collect();
    progress.retain(|&id, _| communities.iter().any(|here| here.id() == id));
    let open: Vec<Open> = communities
        .into_iter()
        .filter(|here| here.must_run().is_ok())
        .filter_map(|here| news(here, progress))
        .collect();
    let told = ask(node, &open).await;
    for Open { here, at, own, voters } in open {
        let votes: Vec<(NodeId, Option<Hash>)> = voters
            .iter()
            .map(|(&voter, &on)| match voter == here.hosted.replica {
                true => (on, Some(own)),
                false => (on, told.get(&(here.id(), voter)).and_then(|told| vote(&here, at, told))),
            })
            .collect();
        let agreed = progress.get(&here.id()).map_or(Sequence(0), |progress| progress.agreed);
        let majority = match judge(own, votes.iter().map(|&(_, vote)| vote)) {
            Verdict::Open => continue,
            Verdict::Same => {
                progress.entry(here.id()).and_modify(|progress| progress.agreed = at);
                continue;
            }
            Verdict::Differs(majority) => Some(majority),
            Verdict::Hopeless => None,
        };
        let differs =
            |vote: Option<Hash>| vote.is_some_and(|vote| vote == majority.unwrap_or(vote) && vote != own);
        let witness = votes.iter().find(|(_, vote)| differs(*vote)).map(|&(on, _)| on);
        node.quarantine(&here, Difference { agreed, at, own, majority, witness }).await;
    }
}

/// What there is to compare of a replica.
fn news(here: Arc<Community>, progress: &mut BTreeMap<CommunityId, Progress>) -> Option<Open> {
    let replica = here.hosted.replica;
    let known = progress.entry(here.id()).or_default();
    if known.replica != replica {
        *known = Progress { replica, ..Progress::default() };
    }
    let at = std::mem::replace(&mut known.mark, here.digests.newest());
    if at <= known.agreed {
        return None;
    }
    let own = here.digests.at(at)?;
    let voters: BTreeMap<ReplicaId, NodeId> =
        here.status().voters.into_iter().map(|(voter, member)| (voter, member.node)).collect();
    voters.keys().any(|&voter| voter != replica).then_some(Open { here, at, own, voters })
}

/// Asks every other node once about all that is open; those that do not answer have no say.
async fn ask(node: &Node, open: &[Open]) -> BTreeMap<(CommunityId, ReplicaId), Testimony> {
    let mut questions: BTreeMap<NodeId, Vec<DigestAt>> = BTreeMap::new();
    for Open { here, at, voters, .. } in open {
        for (&replica, &on) in
            voters.iter().filter(|&(&replica, &on)| replica != here.hosted.replica && on != node.id())
        {
            let question = DigestAt { community: here.id(), replica, sequence: *at };
            questions.entry(on).or_default().push(question);
        }
    }
    let told = node.peers().ask_each(method::DIGESTS, questions, QUESTIONS_MAX, TIMEOUT).await;
    told.into_iter().map(|(asked, told)| ((asked.community, asked.replica), told)).collect()
}

/// What a testimony says about the digest at a sequence. A digest stands for all before it: who differs
/// earlier differs here, and who is equal earlier has not said.
fn vote(here: &Community, at: Sequence, told: &Testimony) -> Option<Hash> {
    let is_news = told.sequence == at || here.digests.at(told.sequence).is_some_and(|own| own != told.digest);
    is_news.then_some(told.digest)
}

/// Judges one's own digest by what each voter says, in any order; none: it has not said.
fn judge(own: Hash, votes: impl Iterator<Item = Option<Hash>>) -> Verdict {
    let mut counts: BTreeMap<Hash, usize> = BTreeMap::new();
    let (mut all, mut silent) = (0, 0);
    for vote in votes {
        all += 1;
        match vote {
            Some(digest) => *counts.entry(digest).or_default() += 1,
            None => silent += 1,
        }
    }
    let majority = all / 2 + 1;
    match counts.into_iter().max_by_key(|&(_, count)| count) {
        Some((digest, count)) if count >= majority && digest == own => Verdict::Same,
        Some((digest, count)) if count >= majority => Verdict::Differs(digest),
        Some((_, count)) if count + silent < majority => Verdict::Hopeless,
        _ => Verdict::Open,
    }
}

impl Node {
    /// Answers a peer that compares: the digests of replicas that run here, where they have them. One
    /// that is quarantined says where it ended, so that those who differ from it know.
    pub(crate) fn digests_here(&self, questions: &[DigestAt]) -> Vec<Option<Testimony>> {
        let testimony = |asked: &DigestAt| {
            let here = self.hosted(asked.community)?;
            let sequence = match (here.is_quarantined(), here.must_run().is_ok()) {
                (true, _) => asked.sequence.min(here.digests.newest()),
                (false, true) => asked.sequence,
                (false, false) => return None,
            };
            let digest = here.digests.at(sequence).filter(|_| here.hosted.replica == asked.replica)?;
            Some(Testimony { sequence, digest })
        };
        questions.iter().take(QUESTIONS_MAX).map(testimony).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge};
    use althing_core::ids::Hash;

    const A: Hash = Hash([1; 32]);
    const B: Hash = Hash([2; 32]);
    const C: Hash = Hash([3; 32]);

    #[test]
    fn a_majority_of_all_voters_decides() {
        assert_eq!(judge(A, [Some(A), Some(A), None].into_iter()), Verdict::Same);
        assert_eq!(judge(A, [Some(A), Some(B), Some(B)].into_iter()), Verdict::Differs(B));
        assert_eq!(
            judge(A, [Some(B), Some(B), None].into_iter()),
            Verdict::Differs(B),
            "a learner judges itself too"
        );
    }

    #[test]
    fn what_may_yet_get_a_majority_is_waited_for() {
        assert_eq!(judge(A, [Some(A), Some(B), None].into_iter()), Verdict::Open);
        assert_eq!(judge(A, [Some(A), None, None].into_iter()), Verdict::Open);
        assert_eq!(judge(A, [None, None, None].into_iter()), Verdict::Open);
    }

    #[test]
    fn without_any_majority_there_is_no_truth() {
        assert_eq!(judge(A, [Some(A), Some(B)].into_iter()), Verdict::Hopeless);
        assert_eq!(judge(A, [Some(A), Some(B), Some(C)].into_iter()), Verdict::Hopeless);
        assert_eq!(judge(A, [Some(A), Some(A), Some(B), Some(B)].into_iter()), Verdict::Hopeless);
        assert_eq!(judge(A, [Some(A), Some(A), Some(B), Some(B), None].into_iter()), Verdict::Open);
    }
}
