//! Reading a segment: nothing in it is believed, and what is wrong is told with its place.

use super::{
    DOMAIN_SEAL, End, MAGIC, Misfit, SEAL_BYTES, SEGMENT_BYTES_MAX, SegmentHeader, Tail, VERSION, must_follow,
};
use crate::{
    codec::{self, DecodeError},
    digest,
    ids::{Hash, Sequence},
    transition::Transition,
};
use serde::de::DeserializeOwned;

/// Why bytes are no segment that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Something else.
    #[error("this is no segment of an archive")]
    Foreign,
    /// Written by a newer Althing.
    #[error("the segment has format version {found}, this build reads up to {VERSION}: use a newer build")]
    Newer {
        /// The version found.
        found: u32,
    },
    /// Larger than any segment is.
    #[error("the segment has {bytes} bytes, {SEGMENT_BYTES_MAX} are read at most")]
    TooLarge {
        /// How many it has.
        bytes: u64,
    },
    /// A transition is not what was written.
    #[error("damaged at sequence {at}: {misfit}")]
    Transition {
        /// The first one that is wrong.
        at: Sequence,
        /// How.
        misfit: Misfit,
    },
    /// What should be a page of transitions cannot be read.
    #[error("damaged from sequence {at} on: {what}")]
    Page {
        /// The first transition in it.
        at: Sequence,
        /// Why.
        what: String,
    },
    /// Something else in it is not what was written.
    #[error("damaged: {what}")]
    Damaged {
        /// What.
        what: String,
    },
}

/// A segment that was read and is what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Whose it is, and what comes before it.
    pub header: SegmentHeader,
    /// In order, without gaps, at least one.
    pub transitions: Vec<Transition>,
    /// Where it ends.
    pub tail: Tail,
}

impl Segment {
    /// Reads and checks a segment: its frames, every digest, its seal.
    ///
    /// # Errors
    /// See [`SegmentError`]: the first thing that is wrong, a transition if it is one.
    pub fn read(bytes: &[u8]) -> Result<Self, SegmentError> {
        if bytes.len() as u64 > SEGMENT_BYTES_MAX {
            return Err(SegmentError::TooLarge { bytes: bytes.len() as u64 });
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(SegmentError::Foreign)?;
        let (version, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
        let found = u32::from_be_bytes(*version);
        if found > VERSION {
            return Err(SegmentError::Newer { found });
        }
        let (rest, seal) = rest.split_last_chunk::<SEAL_BYTES>().ok_or_else(cut_off)?;
        let seal = Hash(*seal);
        let segment = Frames { rest }.segment(seal)?;
        let is_sealed = seal == Hash::of(DOMAIN_SEAL, &bytes[..bytes.len() - SEAL_BYTES]);
        if found == VERSION && is_sealed {
            return Ok(segment);
        }
        Err(damaged(
            "its bytes are not those that were sealed, though every transition is as its digest says",
        ))
    }
}

/// What is left of it.
struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    fn segment(mut self, seal: Hash) -> Result<Segment, SegmentError> {
        let header: SegmentHeader = self.record("its header")?;
        let transitions = self.transitions(&header)?;
        let end: End = self.record("its end")?;
        let last = transitions.last().map(|last| End { last: last.sequence, digest: last.digest });
        if last != Some(end) {
            return Err(damaged("its end is not where its transitions end"));
        }
        if !self.rest.is_empty() {
            return Err(damaged(&format!("there are {} bytes too many", self.rest.len())));
        }
        Ok(Segment { header, transitions, tail: Tail { last: end.last, digest: end.digest, seal } })
    }

    fn transitions(&mut self, header: &SegmentHeader) -> Result<Vec<Transition>, SegmentError> {
        let (mut at, mut before) = (header.first, header.before);
        if at == Sequence(1) && before.is_some_and(|before| before != digest::start(header.community)) {
            return Err(damaged("it begins with sequence 1, and not with the community's beginning"));
        }
        let mut transitions = Vec::new();
        loop {
            let of_page = |what| SegmentError::Page { at, what };
            let frame = self.frame().ok_or_else(|| of_page("the file ends too early".to_owned()))?;
            if frame.is_empty() {
                return Ok(transitions);
            }
            let page: Vec<Transition> = codec::decode(frame).map_err(|error| of_page(error.to_string()))?;
            for transition in page {
                must_follow(at, before, &transition)
                    .map_err(|misfit| SegmentError::Transition { at, misfit })?;
                (at, before) = (at.next(), Some(transition.digest));
                transitions.push(transition);
            }
        }
    }

    fn record<T: DeserializeOwned>(&mut self, what: &str) -> Result<T, SegmentError> {
        let frame = self.frame().ok_or_else(cut_off)?;
        codec::decode(frame)
            .map_err(|error: DecodeError| damaged(&format!("{what} cannot be read ({error})")))
    }

    /// The next frame; none where the file ends too early.
    fn frame(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (frame, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(frame)
    }
}

fn damaged(what: &str) -> SegmentError {
    SegmentError::Damaged { what: what.to_owned() }
}

fn cut_off() -> SegmentError {
    damaged("the file ends too early")
}
