//! Nodes that archive, in virtual time: what is in no durable segment is never dropped, what is gone here comes from
//! others, and what nobody has is said to be missing.

use super::{ArchiveOptions, Archived, Marks};
use crate::quarantine::tests::{GUILD, Stage};
use althing_consensus::runtime::{Runtime, simulate};
use althing_core::{
    ids::{CommunityId, Sequence},
    policy::Policy,
    segment::{Chain, Finding, Rule, Segment},
    transition::Transition,
};
use althing_store::segments::{Files as _, MemoryFiles, Unsynced, file_name};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};

const FOLDER: &str = "guild-1";
/// Transitions in a segment.
const SEGMENT: u64 = 16;

/// How every node of these tests archives, if it does.
pub(crate) fn archive_on(files: &MemoryFiles) -> ArchiveOptions {
    let rule = Rule { transitions: SEGMENT, span_millis: 1 << 40 };
    ArchiveOptions { files: Arc::new(files.clone()), place: "memory".to_owned(), reserve: 0, rule }
}

/// A stage whose community keeps few transitions; these nodes archive.
async fn stage(runtime: Runtime, archiving: &[u64]) -> Stage {
    let mut stage = Stage::set(runtime, 3).await;
    let mut policy = Policy::default();
    policy.retention.snapshot_transitions = 40;
    policy.retention.transitions = 10;
    stage.node(1).set_policy(GUILD, policy).await.unwrap();
    for &id in archiving {
        stage.archives.insert(id, MemoryFiles::new());
        stage.restart(id).await;
    }
    stage
}

impl Stage {
    async fn tells(&mut self, words: u32) {
        for _ in 0..words {
            self.tell().await;
        }
        self.runtime.sleep(Duration::from_secs(3)).await;
    }

    async fn archived(&self, node: u64) -> Archived {
        let status = self.node(node).status().await.archive.unwrap();
        status.communities.into_iter().next().unwrap()
    }

    async fn until_archived(&self, node: u64, is_so: impl Fn(&Archived) -> bool) -> Archived {
        let began = self.runtime.monotonic();
        loop {
            let archive = self.node(node).status().await.archive.unwrap();
            if let Some(archived) = archive.communities.first().filter(|archived| is_so(archived)) {
                return archived.clone();
            }
            assert!(self.runtime.monotonic() - began < Duration::from_secs(300), "{archive:?}");
            self.runtime.sleep(Duration::from_millis(100)).await;
        }
    }

    async fn oldest(&self, node: u64) -> u64 {
        self.replica(node).await.unwrap().oldest_sequence.0
    }
}

/// Everything in an archive, and what there is to say of it.
fn read(files: &MemoryFiles) -> (Vec<Transition>, Vec<Finding>) {
    let (mut transitions, mut findings, mut chain) = (Vec::new(), Vec::new(), Chain::default());
    for (name, _) in files.list(FOLDER).unwrap().iter().filter(|(name, _)| name.ends_with(".segment")) {
        let segment = Segment::read(&files.read(FOLDER, name).unwrap()).unwrap();
        assert_eq!(*name, file_name(segment.header.first));
        findings.extend(chain.add(&segment));
        transitions.extend(segment.transitions);
    }
    (transitions, findings)
}

fn must_be_whole(files: &MemoryFiles, upto: u64) {
    let (transitions, findings) = read(files);
    assert_eq!(findings, []);
    let sequences: Vec<u64> = transitions.iter().map(|transition| transition.sequence.0).collect();
    assert_eq!(sequences, (1..=upto).collect::<Vec<_>>());
}

#[test]
fn what_is_in_no_durable_segment_stays_whatever_the_retention_says() {
    simulate(1, async |runtime| {
        let mut stage = stage(runtime, &[2, 3]).await;
        let (full, good) = (stage.archives[&2].clone(), stage.archives[&3].clone());
        full.stop_after(Some(0));
        stage.tells(150).await;
        let archived = stage.until_archived(2, |archived| archived.failures > 1).await;
        assert_eq!((archived.archived, archived.segments), (Sequence(0), 0));
        assert!(archived.lag > 150, "{archived:?}");
        assert!(archived.trouble.unwrap().contains("memory cannot be written"));
        assert_eq!(stage.oldest(2).await, 1, "nothing was dropped");
        assert!(stage.oldest(1).await > 100, "this one does not archive");
        let mark = stage.archived(3).await.archived;
        assert!(stage.oldest(3).await > 100 && stage.oldest(3).await <= mark.0 + 1);

        // Room again: what was waiting is archived, and then dropped.
        full.stop_after(None);
        stage.until_archived(2, |archived| archived.archived == mark && archived.trouble.is_none()).await;
        assert!(stage.oldest(2).await > 100);
        must_be_whole(&full, mark.0);
        // Both came to the same files, byte for byte.
        assert_eq!(full.list(FOLDER).unwrap(), good.list(FOLDER).unwrap());
        for (name, _) in full.list(FOLDER).unwrap() {
            assert_eq!(full.read(FOLDER, &name).unwrap(), good.read(FOLDER, &name).unwrap(), "{name}");
        }
        stage.close().await;
    });
}

