//! The retention, by example and at random: whatever is asked for in whatever order, what is kept, pinned
//! or under way can be restored.

use super::{aged, falls_back_to, keep, needed};
use althing_core::{
    ids::{CommunityId, Hash, Sequence},
    policy::{Policy, RetentionPolicy},
    snapshot::{ChunkRef, Manifest, state_root},
    time::Timestamp,
};
use althing_store::port::{Archive, Store};
use bytes::Bytes;
use futures::executor::block_on;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const A: CommunityId = CommunityId(7);

fn policy(snapshots: u32, snapshot_age_millis: u64) -> RetentionPolicy {
    RetentionPolicy { snapshots, snapshot_age_millis, ..Policy::default().retention }
}

/// A chunk, by a number that stands for its content.
fn chunk(name: u8) -> (ChunkRef, Bytes) {
    let bytes = Bytes::from(vec![name; 10]);
    (ChunkRef::of(&bytes), bytes)
}

fn manifest(community: CommunityId, sequence: u64, millis: u64, chunks: &[u8]) -> Manifest {
    let chunks: Vec<ChunkRef> = chunks.iter().map(|name| chunk(*name).0).collect();
    Manifest {
        community,
        sequence: Sequence(sequence),
        log_index: sequence * 10,
        log_id: Bytes::new(),
        membership: Bytes::new(),
        program: None,
        fingerprint: None,
        digest: Hash::default(),
        time: Timestamp::new(millis, 0),
        state_root: state_root(&chunks),
        chunks,
    }
}

async fn put(archive: &dyn Archive, names: &[u8]) {
    let chunks = names.iter().map(|name| chunk(*name)).map(|(reference, bytes)| (reference.hash, bytes));
    archive.put_chunks(chunks.collect()).await.unwrap();
}

async fn sequences(archive: &dyn Archive) -> Vec<u64> {
    archive.snapshots(A).await.unwrap().iter().map(|snapshot| snapshot.sequence.0).collect()
}

#[test]
fn age_is_judged_by_the_newest_snapshots_own_time_and_spares_the_newest_two() {
    let at = |sequence, millis| (Sequence(sequence), Timestamp::new(millis, 0));
    let held = [at(50, 10_000), at(40, 4_000), at(30, 9_500), at(20, 9_499), at(10, 9_000)];
    assert_eq!(aged(&held, &policy(5, 500)), [20, 10].map(Sequence));
    assert_eq!(aged(&held, &policy(1, 500)), [40, 20, 10].map(Sequence), "without a fall-back");
    assert_eq!(aged(&held[..2], &policy(5, 1)), []);
    assert_eq!(aged(&[], &policy(5, 1)), []);
}

#[test]
fn the_log_reaches_back_to_the_second_newest_that_is_whole() {
    block_on(async {
        let archive = Store::memory().archive;
        let reach = async |snapshots| falls_back_to(&*archive, A, &policy(snapshots, 0)).await.unwrap();
        assert_eq!(reach(3).await, 0);
        for sequence in [1, 2, 3] {
            put(&*archive, &[sequence as u8, 9]).await;
            keep(&*archive, &manifest(A, sequence, 0, &[sequence as u8, 9]), &policy(3, 0)).await.unwrap();
            assert_eq!(reach(3).await, (sequence - 1) * 10);
            assert_eq!(reach(1).await, u64::MAX);
        }
        archive.condemn_chunks(vec![chunk(2).0.hash]).await.unwrap();
        assert_eq!(reach(3).await, 10, "a damaged one is none to fall back to");
        archive.condemn_chunks(vec![chunk(9).0.hash]).await.unwrap();
        assert_eq!(reach(3).await, 0);
    });
}

#[test]
fn a_pinned_snapshot_outlives_number_and_age() {
    block_on(async {
        let archive = Store::memory().archive;
        for sequence in 1..=6 {
            put(&*archive, &[sequence as u8]).await;
            let manifest = manifest(A, sequence, sequence * 1000, &[sequence as u8]);
            keep(&*archive, &manifest, &policy(4, 1500)).await.unwrap();
            if sequence == 2 {
                assert!(archive.pin_snapshot(A, Sequence(2), "kept".to_owned()).await.unwrap());
            }
        }
        assert_eq!(sequences(&*archive).await, [6, 5, 2]);
    });
}

/// Something that happens to an archive.
#[derive(Clone, Debug)]
enum Step {
    /// A snapshot is cut, of these chunks, so much later than the one before.
    Cut(Vec<u8>, u64),
    /// A transfer asks which chunks it lacks.
    BeginFetch(Vec<u8>),
    /// It brings some of them.
    Fetch,
    /// It brings the others, and commits.
    EndFetch,
    Pin(usize),
    Unpin(usize),
    Drop(usize),
    /// Another community cuts one.
    Other(Vec<u8>),
    /// And lets all of its go.
    OtherGoes,
}

fn step() -> impl Strategy<Value = Step> {
    let chunks = || prop::collection::vec(0..10_u8, 1..5);
    // What a transfer counts on is named by nobody else who commits and drops it meanwhile: see
    // `Archive::missing_chunks`.
    let fetched = prop::collection::vec(10..20_u8, 1..5);
    prop_oneof![
        6 => (chunks(), 0..3000_u64).prop_map(|(chunks, later)| Step::Cut(chunks, later)),
        2 => fetched.prop_map(Step::BeginFetch),
        2 => Just(Step::Fetch),
        2 => Just(Step::EndFetch),
        2 => (0..4_usize).prop_map(Step::Pin),
        1 => (0..4_usize).prop_map(Step::Unpin),
        1 => (0..4_usize).prop_map(Step::Drop),
        2 => chunks().prop_map(Step::Other),
        1 => Just(Step::OtherGoes),
    ]
}

