//! Deciding what to change about a group's members: pure, one step at a time.

use crate::directory::record::ReplicaRecord;
use althing_consensus::port::GroupStatus;
use althing_core::ids::{NodeId, ReplicaId};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// A learner that is this close to the leader's log, in entries, may be given its vote.
const CAUGHT_UP: u64 = 500;

/// The next change that brings a group's members closer to what the directory says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    AddLearner(ReplicaId, NodeId),
    SetVoters(BTreeSet<ReplicaId>),
    /// The leader has no place among the voters that come next: one of these, the best informed first,
    /// is to lead and set them.
    HandOver {
        heirs: Vec<ReplicaId>,
        voters: BTreeSet<ReplicaId>,
    },
    RemoveLearner(ReplicaId),
}

/// What to do next; none when there is nothing, or something has to be waited for.
pub(super) fn next_change(
    status: &GroupStatus,
    wanted: &BTreeMap<ReplicaId, ReplicaRecord>,
) -> Option<Change> {
    if status.is_joint {
        return None;
    }
    let is_member =
        |replica: &ReplicaId| status.voters.contains_key(replica) || status.learners.contains_key(replica);
    let replaced = replaced(status, wanted);
    if let Some(change) = make_room(status, wanted, &replaced) {
        return Some(change);
    }
    if let Some((&replica, record)) = wanted.iter().find(|(replica, _)| !is_member(replica)) {
        return Some(Change::AddLearner(replica, record.node));
    }
    // 0: it has never answered. In a young group that would be close enough.
    let is_close = |&matched: &u64| matched > 0 && matched + CAUGHT_UP >= status.last_index;
    let has_caught_up = |replica: &ReplicaId| {
        status.voters.contains_key(replica) || status.matched.get(replica).is_some_and(is_close)
    };
    let mut voters: BTreeSet<ReplicaId> = wanted
        .iter()
        .filter(|(replica, record)| record.voter && has_caught_up(replica))
        .map(|(&id, _)| id)
        // There is no room for the one after it yet.
        .chain(replaced.into_iter().filter(|replica| status.voters.contains_key(replica)))
        .collect();
    let current: BTreeSet<ReplicaId> = status.voters.keys().copied().collect();
    let all_wanted = wanted.values().filter(|record| record.voter).count();
    keep_places(status, &mut voters, all_wanted);
    // An even number is passed through only when there is nothing to wait for: else the newest of those
    // who would get a vote waits.
    if voters.len() != all_wanted && voters.len().is_multiple_of(2) {
        let newest = voters.iter().rev().find(|voter| !current.contains(voter)).copied();
        newest.map(|newest| voters.remove(&newest));
    }
    let is_worth_it = voters.len() == all_wanted || voters.len() % 2 == 1 && voters.len() > current.len();
    if !voters.is_empty() && voters != current && is_worth_it {
        return Some(set_voters(status, voters));
    }
    let unwanted = status.learners.keys().find(|replica| !wanted.contains_key(replica));
    unwanted.map(|&replica| Change::RemoveLearner(replica))
}

/// Whoever is to go keeps its vote until somebody has caught up who is to have one: first the leader, then
/// those who have most of the log.
fn keep_places(status: &GroupStatus, voters: &mut BTreeSet<ReplicaId>, all_wanted: usize) {
    let has = |replica: &ReplicaId| match *replica == status.replica {
        true => u64::MAX,
        false => status.matched.get(replica).copied().unwrap_or(0),
    };
    let mut leaving: Vec<ReplicaId> =
        status.voters.keys().filter(|replica| !voters.contains(replica)).copied().collect();
    leaving.sort_by_key(|replica| Reverse(has(replica)));
    let places = all_wanted.saturating_sub(voters.len());
    voters.extend(leaving.into_iter().take(places));
}

/// Sets the voters in an order that leaves no silence behind: a leader that loses its vote hands
/// leadership over before; if none of the others votes yet, they get their votes beside it first.
fn set_voters(status: &GroupStatus, voters: BTreeSet<ReplicaId>) -> Change {
    let own = status.replica;
    if voters.contains(&own) || !status.voters.contains_key(&own) {
        return Change::SetVoters(voters);
    }
    let mut heirs: Vec<ReplicaId> =
        voters.iter().filter(|heir| status.voters.contains_key(heir)).copied().collect();
    if heirs.is_empty() {
        return Change::SetVoters(voters.into_iter().chain([own]).collect());
    }
    heirs.sort_by_key(|heir| Reverse(status.matched.get(heir).copied()));
    Change::HandOver { heirs, voters }
}