#[test]
fn after_a_crash_it_goes_on_without_a_gap_and_writes_what_was_damaged_again() {
    simulate(2, async |runtime| {
        let mut stage = stage(runtime, &[2]).await;
        for (round, unsynced) in [Unsynced::Lost, Unsynced::Kept, Unsynced::Lost].into_iter().enumerate() {
            let files = stage.archives[&2].clone();
            files.stop_after(Some(7 + 2 * round as u64));
            stage.tells(60).await;
            let store = stage.down(2).await;
            let after = files.crash(unsynced);
            if round == 1 {
                // The newest is damaged: what it held is still here, or with the others.
                let mut newest =
                    after.list(FOLDER).unwrap().into_iter().filter(|(name, _)| name.ends_with(".segment"));
                let (name, bytes) = newest.next_back().unwrap();
                after.alter(FOLDER, &name, |body| body[bytes as usize / 2] ^= 1);
            }
            stage.archives.insert(2, after);
            stage.up(2, store, crate::Birth::Restart).await;
            stage.tells(20).await;
        }
        let files = stage.archives[&2].clone();
        let archived = stage.until_archived(2, |archived| archived.lag < SEGMENT).await;
        assert_eq!((archived.missing, archived.trouble), (0, None));
        must_be_whole(&files, archived.archived.0);
        let aside =
            files.list(FOLDER).unwrap().into_iter().filter(|(name, _)| name.contains(".damaged")).count();
        assert_eq!(aside, 1, "what was damaged is kept");
        stage.close().await;
    });
}

#[test]
fn what_is_gone_here_comes_from_another_node_and_nobody_is_passed_over() {
    simulate(3, async |runtime| {
        let mut stage = stage(runtime, &[3]).await;
        // Node 3 holds everything, because it cannot archive it.
        stage.archives[&3].stop_after(Some(0));
        stage.tells(150).await;
        assert!(stage.oldest(2).await > 100 && stage.oldest(3).await == 1);

        // What the others still have in memory goes with a restart.
        stage.restart(1).await;
        stage.tells(1).await;
        // While it is away, node 2 waits for it rather than leave a gap.
        let store = stage.down(3).await;
        stage.archives.insert(2, MemoryFiles::new());
        stage.restart(2).await;
        stage.tells(20).await;
        let waits = stage.until_archived(2, |archived| archived.trouble.is_some()).await;
        assert!(waits.trouble.unwrap().contains("do not answer: 3"));
        assert_eq!(waits.archived, Sequence(0));

        stage.up(3, store, crate::Birth::Restart).await;
        let archived = stage.until_archived(2, |archived| archived.lag < SEGMENT).await;
        assert_eq!(archived.missing, 0);
        must_be_whole(&stage.archives[&2], archived.archived.0);
        stage.close().await;
    });
}

#[test]
fn what_nobody_holds_is_a_gap_that_is_told() {
    simulate(4, async |runtime| {
        let mut stage = stage(runtime, &[]).await;
        stage.tells(150).await;
        stage.archives.insert(2, MemoryFiles::new());
        for node in [1, 3, 2] {
            stage.restart(node).await;
            stage.tells(1).await;
        }
        stage.tells(40).await;
        let archived = stage.until_archived(2, |archived| archived.archived.0 > 0).await;
        assert!(archived.missing > 80, "{archived:?}");
        let (transitions, findings) = read(&stage.archives[&2]);
        let first = transitions[0].sequence;
        assert_eq!(findings, [Finding::Gap { from: Sequence(1), to: Sequence(first.0 - 1) }]);
        assert_eq!(archived.missing, first.0 - 1);
        stage.close().await;
    });
}

#[test]
fn the_rest_of_a_community_that_is_deleted_is_archived_too() {
    simulate(5, async |runtime| {
        let mut stage = stage(runtime, &[2]).await;
        stage.tells(21).await;
        let newest = stage.replica(2).await.unwrap().sequence.0;
        assert!(stage.archived(2).await.archived.0 < newest);
        stage.node(1).delete_community(GUILD).await.unwrap();
        stage.runtime.sleep(Duration::from_secs(10)).await;
        assert!(stage.replica(2).await.is_none());
        must_be_whole(&stage.archives[&2], newest);
        stage.close().await;
    });
}

#[test]
fn a_folder_of_another_community_is_left_alone() {
    simulate(6, async |runtime| {
        let mut other = stage(runtime.clone(), &[2]).await;
        other.tells(40).await;
        let files = other.archives[&2].clone();
        other.close().await;
        let before = files.list(FOLDER).unwrap();
        assert!(!before.is_empty());
        let mut stage = stage(runtime, &[2]).await;
        stage.archives.insert(2, files.clone());
        stage.restart(2).await;
        stage.tells(60).await;
        let archived = stage.until_archived(2, |archived| archived.trouble.is_some()).await;
        assert!(archived.trouble.unwrap().contains("choose another folder"));
        assert_eq!(files.list(FOLDER).unwrap(), before);
        stage.close().await;
    });
}

proptest! {
    #[test]
    fn pruning_never_passes_the_archive_nor_what_the_retention_keeps(
        steps in prop::collection::vec((any::<bool>(), 0..50_u64), 1..100),
    ) {
        let (marks, id) = (Marks::new(true), CommunityId(1));
        let (mut archived, mut wanted) = (0, 0);
        for (is_archived, later) in steps {
            let kept = match is_archived {
                true => {
                    archived += later;
                    marks.archived(id, Sequence(archived))
                }
                false => {
                    wanted += later;
                    marks.keep_from(id, Sequence(wanted))
                }
            };
            prop_assert_eq!(kept, Sequence(wanted.min(archived + 1)));
        }
        prop_assert_eq!(marks.keep_from(CommunityId::SYSTEM, Sequence(900)), Sequence(900));
        prop_assert_eq!(Marks::new(false).keep_from(id, Sequence(900)), Sequence(900));
    }
}
