//! What every [`Archive`] must do.

use super::{Subject, cases};
use crate::port::{Archive, ComponentRecord, HistoryRecord, SnapshotRecord, StoreError};
use althing_core::ids::{CommunityId, Hash, Sequence};
use bytes::Bytes;
use std::{ops::RangeInclusive, sync::Arc};

const A: CommunityId = CommunityId(1);
const B: CommunityId = CommunityId(u64::MAX);
const OK: &str = "a healthy store does what it is asked";

/// Runs every case on a store of its own that `make` gives.
pub async fn archive_suite<S: Subject, F: Future<Output = S>>(make: impl Fn() -> F) {
    cases!(make =>
        chunks_are_stored_once_and_stay,
        a_snapshot_with_a_missing_chunk_is_refused_and_changes_nothing,
        snapshots_come_newest_first_and_the_same_sequence_replaces,
        retention_keeps_the_newest_and_chunks_that_anybody_names,
        retention_spares_chunks_that_a_snapshot_under_way_counts_on,
        what_a_transfer_has_brought_outlives_a_restart_and_ends_with_its_snapshot,
        chunks_put_while_others_retain_are_never_lost,
        a_pinned_snapshot_stays_until_it_is_unpinned,
        snapshots_that_are_named_are_dropped_but_for_the_pinned_ones,
        condemned_chunks_count_as_missing_until_they_are_stored_again,
        condemned_chunks_are_collected_with_the_last_snapshot_that_names_them,
        a_removed_community_leaves_what_others_share,
        components_and_facts_stay,
        history_reads_back_in_order_and_within_bounds,
        history_that_is_here_is_left_alone,
        the_newest_gapless_run_is_what_is_held,
        a_gap_that_is_filled_is_none,
        pruning_keeps_the_record_that_reaches_over,
        truncation_drops_the_record_that_reaches_over,
        a_snapshot_is_never_durable_before_the_history_before_it,
        a_closed_archive_refuses_everything,
    );
}

fn chunk(name: u8) -> (Hash, Bytes) {
    (Hash([name; 32]), Bytes::from(vec![name; 100]))
}

fn hashes(names: &[u8]) -> Vec<Hash> {
    names.iter().map(|name| Hash([*name; 32])).collect()
}

fn snapshot(sequence: u64) -> SnapshotRecord {
    SnapshotRecord {
        sequence: Sequence(sequence),
        log_index: sequence / 2,
        manifest: Bytes::from(format!("manifest {sequence}")),
    }
}

fn record(range: RangeInclusive<u64>) -> HistoryRecord {
    let (first, last) = (Sequence(*range.start()), Sequence(*range.end()));
    HistoryRecord { first, last, body: Bytes::from(format!("{first:0>4}-{last:0>4}!")) }
}

async fn put_chunks(archive: &dyn Archive, names: &[u8]) {
    archive.put_chunks(names.iter().map(|name| chunk(*name)).collect()).await.expect(OK);
}

async fn put_snapshot(archive: &dyn Archive, community: CommunityId, sequence: u64, names: &[u8]) {
    put_chunks(archive, names).await;
    archive.put_snapshot(community, snapshot(sequence), hashes(names)).await.expect(OK);
}

/// Which of the chunks are here, without counting on them as `missing_chunks` does.
async fn here(archive: &dyn Archive, names: &[u8]) -> Vec<u8> {
    let mut here = Vec::new();
    for name in names {
        if let Some(body) = archive.chunk(Hash([*name; 32])).await.expect(OK) {
            assert_eq!(body, chunk(*name).1);
            here.push(*name);
        }
    }
    here
}

async fn history(archive: &dyn Archive, from: u64) -> Vec<HistoryRecord> {
    archive.history(A, Sequence(from), usize::MAX).await.expect(OK)
}

async fn held(archive: &dyn Archive) -> Option<(u64, u64)> {
    archive.history_held(A).await.expect(OK).map(|(first, last)| (first.0, last.0))
}

async fn append(archive: &dyn Archive, records: impl IntoIterator<Item = RangeInclusive<u64>>) {
    archive.append_history(A, records.into_iter().map(record).collect()).await.expect(OK);
}

