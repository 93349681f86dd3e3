//! A community as one portable file: the parts that it is made of, in their order, and what is in each.
//!
//! Header, manifest, entries, transitions, components, chunks, end: a snapshot, the log above it, and
//! what the log did when it was executed, so that anybody can execute it again and compare. How parts lie
//! on disk or travel is for others to know.

use crate::{
    codec,
    ids::{CommunityId, Hash, Sequence},
    transition::Transition,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most bytes of one part: a component, the largest thing there is, and room for a page of transitions.
pub const PART_BYTES_MAX: usize = crate::limits::COMPONENT_BYTES_MAX as usize;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)*) => {
        /// What a part is. Parts come in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable text, in files and on the wire.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The kind of a text that [`Self::text`] gave.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.text() == text)
            }
        }
    };
}

kinds! {
    /// A record of [`Header`]; one, without a name.
    Header = "header";
    /// An encoded [`crate::snapshot::Manifest`]; one, named by its sequence.
    Manifest = "manifest";
    /// An encoded [`crate::batch::Batch`] as it stood in the log, named by its log index; ascending.
    Entry = "entry";
    /// A record of some consecutive [`Transition`]s, named by the first one's sequence; ascending.
    Transitions = "transitions";
    /// A component's bytes, named by its hash.
    Component = "component";
    /// A chunk's bytes, named by its hash, in the manifest's order.
    Chunk = "chunk";
    /// A record of [`End`]; one, without a name.
    End = "end";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Its name among those of its kind, or empty.
    pub name: String,
    /// What is in it.
    pub body: Bytes,
}

/// Whose export this is, and what executes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The community's name where it was exported.
    pub name: String,
    /// Its id there: part of its state.
    pub community: CommunityId,
    /// The cluster, as hexadecimal digits.
    pub cluster: String,
    /// The fingerprint of the engine that executed what is in here.
    pub fingerprint: Hash,
    /// What the fingerprint hashes, one `name = value` a line: to see why two differ.
    pub listing: String,
    /// The version of the host that exported it.
    pub version: String,
}

/// Where the export ends, and how much it must hold to be whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The last transition.
    pub sequence: Sequence,
    /// The digest up to it.
    pub digest: Hash,
    /// The last log index that was executed.
    pub log_index: u64,
    /// Parts of [`Kind::Entry`].
    pub entries: u64,
    /// Transitions in parts of [`Kind::Transitions`].
    pub transitions: u64,
    /// Parts of [`Kind::Component`].
    pub components: u64,
    /// Parts of [`Kind::Chunk`].
    pub chunks: u64,
}

impl Part {
    /// The part of a header.
    #[must_use]
    pub fn header(header: &Header) -> Self {
        Self { kind: Kind::Header, name: String::new(), body: codec::encode(header).into() }
    }

    /// The part of a manifest, given as it is stored.
    #[must_use]
    pub fn manifest(sequence: Sequence, encoded: Bytes) -> Self {
        Self { kind: Kind::Manifest, name: sequence.to_string(), body: encoded }
    }

    /// The part of a log entry, given as it stands in the log.
    #[must_use]
    pub fn entry(log_index: u64, batch: Bytes) -> Self {
        Self { kind: Kind::Entry, name: log_index.to_string(), body: batch }
    }

    /// The part of some transitions; none if there are none.
    #[must_use]
    pub fn transitions(transitions: &[Transition]) -> Option<Self> {
        let name = transitions.first()?.sequence.to_string();
        Some(Self { kind: Kind::Transitions, name, body: codec::encode(transitions).into() })
    }

    /// The part of a component.
    #[must_use]
    pub fn component(hash: Hash, body: Bytes) -> Self {
        Self { kind: Kind::Component, name: hash.to_string(), body }
    }

    /// The part of a chunk.
    #[must_use]
    pub fn chunk(hash: Hash, body: Bytes) -> Self {
        Self { kind: Kind::Chunk, name: hash.to_string(), body }
    }

    /// The last part.
    #[must_use]
    pub fn end(end: &End) -> Self {
        Self { kind: Kind::End, name: String::new(), body: codec::encode(end).into() }
    }
}

impl fmt::Display for Part {
    /// How it is called in messages: `entry 12`, `header`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => self.kind.fmt(f),
            name => write!(f, "{} {name}", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn every_kind_is_found_by_its_text_and_they_come_in_order() {
        for pair in Kind::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        for &kind in Kind::ALL {
            assert_eq!(Kind::from_text(kind.text()), Some(kind));
        }
        assert_eq!(Kind::from_text("page"), None);
    }
}
