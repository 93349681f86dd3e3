//! Replicas that begin with a snapshot hold the history before it, whoever had it. Real nodes over memory, in virtual
//! time.

use super::{Link, proven};
use crate::quarantine::tests::{GUILD, Stage};
use althing_consensus::runtime::simulate;
use althing_core::{
    batch::{Batch, Command, OpenSession},
    ids::{CommunityId, NodeId, Sequence},
    machine::Machine,
    policy::Policy,
    testing::ScriptedPrograms,
    time::Timestamp,
    transition::Transition,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

impl Stage {
    /// Waits until a node holds the history from a sequence on, and gives all of it.
    async fn holds_from(&self, node: u64, oldest: Sequence) -> Vec<Transition> {
        let began = self.runtime.monotonic();
        loop {
            let replica = self.replica(node).await;
            if replica
                .as_ref()
                .is_some_and(|replica| replica.oldest_sequence == oldest && replica.fault.is_none())
            {
                break;
            }
            assert!(self.runtime.monotonic() - began < PATIENCE, "{replica:?}");
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
        let (mut from, mut history) = (oldest, Vec::new());
        loop {
            let page = self.node(node).history(GUILD, from, 1024).await.unwrap();
            assert_eq!(page.oldest, oldest);
            let Some(last) = page.transitions.last() else { return history };
            from = last.sequence.next();
            history.extend(page.transitions);
        }
    }

    async fn tell_all(&mut self, words: u64) {
        for _ in 0..words {
            self.tell().await;
        }
    }
}

#[test]
fn replicas_that_are_replaced_one_after_the_other_lose_no_history() {
    simulate(1, |runtime| async move {
        let mut stage = Stage::set(runtime, 3).await;
        stage.tell_all(100).await;
        // More than goes into one answer.
        stage.fill(200).await;
        let told = stage.holds_from(1, Sequence(1)).await;
        for node in 1..=3 {
            stage.node(node).rebuild_replica(GUILD, NodeId(node), None).await.unwrap();
            stage.tell().await;
            stage.holds_from(node, Sequence(1)).await;
        }
        stage.must_agree().await;
        for node in 1..=3 {
            let history = stage.holds_from(node, Sequence(1)).await;
            assert_eq!(history[..told.len()], told, "node {node}");
            assert_eq!(history.len(), told.len() + 3, "node {node}");
        }
        stage.close().await;
    });
}

#[test]
fn what_lies_between_two_runs_of_history_is_fetched_when_somebody_is_there_to_ask() {
    simulate(2, |runtime| async move {
        let mut stage = Stage::set(runtime, 3).await;
        stage.tell_all(30).await;
        stage.must_agree().await;
        let late = 1 + stage.leader().await % 3;
        stage.network.isolate(NodeId(late));
        // Beyond what the others' logs keep: it has to begin with a snapshot.
        stage.tell_all(170).await;
        let others: Vec<u64> = (1..=3).filter(|&node| node != late).collect();
        let told = stage.holds_from(others[0], Sequence(1)).await;
        stage.network.heal();
        stage.must_agree().await;
        assert_eq!(stage.holds_from(late, Sequence(1)).await[..told.len()], told);

        // Nobody is there when it begins again with what it has: it asks once somebody is.
        let store = stage.nodes[&late].1.store();
        let id = stage.node(late).community(GUILD).unwrap().id;
        store.archive.truncate_history(id, Sequence(1)).await.unwrap();
        stage.network.isolate(NodeId(late));
        stage.restart(late).await;
        stage.runtime.sleep(Duration::from_secs(10)).await;
        assert!(stage.replica(late).await.unwrap().oldest_sequence > Sequence(1));
        stage.network.heal();
        stage.must_agree().await;
        assert_eq!(stage.holds_from(late, Sequence(1)).await[..told.len()], told);
        stage.close().await;
    });
}

/// A history of so many transitions, and the machine that they led to.
fn history(transitions: usize) -> (Vec<Transition>, Machine) {
    let mut machine = Machine::new(CommunityId(3), Policy::default());
    let open = || Command::OpenSession(OpenSession { actor: Default::default() });
    let batch = Batch { stamp: Timestamp::new(5, 0), commands: (0..transitions).map(|_| open()).collect() };
    let told = machine.apply(&batch, &mut ScriptedPrograms::default()).unwrap().transitions;
    (told, machine)
}

#[test]
fn only_what_leads_to_the_digest_that_is_here_is_kept() {
    let (told, machine) = history(5);
    let id = CommunityId(3);
    let state = Link::State(machine.sequence(), machine.digest());
    assert_eq!(proven(id, told.clone(), &state), told, "to its beginning");
    assert_eq!(proven(id, told[1..].to_vec(), &state), told[2..], "the first proves the others");
    let last = Link::Transition(Box::new(told[4].clone()));
    assert_eq!(proven(id, told[..4].to_vec(), &last), told[..4]);
    assert_eq!(
        proven(CommunityId(4), told[..4].to_vec(), &last),
        told[1..4],
        "begun elsewhere, and imported"
    );

    let refused = |page: &[Transition], link: &Link| assert_eq!(proven(id, page.to_vec(), link), []);
    refused(&[], &state);
    refused(&told[..4], &state);
    refused(&told[..3], &last);
    refused(&[told[0].clone(), told[1].clone(), told[3].clone()], &last);
    for place in 1..4 {
        let mut forged = told[..4].to_vec();
        forged[place].fuel += 1;
        refused(&forged, &last);
    }
    let mut forged = told[..4].to_vec();
    forged[0].fuel += 1;
    assert_eq!(proven(id, forged, &last), told[1..4], "the first is not kept unless it is the beginning");
}