async fn chunks_are_stored_once_and_stay(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    put_chunks(&*archive, &[1, 2]).await;
    put_chunks(&*archive, &[2, 3]).await;
    let many: Vec<u8> = (0..=255).collect();
    let expected: Vec<Hash> =
        hashes(&many).into_iter().filter(|hash| !(1..=3).contains(&hash.0[0])).collect();
    assert_eq!(archive.missing_chunks(&hashes(&many)).await.expect(OK), expected);
    assert_eq!(archive.missing_chunks(&[]).await.expect(OK), []);
    subject.reopen().await;
    assert_eq!(here(&*subject.store().archive, &many).await, [1, 2, 3]);
}

async fn a_snapshot_with_a_missing_chunk_is_refused_and_changes_nothing(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    put_chunks(&*archive, &[1]).await;
    let refused = archive.put_snapshot(A, snapshot(5), hashes(&[1, 9])).await;
    assert!(
        matches!(refused, Err(StoreError::MissingChunk { hash }) if hash == Hash([9; 32])),
        "{refused:?}"
    );
    assert_eq!(archive.snapshots(A).await.expect(OK), []);
    put_snapshot(&*archive, A, 5, &[1, 9]).await;
    assert_eq!(archive.snapshots(A).await.expect(OK), [snapshot(5)]);
}

async fn snapshots_come_newest_first_and_the_same_sequence_replaces(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    put_snapshot(&*archive, A, 10, &[1]).await;
    put_snapshot(&*archive, A, 30, &[2]).await;
    put_snapshot(&*archive, A, 20, &[3]).await;
    put_snapshot(&*archive, B, 15, &[]).await;
    put_chunks(&*archive, &[4]).await;
    let replaced = SnapshotRecord { log_index: 99, manifest: Bytes::from_static(b"again"), ..snapshot(20) };
    archive.put_snapshot(A, replaced.clone(), hashes(&[4, 4])).await.expect(OK);
    archive.retain_snapshots(A, 3).await.expect(OK);
    assert_eq!(here(&*archive, &[1, 2, 3, 4]).await, [1, 2, 4]);
    subject.reopen().await;
    let archive = subject.store().archive;
    assert_eq!(archive.snapshots(A).await.expect(OK), [snapshot(30), replaced, snapshot(10)]);
    assert_eq!(archive.snapshots(B).await.expect(OK), [snapshot(15)]);
}

async fn retention_keeps_the_newest_and_chunks_that_anybody_names(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    put_snapshot(&*archive, A, 10, &[1, 2, 3, 9]).await;
    put_snapshot(&*archive, A, 20, &[2, 3, 4]).await;
    put_snapshot(&*archive, A, 30, &[3, 4, 5]).await;
    put_snapshot(&*archive, B, 7, &[9]).await;
    archive.retain_snapshots(A, 2).await.expect(OK);
    assert_eq!(archive.snapshots(A).await.expect(OK), [snapshot(30), snapshot(20)]);
    assert_eq!(here(&*archive, &[1, 2, 3, 4, 5, 9]).await, [2, 3, 4, 5, 9]);
    archive.retain_snapshots(A, 5).await.expect(OK);
    archive.retain_snapshots(A, 1).await.expect(OK);
    subject.reopen().await;
    let archive = subject.store().archive;
    assert_eq!(archive.snapshots(A).await.expect(OK), [snapshot(30)]);
    assert_eq!(here(&*archive, &[1, 2, 3, 4, 5, 9]).await, [3, 4, 5, 9]);
    archive.retain_snapshots(A, 0).await.expect(OK);
    assert_eq!(archive.snapshots(A).await.expect(OK), []);
    assert_eq!(here(&*archive, &[1, 2, 3, 4, 5, 9]).await, [9]);
}

async fn retention_spares_chunks_that_a_snapshot_under_way_counts_on(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    put_snapshot(&*archive, A, 10, &[1, 2]).await;
    assert_eq!(archive.missing_chunks(&hashes(&[1, 3])).await.expect(OK), hashes(&[3]));
    put_chunks(&*archive, &[3]).await;
    archive.retain_snapshots(A, 0).await.expect(OK);
    assert_eq!(here(&*archive, &[1, 2, 3]).await, [1, 3]);
    archive.put_snapshot(B, snapshot(20), hashes(&[1, 3])).await.expect(OK);
    archive.retain_snapshots(B, 0).await.expect(OK);
    assert_eq!(here(&*archive, &[1, 2, 3]).await, []);
}