/// Members that another replica on the same node is to follow.
fn replaced(status: &GroupStatus, wanted: &BTreeMap<ReplicaId, ReplicaRecord>) -> BTreeSet<ReplicaId> {
    let members = status.voters.iter().chain(&status.learners);
    let gone = members.filter(|(replica, _)| !wanted.contains_key(replica));
    let followed = gone.filter(|(_, member)| wanted.values().any(|record| record.node == member.node));
    followed.map(|(&replica, _)| replica).collect()
}

/// Lets one replaced member go: a node holds one replica of a community, so the fresh one begins when
/// the old one is out. It goes when all others have their votes, or when it is not missed: of two that
/// are replaced at the same time, the second waits for the first.
fn make_room(
    status: &GroupStatus,
    wanted: &BTreeMap<ReplicaId, ReplicaRecord>,
    replaced: &BTreeSet<ReplicaId>,
) -> Option<Change> {
    if let Some(&learner) = replaced.iter().find(|replica| status.learners.contains_key(replica)) {
        return Some(Change::RemoveLearner(learner));
    }
    let voter = replaced.iter().find(|replica| status.voters.contains_key(replica))?;
    let rest: BTreeSet<ReplicaId> = status.voters.keys().filter(|&id| id != voter).copied().collect();
    let all_wanted = wanted.values().filter(|record| record.voter).count();
    let is_not_missed = rest.len() + 1 >= all_wanted || rest.len() > all_wanted / 2;
    (!rest.is_empty() && is_not_missed).then(|| set_voters(status, rest))
}

#[cfg(test)]
mod tests {
    use super::{Change, next_change};
    use crate::directory::record::ReplicaRecord;
    use althing_consensus::port::{GroupStatus, Member};
    use althing_core::ids::{NodeId, ReplicaId};
    use std::collections::{BTreeMap, BTreeSet};

    fn group(voters: &[u64], learners: &[(u64, u64)]) -> GroupStatus {
        let member = |id: u64| (ReplicaId(id), Member { node: NodeId(id), address: String::new() });
        GroupStatus {
            voters: voters.iter().map(|&id| member(id)).collect(),
            learners: learners.iter().map(|&(id, _)| member(id)).collect(),
            matched: learners.iter().map(|&(id, matched)| (ReplicaId(id), matched)).collect(),
            last_index: 10_000,
            ..GroupStatus::default()
        }
    }

    fn wanted(replicas: &[(u64, bool)]) -> BTreeMap<ReplicaId, ReplicaRecord> {
        replicas
            .iter()
            .map(|&(id, voter)| (ReplicaId(id), ReplicaRecord { node: NodeId(id), voter }))
            .collect()
    }

    fn ids(ids: &[u64]) -> BTreeSet<ReplicaId> {
        ids.iter().copied().map(ReplicaId).collect()
    }

    #[test]
    fn a_group_that_matches_is_left_alone() {
        assert_eq!(next_change(&group(&[1], &[(2, 0)]), &wanted(&[(1, true), (2, false)])), None);
    }

    #[test]
    fn a_missing_replica_is_first_a_learner() {
        let change = next_change(&group(&[1], &[]), &wanted(&[(1, true), (2, true)]));
        assert_eq!(change, Some(Change::AddLearner(ReplicaId(2), NodeId(2))));
    }

    #[test]
    fn a_learner_gets_its_vote_only_when_it_has_caught_up() {
        let want = wanted(&[(1, true), (2, true)]);
        assert_eq!(next_change(&group(&[1], &[(2, 0)]), &want), None);
        assert_eq!(next_change(&group(&[1], &[(2, 9_900)]), &want), Some(Change::SetVoters(ids(&[1, 2]))));
    }

    #[test]
    fn a_learner_that_never_answered_gets_no_vote_in_a_young_group_either() {
        let young = GroupStatus { last_index: 9, ..group(&[1], &[(2, 0), (3, 9)]) };
        let want = wanted(&[(1, true), (2, true), (3, true)]);
        assert_eq!(next_change(&young, &want), None);
    }