/// An archive, and what it has to hold.
struct Course {
    archive: std::sync::Arc<dyn Archive>,
    policy: RetentionPolicy,
    sequence: u64,
    millis: u64,
    manifests: BTreeMap<u64, Manifest>,
    pinned: BTreeSet<u64>,
    fetching: Option<(Vec<u8>, Vec<u8>)>,
}

impl Course {
    fn nth(&self, place: usize) -> Option<u64> {
        self.manifests.keys().rev().nth(place).copied()
    }

    async fn cut(&mut self, chunks: &[u8]) {
        self.sequence += 1;
        let manifest = manifest(A, self.sequence, self.millis, chunks);
        keep(&*self.archive, &manifest, &self.policy).await.unwrap();
        self.manifests.insert(self.sequence, manifest);
        let here = sequences(&*self.archive).await;
        let unpinned = here.iter().filter(|sequence| !self.pinned.contains(sequence)).count();
        assert!(unpinned <= self.policy.snapshots as usize, "{here:?} are too many");
    }

    async fn take(&mut self, step: Step) {
        let archive = self.archive.clone();
        match step {
            Step::Cut(chunks, later) => {
                self.millis += later;
                put(&*archive, &chunks).await;
                self.cut(&chunks).await;
            }
            Step::BeginFetch(wanted) => {
                let hashes: Vec<Hash> = wanted.iter().map(|name| chunk(*name).0.hash).collect();
                let missing = archive.missing_chunks(&hashes).await.unwrap();
                let lacks = wanted.iter().copied().filter(|name| missing.contains(&chunk(*name).0.hash));
                self.fetching = Some((wanted.clone(), lacks.collect()));
            }
            Step::Fetch => {
                if let Some(name) = self.fetching.as_mut().and_then(|(_, lacks)| lacks.pop()) {
                    put(&*archive, &[name]).await;
                }
            }
            Step::EndFetch => {
                if let Some((wanted, lacks)) = self.fetching.take() {
                    put(&*archive, &lacks).await;
                    self.cut(&wanted).await;
                }
            }
            Step::Pin(place) => {
                if let Some(sequence) = self.nth(place) {
                    let is_here = archive.pin_snapshot(A, Sequence(sequence), String::new()).await.unwrap();
                    assert!(is_here);
                    self.pinned.insert(sequence);
                }
            }
            Step::Unpin(place) => {
                if let Some(sequence) = self.nth(place) {
                    assert!(archive.unpin_snapshot(A, Sequence(sequence)).await.unwrap());
                    self.pinned.remove(&sequence);
                }
            }
            Step::Drop(place) => {
                if let Some(sequence) = self.nth(place) {
                    archive.drop_snapshots(A, vec![Sequence(sequence)]).await.unwrap();
                    if !self.pinned.contains(&sequence) {
                        self.manifests.remove(&sequence);
                    }
                }
            }
            Step::Other(chunks) => {
                put(&*archive, &chunks).await;
                let other = manifest(CommunityId(8), self.sequence, 0, &chunks);
                keep(&*archive, &other, &self.policy).await.unwrap();
            }
            Step::OtherGoes => archive.remove_community(CommunityId(8)).await.unwrap(),
        }
        self.forget_what_went().await;
        self.must_hold().await;
    }

    /// What has gone is one that may go.
    async fn forget_what_went(&mut self) {
        let here = sequences(&*self.archive).await;
        let may_stay: BTreeSet<u64> =
            self.manifests.keys().rev().take(needed(&self.policy)).chain(&self.pinned).copied().collect();
        assert!(may_stay.iter().all(|sequence| here.contains(sequence)), "{here:?} without {may_stay:?}");
        self.manifests.retain(|sequence, _| here.contains(sequence));
    }

    async fn must_hold(&self) {
        let named = self.manifests.values().flat_map(|manifest| &manifest.chunks).map(|chunk| chunk.hash);
        let brought = self.fetching.iter().flat_map(|(wanted, lacks)| {
            wanted.iter().filter(|name| !lacks.contains(name)).map(|name| chunk(*name).0.hash)
        });
        for hash in named.chain(brought) {
            assert!(self.archive.chunk(hash).await.unwrap().is_some(), "{hash} is needed and has gone");
        }
    }
}

proptest! {
    #[test]
    fn no_chunk_goes_that_a_snapshot_kept_pinned_or_under_way_needs(
        steps in prop::collection::vec(step(), 1..60),
        snapshots in 1..4_u32,
        age in prop::sample::select(vec![0, 1000, 5000]),
    ) {
        block_on(async {
            let mut course = Course {
                archive: Store::memory().archive,
                policy: policy(snapshots, age),
                sequence: 0,
                millis: 0,
                manifests: BTreeMap::new(),
                pinned: BTreeSet::new(),
                fetching: None,
            };
            for step in steps {
                course.take(step).await;
            }
        });
    }
}

#[test]
fn the_log_is_not_purged_by_what_is_written_beside_a_snapshot_and_is_not_in_it() {
    block_on(async {
        let archive = Store::memory().archive;
        for sequence in [1, 2, 3] {
            put(&*archive, &[sequence as u8]).await;
            keep(&*archive, &manifest(A, sequence, 0, &[sequence as u8]), &policy(9, 0)).await.unwrap();
        }
        let mut records = archive.snapshots(A).await.unwrap();
        let mut middle = records.remove(1);
        // A bit of the number that the archive has beside the manifest has flipped.
        middle.log_index ^= 1 << 30;
        archive.put_snapshot(A, middle, vec![chunk(2).0.hash]).await.unwrap();
        assert_eq!(falls_back_to(&*archive, A, &policy(9, 0)).await.unwrap(), 10, "it counts as none");
    });
}
