//! Where a segment ends: by number, size and age, all taken from the history, so that every node that archives it
//! comes to the same places.

use crate::{codec, ids::Sequence, transition::Transition};

/// Bytes of the transitions of one segment, unless a single one is larger.
const BYTES_MAX: u64 = 8 << 20;

/// When segments end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// One ends with every sequence that is a multiple of this; at least 1.
    pub transitions: u64,
    /// None holds transitions of two such spans of the community's time, counted from 1970; at least 1.
    pub span_millis: u64,
}

/// What a transition means for the segment that it would be added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// It belongs to it, and more may come.
    Not,
    /// It is the last one.
    With,
    /// It belongs to the next one.
    Before,
}

/// A segment on its way, as far as its end is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    rule: Rule,
    bytes: u64,
    /// The span that its transitions lie in; none while there are none.
    span: Option<u64>,
}

impl Cut {
    /// Of a segment without anything.
    #[must_use]
    pub const fn new(rule: Rule) -> Self {
        Self { rule, bytes: 0, span: None }
    }

    /// Looks at the next transition. After anything but [`Ends::Not`] the segment is over.
    pub fn add(&mut self, transition: &Transition) -> Ends {
        let bytes = codec::encode(transition).len() as u64;
        let span = transition.time.millis() / self.rule.span_millis.max(1);
        let is_over = self.span.is_some_and(|since| span > since || self.bytes + bytes > BYTES_MAX);
        if is_over {
            return Ends::Before;
        }
        self.bytes += bytes;
        self.span.get_or_insert(span);
        if ends_with(transition.sequence, self.rule) { Ends::With } else { Ends::Not }
    }

    /// From when on, in milliseconds since 1970, no transition belongs to it any more; none while it has none.
    #[must_use]
    pub fn over_at(&self) -> Option<u64> {
        Some((self.span? + 1).saturating_mul(self.rule.span_millis.max(1)))
    }
}

fn ends_with(sequence: Sequence, rule: Rule) -> bool {
    sequence.0.is_multiple_of(rule.transitions.max(1))
}
