//! Writing a segment: transitions in, bytes out. What does not follow is refused, so no segment ever holds a history
//! that is not one.

use super::{DOMAIN_SEAL, End, MAGIC, SegmentHeader, Tail, VERSION};
use crate::{
    codec, digest,
    ids::{Hash, Sequence},
    transition::Transition,
};

/// Transitions in one frame.
const PAGE_TRANSITIONS: usize = 256;
/// Bytes of the transitions of one frame, unless a single one is larger.
const PAGE_BYTES: usize = 1 << 20;

/// A transition that does not go on with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It is another one's turn.
    #[error("transition {found} stands where {wanted} belongs")]
    Place {
        /// Whose turn it is.
        wanted: Sequence,
        /// Which one it is.
        found: Sequence,
    },
    /// Its digest is not what comes of the history before it and of itself.
    #[error("transition {sequence} is not what its digest says: recomputed {computed}, recorded {recorded}")]
    Digest {
        /// Which one.
        sequence: Sequence,
        /// The digest that it has.
        recorded: Hash,
        /// The digest that comes of it.
        computed: Hash,
    },
}

/// Whether a transition goes on with the history that ends right before `wanted` with digest `before` (none: not
/// known, and then its own digest is believed).
///
/// # Errors
/// See [`Misfit`].
pub fn must_follow(wanted: Sequence, before: Option<Hash>, transition: &Transition) -> Result<(), Misfit> {
    let (sequence, recorded) = (transition.sequence, transition.digest);
    if sequence != wanted {
        return Err(Misfit::Place { wanted, found: sequence });
    }
    match before.map(|before| digest::step(before, transition)) {
        Some(computed) if computed != recorded => Err(Misfit::Digest { sequence, recorded, computed }),
        _ => Ok(()),
    }
}

/// A segment on its way.
#[derive(Debug)]
pub struct SegmentWriter {
    bytes: Vec<u8>,
    page: Vec<Transition>,
    page_bytes: usize,
    next: Sequence,
    digest: Option<Hash>,
}

/// A segment that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Where it ends.
    pub tail: Tail,
}

impl SegmentWriter {
    /// Begins a segment.
    #[must_use]
    pub fn new(header: &SegmentHeader) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_be_bytes());
        let (next, digest) = (header.first, header.before);
        let mut writer = Self { bytes, page: Vec::new(), page_bytes: 0, next, digest };
        writer.frame(&codec::encode(header));
        writer
    }

    /// Adds the next transition.
    ///
    /// # Errors
    /// It does not follow; the segment is as before then.
    pub fn add(&mut self, transition: Transition) -> Result<(), Misfit> {
        must_follow(self.next, self.digest, &transition)?;
        (self.next, self.digest) = (self.next.next(), Some(transition.digest));
        let bytes = codec::encode(&transition).len();
        if self.page_bytes + bytes > PAGE_BYTES || self.page.len() == PAGE_TRANSITIONS {
            self.turn_page();
        }
        self.page_bytes += bytes;
        self.page.push(transition);
        Ok(())
    }

    /// Ends and seals it; none if nothing was added.
    #[must_use]
    pub fn finish(mut self) -> Option<Finished> {
        if self.page.is_empty() {
            return None;
        }
        self.turn_page();
        let end = End { last: Sequence(self.next.0 - 1), digest: self.digest? };
        // A frame without anything: no more transitions.
        self.frame(&[]);
        self.frame(&codec::encode(&end));
        let seal = Hash::of(DOMAIN_SEAL, &self.bytes);
        self.bytes.extend(seal.0);
        Some(Finished { bytes: self.bytes, tail: Tail { last: end.last, digest: end.digest, seal } })
    }

    fn turn_page(&mut self) {
        let page = std::mem::take(&mut self.page);
        self.page_bytes = 0;
        if !page.is_empty() {
            self.frame(&codec::encode(&page));
        }
    }

    fn frame(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("a page holds a megabyte or a single transition");
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(body);
    }
}