async fn what_a_transfer_has_brought_outlives_a_restart_and_ends_with_its_snapshot(
    subject: &mut impl Subject,
) {
    let archive = subject.store().archive;
    put_snapshot(&*archive, A, 10, &[1, 2]).await;
    put_chunks(&*archive, &[5, 6]).await;
    for _ in 0..2 {
        subject.reopen().await;
        let archive = subject.store().archive;
        archive.retain_snapshots(A, 1).await.expect(OK);
        archive.remove_community(B).await.expect(OK);
        assert_eq!(here(&*archive, &[1, 2, 5, 6]).await, [1, 2, 5, 6], "nobody has asked for it yet");
    }
    let archive = subject.store().archive;
    archive.put_snapshot(B, snapshot(20), hashes(&[2, 5])).await.expect(OK);
    archive.retain_snapshots(A, 0).await.expect(OK);
    archive.retain_snapshots(B, 0).await.expect(OK);
    assert_eq!(here(&*archive, &[1, 2, 5, 6]).await, [6]);
}

async fn chunks_put_while_others_retain_are_never_lost(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    let putting = async |community: CommunityId| {
        for round in 0..20_u8 {
            let names: Vec<u8> = (0..4).map(|part| round / 2 + 50 * part + community.0 as u8 % 2).collect();
            let missing = archive.missing_chunks(&hashes(&names)).await.expect(OK);
            for hash in missing {
                put_chunks(&*archive, &[hash.0[0]]).await;
            }
            let put = archive.put_snapshot(community, snapshot(round.into()), hashes(&names)).await;
            // Another snapshot may have named a chunk first, and been dropped.
            assert!(matches!(put, Ok(()) | Err(StoreError::MissingChunk { .. })), "{put:?}");
        }
    };
    let retaining = async {
        for _ in 0..40 {
            archive.retain_snapshots(A, 1).await.expect(OK);
            archive.retain_snapshots(B, 1).await.expect(OK);
        }
    };
    futures::future::join3(putting(A), putting(CommunityId(2)), retaining).await;
    let one = async |round: u8| {
        let names: Vec<u8> = (0..8).map(|part| round + part).collect();
        put_chunks(&*archive, &names).await;
        archive.put_snapshot(A, snapshot(1000 + u64::from(round)), hashes(&names)).await.expect(OK);
        assert_eq!(here(&*archive, &names).await, names);
    };
    for round in 0..20 {
        futures::future::join(one(round * 8), archive.retain_snapshots(A, 1)).await.1.expect(OK);
    }
}

async fn sequences(archive: &dyn Archive, community: CommunityId) -> Vec<u64> {
    archive.snapshots(community).await.expect(OK).iter().map(|snapshot| snapshot.sequence.0).collect()
}

async fn a_pinned_snapshot_stays_until_it_is_unpinned(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    put_snapshot(&*archive, A, 10, &[1, 2]).await;
    put_snapshot(&*archive, A, 20, &[2, 3]).await;
    put_snapshot(&*archive, A, 30, &[3, 4]).await;
    let pin = async |sequence: u64, note: &str| {
        archive.pin_snapshot(A, Sequence(sequence), note.to_owned()).await.expect(OK)
    };
    assert!(!pin(15, "nothing").await, "there is none at this sequence");
    assert!(pin(10, "before the upgrade").await);
    assert!(pin(10, "for good").await, "the note is replaced");
    assert!(!archive.pin_snapshot(B, Sequence(10), String::new()).await.expect(OK));
    archive.retain_snapshots(A, 1).await.expect(OK);
    // The same sequence again is still the one that was pinned.
    archive.put_snapshot(A, snapshot(10), hashes(&[1, 2])).await.expect(OK);
    subject.reopen().await;
    let archive = subject.store().archive;
    archive.retain_snapshots(A, 1).await.expect(OK);
    assert_eq!(sequences(&*archive, A).await, [30, 10]);
    assert_eq!(here(&*archive, &[1, 2, 3, 4]).await, [1, 2, 3, 4]);
    let pinned = archive.pinned_snapshots(A).await.expect(OK);
    assert_eq!(pinned.into_iter().collect::<Vec<_>>(), [(Sequence(10), "for good".to_owned())]);
    assert!(archive.pinned_snapshots(B).await.expect(OK).is_empty());
    assert!(archive.unpin_snapshot(A, Sequence(10)).await.expect(OK));
    assert!(archive.unpin_snapshot(A, Sequence(10)).await.expect(OK), "it is there, pinned or not");
    assert!(!archive.unpin_snapshot(A, Sequence(20)).await.expect(OK));
    archive.retain_snapshots(A, 1).await.expect(OK);
    assert_eq!(sequences(&*archive, A).await, [30]);
    assert_eq!(here(&*archive, &[1, 2, 3, 4]).await, [3, 4]);
    archive.pin_snapshot(A, Sequence(30), String::new()).await.expect(OK);
    archive.remove_community(A).await.expect(OK);
    assert_eq!(sequences(&*archive, A).await, [], "a pin does not outlive its community");
    assert!(archive.pinned_snapshots(A).await.expect(OK).is_empty());
}

