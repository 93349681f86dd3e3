//! Segments in a row: whether they are one history, and what is missing between them.

use super::{Segment, SegmentHeader, Tail};
use crate::ids::{CommunityId, Hash, Sequence};

/// Goes through the segments of one community in the order of their first sequences.
#[derive(Debug, Default)]
pub struct Chain {
    of: Option<(String, CommunityId)>,
    place: Place,
}

/// Where the chain is.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Nowhere,
    After(Tail),
    /// Behind a segment that could not be read.
    Unknown,
}

/// What there is to say of where two segments meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// What comes before is somewhere else.
    #[error("begins at sequence {first}: what comes before is not here")]
    Begins {
        /// The first sequence.
        first: Sequence,
    },
    /// It was written knowing that something is missing.
    #[error("GAP: sequences {from} to {to} were held by nobody when this was archived")]
    Gap {
        /// The first that is missing.
        from: Sequence,
        /// The last.
        to: Sequence,
    },
    /// Segments that were written are not here.
    #[error("MISSING: sequences {from} to {to}: segments that were written are not here")]
    Missing {
        /// The first that is missing.
        from: Sequence,
        /// The last.
        to: Sequence,
    },
    /// It begins within the one before.
    #[error("sequence {first} is in the segment before, which ends at {last}, too")]
    Overlap {
        /// Where it begins.
        first: Sequence,
        /// Where the one before ends.
        last: Sequence,
    },
    /// It goes on with another history.
    #[error(
        "differs at sequence {first}: it goes on with the digest {before}, and the segment before ends with {digest}"
    )]
    Differs {
        /// The first sequence of the other history.
        first: Sequence,
        /// The digest that it goes on with.
        before: Hash,
        /// The digest that comes before.
        digest: Hash,
    },
    /// It is another community's.
    #[error("holds the history of community {community} of cluster {cluster}, those before it another's")]
    OtherCommunity {
        /// The cluster.
        cluster: String,
        /// The community.
        community: CommunityId,
    },
    /// The file before it is not the one that it was written after; the histories fit.
    #[error("was written after another file than the one before it here; their digests fit")]
    OtherFile,
}

impl Finding {
    /// Whether it leaves nothing to complain of.
    #[must_use]
    pub const fn is_harmless(&self) -> bool {
        matches!(self, Self::Begins { .. } | Self::OtherFile)
    }
}

impl Chain {
    /// Adds the next segment; what there is to say of its place.
    pub fn add(&mut self, segment: &Segment) -> Vec<Finding> {
        let header = &segment.header;
        let of = self.of.get_or_insert_with(|| (header.cluster.clone(), header.community));
        if *of != (header.cluster.clone(), header.community) {
            let (cluster, community) = (header.cluster.clone(), header.community);
            return vec![Finding::OtherCommunity { cluster, community }];
        }
        match std::mem::replace(&mut self.place, Place::After(segment.tail)) {
            Place::Nowhere => first(header),
            Place::After(before) => after(before, header),
            Place::Unknown => Vec::new(),
        }
    }

    /// The next segment cannot be read: nothing is said of where the one after it begins.
    pub fn skip(&mut self) {
        self.place = Place::Unknown;
    }
}

fn first(header: &SegmentHeader) -> Vec<Finding> {
    match (header.first, header.previous) {
        (Sequence(0..=1), _) => Vec::new(),
        (first, Some(_)) => vec![Finding::Begins { first }],
        (first, None) => vec![Finding::Gap { from: Sequence(1), to: Sequence(first.0 - 1) }],
    }
}

fn after(before: Tail, header: &SegmentHeader) -> Vec<Finding> {
    let (wanted, first) = (before.last.next(), header.first);
    if first < wanted {
        return vec![Finding::Overlap { first, last: before.last }];
    }
    let mut findings = Vec::new();
    // Up to where the segment that this was written after reaches, something was written.
    let written = header.previous.map_or(Sequence(first.0 - 1), |previous| previous.last);
    if written >= wanted {
        findings.push(Finding::Missing { from: wanted, to: written.min(Sequence(first.0 - 1)) });
    }
    let lacking = wanted.max(written.next());
    if lacking < first {
        findings.push(Finding::Gap { from: lacking, to: Sequence(first.0 - 1) });
    }
    if !findings.is_empty() {
        return findings;
    }
    match header.before {
        Some(digest) if digest != before.digest => {
            vec![Finding::Differs { first, before: digest, digest: before.digest }]
        }
        _ if header.previous.is_some_and(|previous| previous.seal != before.seal) => vec![Finding::OtherFile],
        _ => Vec::new(),
    }
}
