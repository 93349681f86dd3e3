//! A segment of archived history: consecutive transitions of one community, in bytes that are read and checked with
//! nothing else at hand, and kept for ever.
//!
//! Magic, version, a header, the transitions in the encoding of stored history, an end, and a seal over all of it.
//! Each segment names the one before it and the digest up to there, so a run of them is one chain ([`Chain`]). Where
//! a segment ends follows from the history ([`Cut`]), so that two nodes that archive the same history write the same
//! bytes. Where segments lie is for others to know.

mod chain;
mod cut;
mod read;
mod write;

pub use chain::{Chain, Finding};
pub use cut::{Cut, Ends, Rule};
pub use read::{Segment, SegmentError};
pub use write::{Finished, Misfit, SegmentWriter, must_follow};

use crate::ids::{CommunityId, Hash, Sequence};
use serde::{Deserialize, Serialize};

/// What every segment begins with.
const MAGIC: &[u8; 8] = b"AlthSeg\n";
/// The version that this build writes; it follows the magic as a big-endian number of four bytes.
const VERSION: u32 = 1;
/// Bytes of a seal, the last of every segment.
const SEAL_BYTES: usize = 32;
const DOMAIN_SEAL: &str = "althing 2026 archive segment v1";

/// Largest segment that is read, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Whose history a segment holds, and what comes before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHeader {
    /// The cluster, as hexadecimal digits.
    pub cluster: String,
    /// The community's id there.
    pub community: CommunityId,
    /// Its name there.
    pub name: String,
    /// The first transition.
    pub first: Sequence,
    /// The digest before it; none when it is not known, and then the first transition's own digest is believed.
    pub before: Option<Hash>,
    /// Where the segment before this one ends; none when this was the first in its archive. Anything but the
    /// sequence before `first` is a gap: nobody held what is missing when this was written.
    pub previous: Option<Tail>,
    /// How many transitions before `first` are in none of the segments that lead here.
    pub missing: u64,
}

/// Where a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// The last transition.
    pub last: Sequence,
    /// The digest up to it.
    pub digest: Hash,
    /// The segment's seal: the hash over all its bytes.
    pub seal: Hash,
}

/// What the end of a segment says, before the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    last: Sequence,
    digest: Hash,
}

impl SegmentHeader {
    /// The transitions that are missing right before this segment, first and last; none if it follows the one
    /// before, or the beginning of history.
    #[must_use]
    pub fn gap(&self) -> Option<(Sequence, Sequence)> {
        let from = self.previous.map_or(Sequence(1), |previous| previous.last.next());
        (from < self.first).then(|| (from, Sequence(self.first.0 - 1)))
    }
}

#[cfg(test)]
mod tests;
