//! Whether a group has no member any more on a node that is to leave: pure, from what nodes say.

use super::work::Step;
use crate::{directory::record::CommunityRecord, status::ReplicaStatus};
use althing_consensus::port::Role;
use althing_core::{
    ids::NodeId,
    refusal::{Code, Refusal},
};
use std::collections::BTreeMap;

/// What each node says of its replica of one community.
pub(super) type Told = BTreeMap<NodeId, Result<ReplicaStatus, Refusal>>;

/// What there is to wait for until a group has no member on a node on which it is to have none.
///
/// The word of its leader counts. Where nobody leads, that of the node itself, which lets go only what its
/// group has let go; else that of all who know members. Where nobody says anything, nothing is known: the vote
/// of a node that is forgotten is gone for good.
pub(super) fn step(told: &Told, record: &CommunityRecord, leaving: NodeId) -> Step {
    let answers = || told.values().flatten();
    let has_none = |status: &ReplicaStatus| status.members.iter().all(|member| member.node != leaving);
    let leaders = answers().filter(|status| status.role == Role::Leader);
    if let Some(leader) = leaders.max_by_key(|status| status.term) {
        return match leader.are_members_settled && has_none(leader) {
            true => Step::Nothing,
            false => silent_successor(told, record, leader).unwrap_or(Step::UnderWay),
        };
    }
    let has_nothing = |refusal: &Refusal| refusal.code == Code::NoReplica;
    let mut informed = answers().filter(|status| !status.members.is_empty()).peekable();
    match told.get(&leaving) {
        Some(Err(refusal)) if has_nothing(refusal) => Step::Nothing,
        Some(Ok(_)) => Step::Wait(NOBODY_LEADS.to_owned()),
        _ if informed.peek().is_none() => Step::Wait(NOBODY_ANSWERS.to_owned()),
        _ if informed.all(has_none) => Step::Nothing,
        _ => Step::Wait(NOBODY_LEADS.to_owned()),
    }
}

pub(super) const NOBODY_LEADS: &str = "nobody leads it: a quorum of its voters has to be brought back first";
const NOBODY_ANSWERS: &str =
    "nobody says whether it still counts on the node: bring back a node that has it, or delete it";

/// A vote is given up when another has it; if the node that is to have it does not answer, that is never.
fn silent_successor(told: &Told, record: &CommunityRecord, leader: &ReplicaStatus) -> Option<Step> {
    let votes = |id| leader.members.iter().any(|member| member.replica == id && member.voter);
    let to_come = record.replicas.iter().filter(|(id, replica)| replica.voter && !votes(**id));
    let mut silent = to_come.filter(|(_, replica)| !told.get(&replica.node).is_some_and(Result::is_ok));
    let (id, replica) = silent.next()?;
    Some(Step::Wait(format!(
        "replica {id}, which is to vote first, does not answer: bring node {0} back, or remove it too",
        replica.node
    )))
}

#[cfg(test)]
mod tests {
    use super::{Told, step};
    use crate::{
        directory::record::{CommunityRecord, ReplicaRecord},
        retire::work::Step,
        status::{MemberStatus, ReplicaStatus, stopped},
    };
    use althing_consensus::port::{Role, Timing};
    use althing_core::{
        ids::{CommunityId, NodeId, ReplicaId},
        policy::Policy,
        refusal::{Code, Refusal},
    };
    use std::collections::BTreeMap;

    /// Voters by replica and node.
    fn record(replicas: &[(u64, u64)]) -> CommunityRecord {
        let voter =
            |&(id, node): &(u64, u64)| (ReplicaId(id), ReplicaRecord { node: NodeId(node), voter: true });
        CommunityRecord {
            id: CommunityId(1),
            name: "guild".to_owned(),
            timing: Timing::LAN,
            founding_policy: Policy::default(),
            founders: BTreeMap::new(),
            replicas: replicas.iter().map(voter).collect(),
            next_replica: ReplicaId(9),
        }
    }

    fn says(role: Role, term: u64, members: &[(u64, u64)]) -> Result<ReplicaStatus, Refusal> {
        let member = |&(id, node): &(u64, u64)| MemberStatus {
            replica: ReplicaId(id),
            node: NodeId(node),
            voter: true,
        };
        let members = members.iter().map(member).collect();
        Ok(ReplicaStatus { role, term, members, are_members_settled: true, ..stopped(CommunityId(1)) })
    }

    fn silence() -> Result<ReplicaStatus, Refusal> {
        Err(Refusal::new(Code::TimedOut, "nobody listens"))
    }

    fn nothing() -> Result<ReplicaStatus, Refusal> {
        Err(Refusal::new(Code::NoReplica, "no replica here"))
    }

    /// Nodes 1 and 2 are to vote, and 4 in the place of 3, which leaves.
    fn told(told: [Result<ReplicaStatus, Refusal>; 4]) -> Step {
        let told: Told = (1..).map(NodeId).zip(told).collect();
        step(&told, &record(&[(1, 1), (2, 2), (4, 4)]), NodeId(3))
    }

    const BEFORE: &[(u64, u64)] = &[(1, 1), (2, 2), (3, 3)];
    const AFTER: &[(u64, u64)] = &[(1, 1), (2, 2), (4, 4)];

    fn waits(step: Step, word: &str) {
        assert!(matches!(&step, Step::Wait(why) if why.contains(word)), "{step:?}");
    }

    #[test]
    fn the_leader_of_the_latest_term_says_who_is_out() {
        let (old, new) = (says(Role::Leader, 3, BEFORE), says(Role::Leader, 4, AFTER));
        let follower = || says(Role::Follower, 4, BEFORE);
        assert_eq!(told([old, new, nothing(), follower()]), Step::Nothing);
        let still = says(Role::Leader, 4, BEFORE);
        assert_eq!(told([still, follower(), follower(), follower()]), Step::UnderWay);
    }

    #[test]
    fn one_that_is_to_have_the_vote_and_does_not_answer_is_named() {
        let leader = says(Role::Leader, 4, BEFORE);
        waits(told([leader, silence(), says(Role::Follower, 4, BEFORE), silence()]), "bring node 4 back");
    }

    #[test]
    fn where_nobody_leads_the_node_itself_knows_whether_it_was_let_go() {
        assert_eq!(told([silence(), silence(), nothing(), silence()]), Step::Nothing);
        let failed = says(Role::Stopped, 0, &[]);
        waits(told([silence(), silence(), failed, silence()]), "nobody leads");
    }

    #[test]
    fn silence_and_replicas_that_know_no_members_are_no_word() {
        waits(told([silence(), silence(), silence(), silence()]), "nobody says");
        // One that has just begun, and one that cannot run.
        let (fresh, failed) = (says(Role::Learner, 0, &[]), says(Role::Stopped, 0, &[]));
        waits(told([failed, silence(), silence(), fresh]), "nobody says");
        let follower = says(Role::Follower, 4, BEFORE);
        waits(told([silence(), follower, silence(), says(Role::Learner, 0, &[])]), "nobody leads");
        let without = says(Role::Follower, 4, AFTER);
        assert_eq!(told([silence(), without, silence(), silence()]), Step::Nothing);
    }
}
