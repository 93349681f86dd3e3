//! Names of things: newtypes, so that no two kinds of number can be mixed up.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The next one; the last there can be stays, for numbers come from strangers too.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// A community, for as long as the cluster lives: numbers are never used again. It names the
    /// community's consensus group and its part of the WAL too. 0 is the system community.
    CommunityId
}
number! {
    /// A node: one `althing` process with its data directory. Given by the directory, from 1.
    NodeId
}
number! {
    /// One life of a community's copy on a node. A copy that lost data comes back under a fresh id
    /// (promise P13), so this, not [`NodeId`], is the member that consensus knows.
    ReplicaId
}
number! {
    /// The position of a transition in its community's history: 1, 2, 3, … 0 is before the first.
    Sequence
}
number! {
    /// A client session, given by the community's log: the sequence at which it was opened.
    SessionId
}
number! {
    /// An operation's number within its session, from 1.
    OperationNumber
}

impl CommunityId {
    /// The community that holds the directory of all others.
    pub const SYSTEM: Self = Self(0);
}

/// 32 bytes of BLAKE3: the name of a content (component, chunk, manifest) or of a history.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of `bytes` in `domain`: the same bytes have other names in other domains.
    #[must_use]
    pub fn of(domain: &'static str, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(domain);
        hasher.update(bytes);
        Self(*hasher.finalize().as_bytes())
    }

    /// The name of a component: plain BLAKE3 of its bytes, as `b3sum` prints it.
    #[must_use]
    pub fn of_component(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// What an operation of a community is called, in every log of every node: its session and its
/// number there, `7/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationName {
    /// Its session.
    pub session: SessionId,
    /// Its number there.
    pub number: OperationNumber,
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.number)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no hash.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no hash: 64 hexadecimal digits are wanted")]
pub struct NoHash(pub String);

impl FromStr for Hash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        let mut hash = Self::default();
        hex::decode_to_slice(text, &mut hash.0).map_err(|_| NoHash(text.to_owned()))?;
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_from_its_text_and_nothing_else_is() {
        let hash = Hash::of_component(b"component");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for text in ["", "00", &hash.to_string()[1..], &format!("{hash}0"), &"g".repeat(64)] {
            assert_eq!(text.parse::<Hash>(), Err(NoHash(text.to_owned())));
        }
    }

    #[test]
    fn the_same_bytes_have_other_names_in_other_domains() {
        assert_ne!(Hash::of("one", b"x"), Hash::of("two", b"x"));
        assert_ne!(Hash::of("one", b"x"), Hash::of_component(b"x"));
    }
}
