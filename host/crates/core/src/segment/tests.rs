//! Any history cut into segments is read back; whatever is changed in any of them is found and told.

use super::{Chain, Cut, Ends, Finding, Rule, Segment, SegmentError, SegmentHeader, SegmentWriter, Tail};
use crate::{
    digest,
    ids::{CommunityId, Hash, Sequence},
    time::Timestamp,
    transition::{Cause, Outcome, Transition, Write},
};
use bytes::Bytes;
use proptest::prelude::*;

const GUILD: CommunityId = CommunityId(7);

/// A history: of each transition how much later it is, and how large.
fn history(of: &[(u64, usize)]) -> Vec<Transition> {
    let (mut before, mut millis) = (digest::start(GUILD), 1_800_000_000_000);
    let of = of.iter().zip(1..);
    of.map(|(&(later, bytes), sequence)| {
        millis += later;
        let mut transition = Transition {
            sequence: Sequence(sequence),
            time: Timestamp::new(millis, 0),
            cause: Cause::Timer { id: Bytes::from_static(b"t"), payload: vec![sequence as u8; bytes].into() },
            outcome: Outcome::Accepted { result: Bytes::new() },
            writes: vec![Write { key: Bytes::from_static(b"k"), value: None }],
            events: Vec::new(),
            timers: Vec::new(),
            fuel: sequence,
            digest: Hash::default(),
        };
        transition.digest = digest::step(before, &transition);
        before = transition.digest;
        transition
    })
    .collect()
}

fn header(first: u64, previous: Option<Tail>) -> SegmentHeader {
    let before = previous.map_or_else(|| digest::start(GUILD), |previous| previous.digest);
    SegmentHeader {
        cluster: "c".repeat(32),
        community: GUILD,
        name: "guild".to_owned(),
        first: Sequence(first),
        before: Some(before),
        previous,
        missing: 0,
    }
}

/// Cuts a history as a node does.
fn segments(history: &[Transition], rule: Rule) -> Vec<Vec<u8>> {
    let (mut written, mut previous) = (Vec::new(), None);
    let mut rest = history;
    while let Some(first) = rest.first() {
        let mut cut = Cut::new(rule);
        let mut writer = SegmentWriter::new(&header(first.sequence.0, previous));
        let mut taken = 0;
        for transition in rest {
            let ends = cut.add(transition);
            if ends == Ends::Before {
                break;
            }
            writer.add(transition.clone()).unwrap();
            taken += 1;
            if ends == Ends::With {
                break;
            }
        }
        let finished = writer.finish().unwrap();
        previous = Some(finished.tail);
        written.push(finished.bytes);
        rest = &rest[taken..];
    }
    written
}

/// The last sequences of the segments that a history is cut into.
fn ends(history: &[Transition], rule: Rule) -> Vec<Sequence> {
    let (mut ends, mut cut) = (Vec::new(), Cut::new(rule));
    for transition in history {
        let mut place = cut.add(transition);
        if place == Ends::Before {
            ends.push(Sequence(transition.sequence.0 - 1));
            cut = Cut::new(rule);
            place = cut.add(transition);
        }
        if place == Ends::With {
            ends.push(transition.sequence);
            cut = Cut::new(rule);
        }
    }
    ends.extend(history.last().map(|last| last.sequence));
    ends.dedup();
    ends
}

fn findings(segments: &[&Vec<u8>]) -> Vec<Finding> {
    let mut chain = Chain::default();
    segments.iter().flat_map(|bytes| chain.add(&Segment::read(bytes).unwrap())).collect()
}