async fn snapshots_that_are_named_are_dropped_but_for_the_pinned_ones(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    for (sequence, chunks) in [(10, [1, 2]), (20, [2, 3]), (30, [3, 4])] {
        put_snapshot(&*archive, A, sequence, &chunks).await;
    }
    put_snapshot(&*archive, B, 20, &[3]).await;
    assert!(archive.pin_snapshot(A, Sequence(10), "kept".to_owned()).await.expect(OK));
    let asked = [10, 20, 25].map(Sequence).to_vec();
    let dropped = archive.drop_snapshots(A, asked).await.expect(OK);
    assert_eq!(dropped.into_iter().collect::<Vec<_>>(), [Sequence(20)]);
    assert_eq!((sequences(&*archive, A).await, sequences(&*archive, B).await), (vec![30, 10], vec![20]));
    assert_eq!(here(&*archive, &[1, 2, 3, 4]).await, [1, 2, 3, 4]);
    archive.drop_snapshots(A, vec![Sequence(30)]).await.expect(OK);
    subject.reopen().await;
    assert_eq!(here(&*subject.store().archive, &[1, 2, 3, 4]).await, [1, 2, 3]);
}

async fn condemned_chunks_count_as_missing_until_they_are_stored_again(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    put_snapshot(&*archive, A, 10, &[1, 2, 3]).await;
    put_snapshot(&*archive, A, 20, &[3, 4]).await;
    put_snapshot(&*archive, B, 5, &[5]).await;
    archive.condemn_chunks(hashes(&[2, 3, 9])).await.expect(OK);
    subject.reopen().await;
    let archive = subject.store().archive;
    assert_eq!(archive.condemned_chunks(9).await.expect(OK), hashes(&[2, 3]), "9 is not stored");
    assert_eq!(archive.condemned_chunks(1).await.expect(OK), hashes(&[2]));
    assert_eq!(archive.stored_chunks(None, 9).await.expect(OK), hashes(&[1, 4, 5]));
    assert_eq!(archive.stored_chunks(Some(Hash([1; 32])), 1).await.expect(OK), hashes(&[4]));
    assert_eq!(here(&*archive, &[1, 2, 3, 4, 5]).await, [1, 4, 5]);
    assert_eq!(archive.missing_chunks(&hashes(&[1, 2, 3])).await.expect(OK), hashes(&[2, 3]));
    let damaged = archive.damaged_snapshots(A).await.expect(OK);
    assert_eq!(damaged.into_iter().collect::<Vec<_>>(), [(Sequence(10), 2), (Sequence(20), 1)]);
    assert!(archive.damaged_snapshots(B).await.expect(OK).is_empty());
    let refused = archive.put_snapshot(A, snapshot(30), hashes(&[1, 3])).await;
    assert!(
        matches!(refused, Err(StoreError::MissingChunk { hash }) if hash == Hash([3; 32])),
        "{refused:?}"
    );

    // Stored again it is what is stored now, and of the others nothing changes.
    let (mended, other) = (Bytes::from_static(b"three again"), Bytes::from_static(b"another four"));
    let [three, four] = [3, 4].map(|name| Hash([name; 32]));
    archive.put_chunks(vec![(three, mended.clone()), (four, other)]).await.expect(OK);
    subject.reopen().await;
    let archive = subject.store().archive;
    assert_eq!(archive.condemned_chunks(9).await.expect(OK), hashes(&[2]));
    assert_eq!(archive.chunk(three).await.expect(OK), Some(mended));
    assert_eq!(archive.chunk(four).await.expect(OK), Some(chunk(4).1));
    let damaged = archive.damaged_snapshots(A).await.expect(OK);
    assert_eq!(damaged.into_iter().collect::<Vec<_>>(), [(Sequence(10), 1)]);
}