    #[test]
    fn one_that_never_comes_does_not_keep_the_others_from_their_votes() {
        let status = group(&[1], &[(2, 9_900), (3, 0), (4, 9_900), (5, 9_900)]);
        let want = wanted(&[(1, true), (2, true), (3, true), (4, true), (5, true)]);
        assert_eq!(next_change(&status, &want), Some(Change::SetVoters(ids(&[1, 2, 4]))));
        let status = group(&[1, 2, 4], &[(3, 0), (5, 9_900)]);
        assert_eq!(next_change(&status, &want), None);
    }

    #[test]
    fn an_even_number_of_votes_waits_for_the_odd_one() {
        let want = wanted(&[(1, true), (2, true), (3, true)]);
        assert_eq!(next_change(&group(&[1], &[(2, 9_900), (3, 0)]), &want), None);
        assert_eq!(
            next_change(&group(&[1], &[(2, 9_900), (3, 9_900)]), &want),
            Some(Change::SetVoters(ids(&[1, 2, 3])))
        );
    }

    /// Replicas on nodes: `(replica, node, voter)`.
    fn placed(replicas: &[(u64, u64, bool)]) -> BTreeMap<ReplicaId, ReplicaRecord> {
        replicas
            .iter()
            .map(|&(id, node, voter)| (ReplicaId(id), ReplicaRecord { node: NodeId(node), voter }))
            .collect()
    }

    #[test]
    fn a_replica_that_is_rebuilt_goes_before_the_one_that_follows_it_comes() {
        let want = placed(&[(1, 1, true), (2, 2, true), (4, 3, true)]);
        let step = next_change(&group(&[1, 2, 3], &[]), &want);
        assert_eq!(step, Some(Change::SetVoters(ids(&[1, 2]))));
        let step = next_change(&group(&[1, 2], &[]), &want);
        assert_eq!(step, Some(Change::AddLearner(ReplicaId(4), NodeId(3))));
        assert_eq!(next_change(&group(&[1, 2], &[(4, 0)]), &want), None);
        let step = next_change(&group(&[1, 2], &[(4, 9_900)]), &want);
        assert_eq!(step, Some(Change::SetVoters(ids(&[1, 2, 4]))));
        // One that never got its vote is rebuilt again.
        let want = placed(&[(1, 1, true), (2, 2, true), (5, 3, true)]);
        let mut status = group(&[1, 2], &[(4, 9_900)]);
        status.learners.get_mut(&ReplicaId(4)).unwrap().node = NodeId(3);
        assert_eq!(next_change(&status, &want), Some(Change::RemoveLearner(ReplicaId(4))));
    }

    #[test]
    fn of_two_that_are_rebuilt_at_once_the_second_keeps_its_vote_until_the_first_is_back() {
        let want = placed(&[(1, 1, true), (4, 2, true), (5, 3, true)]);
        let place = |mut status: GroupStatus| {
            for (replica, node) in [(4, 2), (5, 3)] {
                let replica = ReplicaId(replica);
                let member = status.voters.get_mut(&replica).or(status.learners.get_mut(&replica));
                member.into_iter().for_each(|member| member.node = NodeId(node));
            }
            status
        };
        let mut seen = Vec::new();
        let steps = [
            group(&[1, 2, 3], &[]),
            group(&[1, 3], &[]),
            group(&[1, 3], &[(4, 0)]),
            group(&[1, 3], &[(4, 9_900), (5, 0)]),
            group(&[1, 3, 4], &[(5, 0)]),
            group(&[1, 4], &[(5, 9_900)]),
        ];
        for status in steps {
            seen.push(next_change(&place(status), &want));
        }
        assert_eq!(
            seen,
            [
                Some(Change::SetVoters(ids(&[1, 3]))),
                Some(Change::AddLearner(ReplicaId(4), NodeId(2))),
                Some(Change::AddLearner(ReplicaId(5), NodeId(3))),
                Some(Change::SetVoters(ids(&[1, 3, 4]))),
                Some(Change::SetVoters(ids(&[1, 4]))),
                Some(Change::SetVoters(ids(&[1, 4, 5]))),
            ]
        );
    }

