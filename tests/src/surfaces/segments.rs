//! A segment of archived history, as somebody gives it to `althing verify`: as it is, and with its seal put right. What
//! is good is read again as the same, and has its place behind another one.

use super::batches;
use althing_core::{
    digest,
    ids::{CommunityId, Hash, Sequence},
    segment::{Chain, Segment, SegmentHeader, SegmentWriter},
};

/// What a seal is the hash of, as core has it.
const DOMAIN_SEAL: &str = "althing 2026 archive segment v1";

pub(super) fn take(bytes: &[u8]) {
    drop(Segment::read(bytes));
    let seal = Hash::of(DOMAIN_SEAL, bytes);
    let sealed = [bytes, &seal.0].concat();
    let Ok(segment) = Segment::read(&sealed) else { return };
    assert_eq!(Segment::read(&sealed).as_ref(), Ok(&segment), "it is read the same way twice");
    let _ = segment.header.gap();
    let mut chain = Chain::default();
    for _ in 0..2 {
        drop(chain.add(&segment));
    }
    let mut writer = SegmentWriter::new(&segment.header);
    for transition in segment.transitions {
        writer.add(transition).expect("what was read follows");
    }
    assert_eq!(writer.finish().map(|finished| finished.tail.last), Some(segment.tail.last));
}

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let history = batches::history();
    let of = |first: usize, before: Option<Hash>| {
        let header = SegmentHeader {
            cluster: "c".into(),
            community: CommunityId(7),
            name: "guild".into(),
            first: Sequence(first as u64 + 1),
            before,
            previous: None,
            missing: first as u64,
        };
        let mut writer = SegmentWriter::new(&header);
        history[first..].iter().for_each(|transition| {
            writer.add(transition.clone()).expect("a history follows");
        });
        let finished = writer.finish().expect("there is something in it").bytes;
        // Without the seal: that is put right.
        finished[..finished.len() - 32].to_vec()
    };
    vec![("whole", of(0, Some(digest::start(CommunityId(7))))), ("later", of(2, None))]
}