async fn condemned_chunks_are_collected_with_the_last_snapshot_that_names_them(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    put_snapshot(&*archive, A, 10, &[1, 2]).await;
    put_snapshot(&*archive, A, 20, &[2]).await;
    archive.condemn_chunks(hashes(&[1, 2])).await.expect(OK);
    archive.retain_snapshots(A, 1).await.expect(OK);
    assert_eq!(archive.condemned_chunks(9).await.expect(OK), hashes(&[2]));
    archive.drop_snapshots(A, vec![Sequence(20)]).await.expect(OK);
    assert_eq!(archive.condemned_chunks(9).await.expect(OK), []);
    // What comes under the same name later is not condemned for it.
    put_chunks(&*archive, &[1, 2]).await;
    assert_eq!(here(&*archive, &[1, 2]).await, [1, 2]);
}

async fn a_removed_community_leaves_what_others_share(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    put_snapshot(&*archive, A, 10, &[1, 2]).await;
    put_snapshot(&*archive, B, 10, &[2, 3]).await;
    append(&*archive, [1..=1]).await;
    archive.append_history(B, vec![record(1..=2)]).await.expect(OK);
    archive.remove_community(A).await.expect(OK);
    for _ in 0..2 {
        let archive = subject.store().archive;
        assert_eq!(archive.snapshots(A).await.expect(OK), []);
        assert_eq!(archive.snapshots(B).await.expect(OK), [snapshot(10)]);
        assert_eq!(here(&*archive, &[1, 2, 3]).await, [2, 3]);
        assert_eq!((history(&*archive, 0).await, held(&*archive).await), (vec![], None));
        assert_eq!(archive.history(B, Sequence(0), 99).await.expect(OK), [record(1..=2)]);
        subject.reopen().await;
    }
}

async fn components_and_facts_stay(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    let (large, small) = (Bytes::from(vec![7; 3 << 20]), Bytes::from_static(b"small"));
    archive.put_component(Hash([2; 32]), large.clone()).await.expect(OK);
    archive.put_component(Hash([1; 32]), small.clone()).await.expect(OK);
    archive.put_component(Hash([1; 32]), small.clone()).await.expect(OK);
    archive.put_fact("node", Bytes::from_static(b"old")).await.expect(OK);
    archive.put_fact("node", Bytes::from_static(b"new")).await.expect(OK);
    subject.reopen().await;
    let archive = subject.store().archive;
    assert_eq!(archive.component(Hash([2; 32])).await.expect(OK), Some(large));
    assert_eq!(archive.component(Hash([1; 32])).await.expect(OK), Some(small));
    assert_eq!(archive.component(Hash([3; 32])).await.expect(OK), None);
    let expected =
        [(1, 5), (2, 3 << 20)].map(|(name, bytes)| ComponentRecord { hash: Hash([name; 32]), bytes });
    assert_eq!(archive.components().await.expect(OK), expected);
    assert_eq!(archive.fact("node").await.expect(OK), Some(Bytes::from_static(b"new")));
    assert_eq!(archive.fact("other").await.expect(OK), None);
}