    #[test]
    fn a_replica_that_moves_keeps_its_vote_until_its_successor_has_caught_up() {
        let want = placed(&[(1, 1, true), (2, 2, true), (4, 4, true)]);
        let step = next_change(&group(&[1, 2, 3], &[]), &want);
        assert_eq!(step, Some(Change::AddLearner(ReplicaId(4), NodeId(4))));
        assert_eq!(next_change(&group(&[1, 2, 3], &[(4, 0)]), &want), None);
        let step = next_change(&group(&[1, 2, 3], &[(4, 9_900)]), &want);
        assert_eq!(step, Some(Change::SetVoters(ids(&[1, 2, 4]))), "one vote for another, in one step");
        assert_eq!(next_change(&group(&[1, 2, 4], &[]), &want), None);
    }

    #[test]
    fn of_several_that_move_each_goes_when_its_own_successor_is_there() {
        let want = placed(&[(1, 1, true), (2, 2, true), (3, 3, true), (6, 6, true), (7, 7, true)]);
        let mut status = group(&[1, 2, 3, 4, 5], &[(6, 9_900), (7, 0)]);
        // The one that has less of the log goes first: it may be gone.
        status.matched.extend([(ReplicaId(4), 3), (ReplicaId(5), 9_990)]);
        assert_eq!(next_change(&status, &want), Some(Change::SetVoters(ids(&[1, 2, 3, 5, 6]))));
        let status = group(&[1, 2, 3, 5, 6], &[(7, 0)]);
        assert_eq!(next_change(&status, &want), None);
        let status = group(&[1, 2, 3, 5, 6], &[(7, 9_900)]);
        assert_eq!(next_change(&status, &want), Some(Change::SetVoters(ids(&[1, 2, 3, 6, 7]))));
    }

    #[test]
    fn a_leader_that_moves_hands_leadership_over_before_its_vote_goes() {
        let want = placed(&[(1, 1, true), (2, 2, true), (4, 4, true)]);
        let mut status = GroupStatus { replica: ReplicaId(3), ..group(&[1, 2, 3], &[(4, 9_900)]) };
        status.matched.extend([(ReplicaId(1), 9_000), (ReplicaId(2), 9_999)]);
        let heirs = vec![ReplicaId(2), ReplicaId(1)];
        let voters = ids(&[1, 2, 4]);
        assert_eq!(next_change(&status, &want), Some(Change::HandOver { heirs, voters }));
    }

    #[test]
    fn a_leader_that_is_alone_shares_its_vote_before_it_goes() {
        let want = placed(&[(2, 2, true)]);
        let alone = GroupStatus { replica: ReplicaId(1), ..group(&[1], &[(2, 9_900)]) };
        assert_eq!(next_change(&alone, &want), Some(Change::SetVoters(ids(&[1, 2]))));
        let both = GroupStatus { replica: ReplicaId(1), ..group(&[1, 2], &[]) };
        let (heirs, voters) = (vec![ReplicaId(2)], ids(&[2]));
        assert_eq!(next_change(&both, &want), Some(Change::HandOver { heirs, voters }));
    }

    #[test]
    fn whatever_is_wanted_there_are_never_fewer_votes_than_before_or_than_wanted() {
        // Every choice of voters, of learners that have caught up and of what is wanted among six.
        for bits in 0_u32..1 << 18 {
            let of = |shift: u32| (1..=6).filter(move |id| bits >> (shift + id - 1) & 1 == 1).map(u64::from);
            let voters: Vec<u64> = of(0).collect();
            let learners: Vec<(u64, u64)> =
                of(6).filter(|id| !voters.contains(id)).map(|id| (id, 9_900)).collect();
            let want = wanted(&of(12).map(|id| (id, true)).collect::<Vec<_>>());
            if voters.is_empty() || want.is_empty() {
                continue;
            }
            if let Some(Change::SetVoters(next)) = next_change(&group(&voters, &learners), &want) {
                assert!(next.len() >= voters.len().min(want.len()), "{voters:?} to {next:?} for {want:?}");
            }
        }
    }

    #[test]
    fn a_voter_that_is_not_wanted_loses_its_vote_and_a_learner_its_place() {
        assert_eq!(
            next_change(&group(&[1, 2, 3], &[]), &wanted(&[(1, true), (2, true)])),
            Some(Change::SetVoters(ids(&[1, 2])))
        );
        assert_eq!(
            next_change(&group(&[1], &[(2, 9_900)]), &wanted(&[(1, true)])),
            Some(Change::RemoveLearner(ReplicaId(2)))
        );
    }
}
