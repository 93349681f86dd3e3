//! The stored form of a run of log entries: what a row of `segments` has as its body.
//!
//! Format 1, integers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format: 1 |
//! | 32 | BLAKE3, derived in the context `althing 2026 store segment 1`, of all that follows |
//! | 32 | that hash of the segment before it in the group's log; zeros if there is none |
//! | 8 | the group |
//! | 8 | the first index |
//! | 4 | how many entries |
//! | 4 + n each | an entry's length, and its bytes |
//!
//! The hash covers group and place too, so a body that is whole but in the wrong row is damage; and
//! the one before, so the segments of a group are a chain (promise P13).

use crate::port::{StoreError, WalEntry};
use althing_core::ids::{CommunityId, Hash};
use bytes::{Buf, Bytes};

const FORMAT: u8 = 1;
const DOMAIN: &str = "althing 2026 store segment 1";
const HEAD_BYTES: usize = 1 + 32;
/// The part of a body that tells its place in the chain.
pub(super) const LINK_BYTES: usize = HEAD_BYTES + 32;

/// A segment's place in its group's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its own hash.
    pub(super) hash: Hash,
    /// The hash of the one before.
    pub(super) before: Hash,
}

/// Reads the first [`LINK_BYTES`] of a body.
pub(super) fn link(head: &[u8]) -> Option<Link> {
    let (&format, rest) = head.split_first()?;
    let (hash, rest) = rest.split_first_chunk()?;
    let before = rest.first_chunk()?;
    (format == FORMAT).then_some(Link { hash: Hash(*hash), before: Hash(*before) })
}

/// Encodes entries, at least one, with consecutive indices, behind the segment with the hash `before`;
/// its own hash with it.
pub(super) fn encode(group: CommunityId, before: Hash, entries: &[WalEntry]) -> (Vec<u8>, Hash) {
    let first = entries.first().expect("a segment has an entry").index;
    let count = u32::try_from(entries.len()).expect("a drain has fewer than 2^32 entries");
    let bytes = entries.iter().map(|entry| 4 + entry.body.len()).sum::<usize>();
    let mut segment = Vec::with_capacity(LINK_BYTES + 20 + bytes);
    segment.push(FORMAT);
    segment.extend([0; 32]);
    segment.extend(before.0);
    segment.extend(group.0.to_le_bytes());
    segment.extend(first.to_le_bytes());
    segment.extend(count.to_le_bytes());
    for entry in entries {
        let length = u32::try_from(entry.body.len()).expect("an entry has fewer than 2^32 bytes");
        segment.extend(length.to_le_bytes());
        segment.extend_from_slice(&entry.body);
    }
    let hash = Hash::of(DOMAIN, &segment[HEAD_BYTES..]);
    segment[1..HEAD_BYTES].copy_from_slice(&hash.0);
    (segment, hash)
}

/// Decodes what [`encode`] made of entries `first..=last` of a group; entries share its memory.
pub(super) fn decode(
    group: CommunityId,
    first: u64,
    last: u64,
    segment: Bytes,
) -> Result<Vec<WalEntry>, StoreError> {
    try_decode(group, first, last, segment).ok_or_else(|| {
        let what = format!(
            "entries {first} to {last} of group {group} in wal.db are not what was written: this replica \
             must come back from the others"
        );
        StoreError::Damaged { what }
    })
}

fn try_decode(group: CommunityId, first: u64, last: u64, mut segment: Bytes) -> Option<Vec<WalEntry>> {
    if segment.len() < LINK_BYTES || segment[0] != FORMAT {
        return None;
    }
    let hash = Hash::of(DOMAIN, &segment[HEAD_BYTES..]);
    if segment[1..HEAD_BYTES] != hash.0 {
        return None;
    }
    segment.advance(LINK_BYTES);
    let found = (segment.try_get_u64_le().ok()?, segment.try_get_u64_le().ok()?);
    let count = u64::from(segment.try_get_u32_le().ok()?);
    if found != (group.0, first) || count == 0 || first.checked_add(count - 1) != Some(last) {
        return None;
    }
    let mut entries = Vec::with_capacity(usize::try_from(count).ok()?);
    for index in first..=last {
        let length = usize::try_from(segment.try_get_u32_le().ok()?).ok()?;
        if length > segment.len() {
            return None;
        }
        entries.push(WalEntry { index, body: segment.split_to(length) });
    }
    segment.is_empty().then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Hash = Hash([9; 32]);

    fn entries() -> Vec<WalEntry> {
        let bodies: [&[u8]; 3] = [b"one", b"", b"three"];
        (7..).zip(bodies).map(|(index, body)| WalEntry { index, body: Bytes::from_static(body) }).collect()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let segment = encode(CommunityId(3), BEFORE, &entries()).0;
        assert_eq!(decode(CommunityId(3), 7, 9, segment.into()).unwrap(), entries());
    }

    #[test]
    fn the_stored_form_never_changes() {
        let segment = encode(CommunityId(3), BEFORE, &entries()).0;
        let tail = [
            &[3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0][..],
            b"one",
            &[0, 0, 0, 0, 5, 0, 0, 0],
            b"three",
        ];
        assert_eq!(segment[HEAD_BYTES..], [&BEFORE.0[..], &tail.concat()].concat());
        assert_eq!(decode(CommunityId(3), 7, 9, segment.clone().into()).unwrap(), entries());
        let hash = Hash(segment[1..HEAD_BYTES].try_into().unwrap());
        assert_eq!(link(&segment[..LINK_BYTES]), Some(Link { hash, before: BEFORE }));
        assert_eq!(
            Hash(segment[1..HEAD_BYTES].try_into().unwrap()).to_string(),
            "bc236d7b4b722c79aa3241807314a7cf099f4bfdae69dc35c125b803d0feb60d"
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let segment = encode(CommunityId(3), BEFORE, &entries()).0;
        for bit in 0..segment.len() * 8 {
            let mut flipped = segment.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(CommunityId(3), 7, 9, flipped.into()).is_err(), "bit {bit}");
        }
        for bytes in 0..segment.len() {
            assert!(decode(CommunityId(3), 7, 9, segment[..bytes].to_vec().into()).is_err(), "{bytes} bytes");
        }
    }

    #[test]
    fn a_whole_segment_in_the_wrong_place_is_damage() {
        let segment = Bytes::from(encode(CommunityId(3), BEFORE, &entries()).0);
        assert!(decode(CommunityId(4), 7, 9, segment.clone()).is_err());
        assert!(decode(CommunityId(3), 8, 10, segment.clone()).is_err());
        assert!(decode(CommunityId(3), 7, 10, segment).is_err());
    }
}