async fn history_reads_back_in_order_and_within_bounds(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    assert_eq!((history(&*archive, 0).await, held(&*archive).await), (vec![], None));
    append(&*archive, [1..=3, 4..=4]).await;
    assert_eq!(history(&*archive, 0).await, [record(1..=3), record(4..=4)], "readable at once");
    append(&*archive, [5..=9]).await;
    archive.append_history(B, vec![record(1..=1)]).await.expect(OK);
    assert_eq!(held(&*archive).await, Some((1, 9)));
    archive.flush().await.expect(OK);
    subject.reopen().await;
    let archive = subject.store().archive;
    assert_eq!(history(&*archive, 2).await, [record(1..=3), record(4..=4), record(5..=9)]);
    assert_eq!(history(&*archive, 4).await, [record(4..=4), record(5..=9)]);
    assert_eq!(history(&*archive, 10).await, []);
    for (bytes_max, expected) in [(0, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3)] {
        let records = archive.history(A, Sequence(1), bytes_max).await.expect(OK);
        assert_eq!(records.len(), expected, "{bytes_max} bytes");
    }
    assert_eq!(held(&*archive).await, Some((1, 9)));
}

async fn history_that_is_here_is_left_alone(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    append(&*archive, [1..=3, 4..=6]).await;
    let other = |range| HistoryRecord { body: Bytes::from_static(b"other"), ..record(range) };
    let others = [1..=3, 2..=2, 3..=4, 0..=9, 6..=7].map(other).to_vec();
    archive.append_history(A, others).await.expect(OK);
    append(&*archive, [4..=6, 7..=7]).await;
    assert_eq!(history(&*archive, 0).await, [record(1..=3), record(4..=6), record(7..=7)]);
    assert_eq!(held(&*archive).await, Some((1, 7)));
}

async fn the_newest_gapless_run_is_what_is_held(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    append(&*archive, [1..=2, 3..=3]).await;
    append(&*archive, [10..=11, 12..=12]).await;
    assert_eq!(held(&*archive).await, Some((10, 12)));
    append(&*archive, [20..=20]).await;
    archive.flush().await.expect(OK);
    subject.reopen().await;
    let archive = subject.store().archive;
    assert_eq!(held(&*archive).await, Some((20, 20)));
    append(&*archive, [21..=25]).await;
    assert_eq!(held(&*archive).await, Some((20, 25)));
    archive.truncate_history(A, Sequence(20)).await.expect(OK);
    assert_eq!(held(&*archive).await, Some((10, 12)));
    archive.prune_history(A, Sequence(12)).await.expect(OK);
    assert_eq!(held(&*archive).await, Some((12, 12)));
    assert_eq!(history(&*archive, 0).await, [record(12..=12)]);
}

async fn a_gap_that_is_filled_is_none(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    append(&*archive, [1..=2, 7..=9]).await;
    assert_eq!(held(&*archive).await, Some((7, 9)));
    append(&*archive, [5..=6]).await;
    assert_eq!(held(&*archive).await, Some((5, 9)));
    append(&*archive, [3..=4]).await;
    archive.flush().await.expect(OK);
    for _ in 0..2 {
        let archive = subject.store().archive;
        assert_eq!(held(&*archive).await, Some((1, 9)));
        assert_eq!(history(&*archive, 0).await, [1..=2, 3..=4, 5..=6, 7..=9].map(record));
        subject.reopen().await;
    }
}

async fn pruning_keeps_the_record_that_reaches_over(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    append(&*archive, [1..=3, 4..=6, 7..=9]).await;
    archive.prune_history(A, Sequence(5)).await.expect(OK);
    for _ in 0..2 {
        let archive = subject.store().archive;
        assert_eq!(history(&*archive, 0).await, [record(4..=6), record(7..=9)]);
        assert_eq!(held(&*archive).await, Some((4, 9)));
        subject.reopen().await;
    }
    let archive = subject.store().archive;
    archive.prune_history(A, Sequence(100)).await.expect(OK);
    assert_eq!((history(&*archive, 0).await, held(&*archive).await), (vec![], None));
    append(&*archive, [200..=201, 202..=203]).await;
    archive.prune_history(A, Sequence(202)).await.expect(OK);
    append(&*archive, [100..=101]).await;
    assert_eq!(held(&*archive).await, Some((202, 203)), "older history does not join what was pruned");
}

