//! A community's state: an ordered map of bytes to bytes with O(1) clone.
//!
//! Two keyspaces share it: what the program sees, and the system's own records (sessions, timers,
//! policy, …), so that one digest, one snapshot and one clone hold both. A reader keeps a clone for
//! as long as it likes while apply goes on.

use bytes::Bytes;
use imbl::{OrdMap, ordmap::DiffItem};
use std::ops::Bound;

/// Which half of the state a key belongs to. The first byte of the stored key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Keyspace {
    /// The host's own records; no guest sees them.
    System = 0,
    /// The program's keys.
    Program = 1,
}

/// The ordered map. Cloning is O(1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    map: OrdMap<Bytes, Bytes>,
    bytes: u64,
}

/// `keyspace` and `key` as one stored key.
fn stored(keyspace: Keyspace, key: &[u8]) -> Bytes {
    let mut stored = Vec::with_capacity(key.len() + 1);
    stored.push(keyspace as u8);
    stored.extend_from_slice(key);
    stored.into()
}

impl State {
    /// Keys and values together, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many keys, both keyspaces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, keyspace: Keyspace, key: &[u8]) -> Option<&Bytes> {
        self.map.get(stored(keyspace, key).as_ref())
    }

    /// Gives a key a value, or takes it away.
    pub fn put(&mut self, keyspace: Keyspace, key: &[u8], value: Option<Bytes>) {
        let stored = stored(keyspace, key);
        let key_bytes = stored.len() as u64;
        let (added, old) = match value {
            Some(value) => (key_bytes + value.len() as u64, self.map.insert(stored, value)),
            None => (0, self.map.remove(&stored)),
        };
        let removed = old.map_or(0, |old| key_bytes + old.len() as u64);
        self.bytes = self.bytes + added - removed;
    }

    /// The pairs of a keyspace from `start` (inclusive) to `end` (exclusive; none: to its last),
    /// ascending, keys without the keyspace.
    pub fn range<'a>(
        &'a self,
        keyspace: Keyspace,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> impl Iterator<Item = (Bytes, &'a Bytes)> + use<'a> {
        let low = stored(keyspace, start);
        let high = match end {
            Some(end) => stored(keyspace, end),
            None => Bytes::copy_from_slice(&[keyspace as u8 + 1]),
        };
        let high = high.max(low.clone());
        self.map
            .range::<_, Bytes>((Bound::Included(low), Bound::Excluded(high)))
            .map(|(key, value)| (key.slice(1..), value))
    }

    /// Every stored pair, keyspace byte included, ascending: what a snapshot holds.
    pub fn stored_pairs(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.map.iter()
    }

    /// The stored pairs from the stored key `first` on.
    pub(crate) fn stored_from<'a>(
        &'a self,
        first: &[u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> + use<'a> {
        let low = Bytes::copy_from_slice(first);
        self.map.range::<_, Bytes>((Bound::Included(low), Bound::Unbounded))
    }

    /// The stored keys that were added, removed or given another value between this state and
    /// `newer`, ascending. What the two share is not looked at.
    pub(crate) fn changed_keys<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = Bytes> + use<'a> {
        self.map.diff(&newer.map).map(|change| match change {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => {
                key.clone()
            }
        })
    }

    /// Whether `key` could be a stored key.
    pub(crate) fn is_stored_key(key: &[u8]) -> bool {
        let keyspaces = [Keyspace::System as u8, Keyspace::Program as u8];
        key.len() > 1 && keyspaces.contains(&key[0])
    }

    /// Puts back a pair that [`Self::stored_pairs`] gave.
    pub fn restore_pair(&mut self, key: Bytes, value: Bytes) {
        let key_bytes = key.len() as u64;
        let added = key_bytes + value.len() as u64;
        let removed = self.map.insert(key, value).map_or(0, |old| key_bytes + old.len() as u64);
        self.bytes = self.bytes + added - removed;
    }
}