proptest! {
    #[test]
    fn any_history_cut_into_segments_reads_back_equal(
        of in prop::collection::vec((0..50_000_u64, 0..300_usize), 1..60),
        transitions in 1..20_u64,
        span_millis in 1..400_000_u64,
    ) {
        let history = history(&of);
        let rule = Rule { transitions, span_millis };
        let written = segments(&history, rule);
        let mut chain = Chain::default();
        let mut read = Vec::new();
        for bytes in &written {
            let segment = Segment::read(bytes).unwrap();
            prop_assert_eq!(chain.add(&segment), []);
            prop_assert!(segment.transitions.len() as u64 <= transitions);
            let spans = segment.transitions.iter().map(|transition| transition.time.millis() / span_millis);
            prop_assert_eq!(spans.clone().min(), spans.max());
            read.extend(segment.transitions);
        }
        prop_assert_eq!(&read, &history);
        // Whoever begins later comes to the same places.
        let later = &history[history.len() / 2..];
        let ends_of_all: Vec<Sequence> = ends(&history, rule);
        let ends_from_later: Vec<Sequence> =
            ends_of_all.into_iter().filter(|&end| end >= later[0].sequence).collect();
        prop_assert_eq!(ends(later, rule), ends_from_later);
    }

    #[test]
    fn any_byte_that_was_flipped_is_found(
        of in prop::collection::vec((0..10_u64, 0..40_usize), 1..20),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let bytes = segments(&history(&of), Rule { transitions: 1000, span_millis: 1 << 50 }).remove(0);
        let mut altered = bytes.clone();
        altered[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(Segment::read(&altered).is_err());
    }

    #[test]
    fn any_end_that_is_missing_or_added_is_found(
        of in prop::collection::vec((0..10_u64, 0..40_usize), 1..20),
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = segments(&history(&of), Rule { transitions: 1000, span_millis: 1 << 50 }).remove(0);
        prop_assert!(Segment::read(&bytes[..at.index(bytes.len())]).is_err());
        let longer = [&bytes[..], &bytes[at.index(bytes.len())..]].concat();
        prop_assert!(Segment::read(&longer).is_err());
    }
}

#[test]
fn a_flipped_byte_of_a_transition_is_told_with_its_sequence() {
    let bytes = segments(&history(&[(0, 5), (0, 6), (0, 7)]), Rule { transitions: 10, span_millis: 1 << 50 })
        .remove(0);
    let payload = bytes.windows(6).position(|window| window == [2; 6]).unwrap();
    let mut altered = bytes;
    altered[payload] ^= 1;
    let error = Segment::read(&altered).unwrap_err();
    assert!(matches!(error, SegmentError::Transition { at: Sequence(2), .. }), "{error}");
    assert!(
        error.to_string().starts_with("damaged at sequence 2: transition 2 is not what its digest says"),
        "{error}"
    );
}

#[test]
fn a_forged_segment_with_a_new_seal_is_found_by_its_digests() {
    let history = history(&[(0, 5), (0, 6)]);
    let mut forged = history[1].clone();
    forged.fuel += 1;
    let mut writer = SegmentWriter::new(&header(1, None));
    writer.add(history[0].clone()).unwrap();
    let error = writer.add(forged).unwrap_err();
    assert!(error.to_string().contains("transition 2"), "{error}");
    let error = writer.add(history[0].clone()).unwrap_err();
    assert_eq!(error.to_string(), "transition 1 stands where 2 belongs");
    // Another beginning than the community's own.
    let other = SegmentHeader { before: Some(Hash([9; 32])), ..header(1, None) };
    let mut first = history[0].clone();
    first.digest = digest::step(Hash([9; 32]), &first);
    let mut writer = SegmentWriter::new(&other);
    writer.add(first).unwrap();
    let error = Segment::read(&writer.finish().unwrap().bytes).unwrap_err();
    assert!(error.to_string().contains("not with the community's beginning"), "{error}");
}

#[test]
fn what_is_no_segment_or_newer_says_so() {
    assert_eq!(Segment::read(b"SQLite format 3\0"), Err(SegmentError::Foreign));
    let mut newer = segments(&history(&[(0, 1)]), Rule { transitions: 1, span_millis: 1 }).remove(0);
    newer[11] = 2;
    assert_eq!(Segment::read(&newer), Err(SegmentError::Newer { found: 2 }));
}

#[test]
fn missing_segments_gaps_and_other_histories_are_told_apart() {
    let history = history(&[(0, 1); 9]);
    let rule = Rule { transitions: 3, span_millis: 1 << 50 };
    let written = segments(&history, rule);
    let [one, two, three] = &written[..] else { unreachable!("nine by three") };
    assert_eq!(findings(&[one, two, three]), []);
    assert_eq!(findings(&[two, three]), [Finding::Begins { first: Sequence(4) }]);
    assert_eq!(findings(&[one, three]), [Finding::Missing { from: Sequence(4), to: Sequence(6) }]);
    assert!(matches!(findings(&[one, two, two])[..], [Finding::Overlap { .. }]));

    let gap = |first: u64, previous| {
        let header = SegmentHeader { before: None, previous, ..header(first, None) };
        let mut writer = SegmentWriter::new(&header);
        history[first as usize - 1..].iter().for_each(|transition| writer.add(transition.clone()).unwrap());
        writer.finish().unwrap().bytes
    };
    let tail = Segment::read(one).unwrap().tail;
    assert_eq!(findings(&[one, &gap(6, Some(tail))]), [Finding::Gap { from: Sequence(4), to: Sequence(5) }]);
    assert_eq!(findings(&[&gap(6, None)]), [Finding::Gap { from: Sequence(1), to: Sequence(5) }]);
    // Behind one that is not here, and not all that is missing was ever written.
    let behind = Segment::read(two).unwrap().tail;
    let both = [
        Finding::Missing { from: Sequence(4), to: Sequence(6) },
        Finding::Gap { from: Sequence(7), to: Sequence(7) },
    ];
    assert_eq!(findings(&[one, &gap(8, Some(behind))]), both);

    let elsewhere = Tail { digest: Hash([1; 32]), ..tail };
    let mut other = history[3].clone();
    other.digest = digest::step(elsewhere.digest, &other);
    let mut writer = SegmentWriter::new(&header(4, Some(elsewhere)));
    writer.add(other).unwrap();
    let found = findings(&[one, &writer.finish().unwrap().bytes]);
    assert!(matches!(found[..], [Finding::Differs { first: Sequence(4), .. }]), "{found:?}");

    let resealed = Tail { seal: Hash([1; 32]), ..tail };
    let mut writer = SegmentWriter::new(&header(4, Some(resealed)));
    writer.add(history[3].clone()).unwrap();
    assert_eq!(findings(&[one, &writer.finish().unwrap().bytes]), [Finding::OtherFile]);
}
