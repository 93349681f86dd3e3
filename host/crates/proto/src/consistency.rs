//! How fresh an answer must be (promise P5), and how it is said.

use crate::{Malformed, v1};
use althing_core::ids::Sequence;

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// As of some moment after the request began.
    #[default]
    Linearizable,
    /// Not before this sequence.
    AtLeast(Sequence),
    /// What the answering node has.
    Local,
}

impl From<Consistency> for v1::Consistency {
    fn from(consistency: Consistency) -> Self {
        use v1::consistency::Kind;
        let kind = match consistency {
            Consistency::Linearizable => Kind::Linearizable(true),
            Consistency::AtLeast(sequence) => Kind::AtLeast(sequence.0),
            Consistency::Local => Kind::Local(true),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<Option<v1::Consistency>> for Consistency {
    type Error = Malformed;

    /// Nothing said means the default; `false` for a kind means nothing and is refused.
    fn try_from(consistency: Option<v1::Consistency>) -> Result<Self, Malformed> {
        use v1::consistency::Kind;
        match consistency.and_then(|consistency| consistency.kind) {
            None | Some(Kind::Linearizable(true)) => Ok(Self::Linearizable),
            Some(Kind::AtLeast(sequence)) => Ok(Self::AtLeast(Sequence(sequence))),
            Some(Kind::Local(true)) => Ok(Self::Local),
            Some(Kind::Linearizable(false)) => Err(off("consistency.linearizable")),
            Some(Kind::Local(false)) => Err(off("consistency.local")),
        }
    }
}

fn off(field: &'static str) -> Malformed {
    Malformed::new(field, "is false: leave it out instead, or set it to true")
}