async fn truncation_drops_the_record_that_reaches_over(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    append(&*archive, [1..=3, 4..=6, 7..=9]).await;
    archive.truncate_history(A, Sequence(5)).await.expect(OK);
    for _ in 0..2 {
        let archive = subject.store().archive;
        assert_eq!(history(&*archive, 0).await, [record(1..=3)]);
        assert_eq!(held(&*archive).await, Some((1, 3)));
        subject.reopen().await;
    }
    let archive = subject.store().archive;
    append(&*archive, [4..=5]).await;
    assert_eq!(history(&*archive, 0).await, [record(1..=3), record(4..=5)]);
    assert_eq!(held(&*archive).await, Some((1, 5)));
}

async fn a_snapshot_is_never_durable_before_the_history_before_it(subject: &mut impl Subject) {
    let archive = subject.store().archive;
    for sequence in 1..=50 {
        append(&*archive, [sequence..=sequence]).await;
    }
    put_snapshot(&*archive, A, 50, &[1]).await;
    subject.reopen().await;
    let archive = subject.store().archive;
    assert_eq!(archive.snapshots(A).await.expect(OK), [snapshot(50)]);
    assert_eq!(held(&*archive).await, Some((1, 50)));
}

async fn a_closed_archive_refuses_everything(subject: &mut impl Subject) {
    let archive: Arc<dyn Archive> = subject.store().archive;
    append(&*archive, [1..=1]).await;
    archive.close().await;
    archive.close().await;
    assert!(matches!(archive.append_history(A, vec![record(2..=2)]).await, Err(StoreError::Closed)));
    assert!(matches!(archive.history(A, Sequence(0), 9).await, Err(StoreError::Closed)));
    assert!(matches!(archive.history_held(A).await, Err(StoreError::Closed)));
    assert!(matches!(archive.prune_history(A, Sequence(0)).await, Err(StoreError::Closed)));
    assert!(matches!(archive.truncate_history(A, Sequence(0)).await, Err(StoreError::Closed)));
    assert!(matches!(archive.put_chunks(vec![chunk(1)]).await, Err(StoreError::Closed)));
    assert!(matches!(archive.missing_chunks(&hashes(&[1])).await, Err(StoreError::Closed)));
    assert!(matches!(archive.chunk(Hash([1; 32])).await, Err(StoreError::Closed)));
    assert!(matches!(archive.put_snapshot(A, snapshot(1), vec![]).await, Err(StoreError::Closed)));
    assert!(matches!(archive.snapshots(A).await, Err(StoreError::Closed)));
    assert!(matches!(archive.retain_snapshots(A, 1).await, Err(StoreError::Closed)));
    assert!(matches!(archive.put_component(Hash([1; 32]), Bytes::new()).await, Err(StoreError::Closed)));
    assert!(matches!(archive.drop_component(Hash([1; 32])).await, Err(StoreError::Closed)));
    assert!(matches!(archive.stored_chunks(None, 1).await, Err(StoreError::Closed)));
    assert!(matches!(archive.condemn_chunks(hashes(&[1])).await, Err(StoreError::Closed)));
    assert!(matches!(archive.condemned_chunks(1).await, Err(StoreError::Closed)));
    assert!(matches!(archive.damaged_snapshots(A).await, Err(StoreError::Closed)));
    assert!(matches!(archive.pin_snapshot(A, Sequence(1), String::new()).await, Err(StoreError::Closed)));
    assert!(matches!(archive.unpin_snapshot(A, Sequence(1)).await, Err(StoreError::Closed)));
    assert!(matches!(archive.pinned_snapshots(A).await, Err(StoreError::Closed)));
    assert!(matches!(archive.drop_snapshots(A, vec![Sequence(1)]).await, Err(StoreError::Closed)));
    assert!(matches!(archive.component(Hash([1; 32])).await, Err(StoreError::Closed)));
    assert!(matches!(archive.components().await, Err(StoreError::Closed)));
    assert!(matches!(archive.remove_community(A).await, Err(StoreError::Closed)));
    assert!(matches!(archive.fact("node").await, Err(StoreError::Closed)));
    assert!(matches!(archive.put_fact("node", Bytes::new()).await, Err(StoreError::Closed)));
    assert!(matches!(archive.flush().await, Err(StoreError::Closed)));
    subject.reopen().await;
    assert_eq!(held(&*subject.store().archive).await, Some((1, 1)), "closing wrote out what was queued");
}
