//! Random sequences of calls: the archive on disk answers what the one in memory does, which is
//! plain maps.

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

mod subjects;

use althing_core::ids::{CommunityId, Hash, Sequence};
use althing_store::{
    conformance::Subject,
    memory::MemoryStore,
    port::{Archive, HistoryRecord, SnapshotRecord},
};
use bytes::Bytes;
use proptest::prelude::*;
use subjects::{Disk, End, Memory, PATIENCE};
use tokio::time::timeout;

/// One call, or an end of the store.
#[derive(Clone, Debug)]
enum Step {
    PutChunks(Vec<u8>),
    MissingChunks(Vec<u8>),
    PutSnapshot(CommunityId, u64, Vec<u8>),
    Retain(CommunityId, u32),
    Drop(CommunityId, Vec<u64>),
    Pin(CommunityId, u64),
    Unpin(CommunityId, u64),
    Condemn(Vec<u8>),
    Remove(CommunityId),
    /// A first sequence, and the lengths of records that follow each other.
    Append(CommunityId, u64, Vec<u64>),
    Prune(CommunityId, Sequence),
    Truncate(CommunityId, Sequence),
    Read(CommunityId, Sequence, usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let community = || (0..2_u64).prop_map(CommunityId);
    let chunks = || prop::collection::vec(0..12_u8, 0..6);
    let sequence = || (1..40_u64).prop_map(Sequence);
    prop_oneof![
        3 => chunks().prop_map(Step::PutChunks),
        1 => chunks().prop_map(Step::MissingChunks),
        4 => (community(), 0..5_u64, chunks()).prop_map(|(c, s, n)| Step::PutSnapshot(c, s, n)),
        3 => (community(), 0..3_u32).prop_map(|(c, keep)| Step::Retain(c, keep)),
        2 => (community(), prop::collection::vec(0..5_u64, 0..3)).prop_map(|(c, s)| Step::Drop(c, s)),
        2 => (community(), 0..5_u64).prop_map(|(c, s)| Step::Pin(c, s)),
        1 => (community(), 0..5_u64).prop_map(|(c, s)| Step::Unpin(c, s)),
        1 => chunks().prop_map(Step::Condemn),
        1 => community().prop_map(Step::Remove),
        8 => (community(), 1..40_u64, prop::collection::vec(1..4_u64, 0..5))
            .prop_map(|(c, first, lengths)| Step::Append(c, first, lengths)),
        2 => (community(), sequence()).prop_map(|(c, s)| Step::Prune(c, s)),
        2 => (community(), sequence()).prop_map(|(c, s)| Step::Truncate(c, s)),
        4 => (community(), sequence(), 0..200_usize).prop_map(|(c, s, b)| Step::Read(c, s, b)),
        1 => Just(Step::Reopen),
    ]
}

fn hashes(names: &[u8]) -> Vec<Hash> {
    names.iter().map(|name| Hash([*name; 32])).collect()
}

/// Does a step, and says all that can be seen of it and after it.
async fn take(archive: &dyn Archive, step: Step, salt: usize) -> String {
    let seen = match step {
        Step::PutChunks(names) => {
            let chunks = names.iter().map(|name| (Hash([*name; 32]), Bytes::from(vec![*name; 9])));
            format!("{:?}", archive.put_chunks(chunks.collect()).await)
        }
        Step::MissingChunks(names) => format!("{:?}", archive.missing_chunks(&hashes(&names)).await),
        Step::PutSnapshot(community, sequence, names) => {
            let manifest = Bytes::from(format!("{salt}"));
            let record = SnapshotRecord { sequence: Sequence(sequence), log_index: salt as u64, manifest };
            format!("{:?}", archive.put_snapshot(community, record, hashes(&names)).await)
        }
        Step::Retain(community, keep) => format!("{:?}", archive.retain_snapshots(community, keep).await),
        Step::Drop(community, sequences) => {
            let sequences = sequences.into_iter().map(Sequence).collect();
            format!("{:?}", archive.drop_snapshots(community, sequences).await)
        }
        Step::Pin(community, sequence) => {
            format!("{:?}", archive.pin_snapshot(community, Sequence(sequence), format!("{salt}")).await)
        }
        Step::Unpin(community, sequence) => {
            format!("{:?}", archive.unpin_snapshot(community, Sequence(sequence)).await)
        }
        Step::Condemn(names) => format!("{:?}", archive.condemn_chunks(hashes(&names)).await),
        Step::Remove(community) => format!("{:?}", archive.remove_community(community).await),
        Step::Append(community, first, lengths) => {
            let mut next = first;
            let record = |length| {
                let first = Sequence(next);
                next += length;
                let body = Bytes::from(format!("{first} of {salt}"));
                HistoryRecord { first, last: Sequence(next - 1), body }
            };
            let records = lengths.into_iter().map(record).collect();
            format!("{:?}", archive.append_history(community, records).await)
        }
        Step::Prune(community, sequence) => format!("{:?}", archive.prune_history(community, sequence).await),
        Step::Truncate(community, sequence) => {
            format!("{:?}", archive.truncate_history(community, sequence).await)
        }
        Step::Read(community, from, bytes_max) => {
            let held = archive.history_held(community).await;
            format!("{:?} {held:?}", archive.history(community, from, bytes_max).await)
        }
        Step::Reopen => String::new(),
    };
    seen + &everything(archive).await
}

/// All but history, which would be flushed by looking.
async fn everything(archive: &dyn Archive) -> String {
    let mut chunks = Vec::new();
    for name in 0..12 {
        chunks.push(archive.chunk(Hash([name; 32])).await.unwrap());
    }
    let condemned = archive.condemned_chunks(99).await.unwrap();
    let stored = archive.stored_chunks(Some(Hash([2; 32])), 5).await.unwrap();
    let mut communities = Vec::new();
    for community in [0, 1].map(CommunityId) {
        let (snapshots, pinned) =
            (archive.snapshots(community).await, archive.pinned_snapshots(community).await);
        communities.push((snapshots, pinned, archive.damaged_snapshots(community).await));
    }
    format!("{chunks:?} {condemned:?} {stored:?} {communities:?}")
}

async fn compare(mut disk: impl Subject, mut memory: impl Subject, steps: Vec<Step>) {
    for (salt, step) in steps.into_iter().enumerate() {
        if let Step::Reopen = step {
            for subject in [&mut disk as &mut dyn Subject, &mut memory] {
                subject.store().archive.flush().await.unwrap();
                subject.reopen().await;
            }
        }
        let expected = take(&*memory.store().archive, step.clone(), salt).await;
        assert_eq!(take(&*disk.store().archive, step.clone(), salt).await, expected, "after {step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_archive_on_disk_answers_what_maps_would(
        steps in prop::collection::vec(step(), 0..80),
        end in prop::sample::select(vec![End::Closed, End::Killed]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let test = async move { compare(Disk::new(end, 0).await, Memory(MemoryStore::new()), steps).await };
        runtime.block_on(async { timeout(PATIENCE, test).await.unwrap() });
    }
}
