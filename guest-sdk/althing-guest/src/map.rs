//! Many values of one type, by key, in the order of their keys.

use crate::{
    data::{Data, encode},
    host,
    key::{AsKey, Compound, Key},
    pages::{Keys, Pairs, Span, stored_key},
    source::{Before, Marker, Now, Source},
    validator::Change,
    value::{check_name, stored},
};
use serde::de::DeserializeOwned;
use std::{marker::PhantomData, ops::RangeBounds};

/// An ordered map in the state: `const TOTALS: Map<String, i64> = Map::new("total");`.
///
/// Each pair is one key of the state, `name/` and the key (see [`crate::key`]); values are JSON. So one
/// fact is one key, an operation touches only what it is about, and `althing state` shows it.
#[derive(Debug)]
pub struct Map<K, V, S = Now> {
    name: &'static str,
    marker: Marker<(K, V, S)>,
}

impl<K: Key, V> Map<K, V> {
    /// The map of this name: lower-case letters, digits and `-`, with no other of the name.
    ///
    /// # Panics
    /// On another name, when the author compiles.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        check_name(name);
        Self { name, marker: PhantomData }
    }

    /// The same map as it was before the operation. For validators.
    #[must_use]
    pub const fn before(&self) -> Map<K, V, Before> {
        Map { name: self.name, marker: PhantomData }
    }

    /// Gives a key a value.
    pub fn set(&self, key: impl AsKey<K>, value: &V)
    where
        V: Data,
    {
        host::set(&encode_key(self.name, &key), &encode(value));
    }

    /// Takes a key away; nothing happens when it is not there.
    pub fn delete(&self, key: impl AsKey<K>) {
        host::delete(&encode_key(self.name, &key));
    }

    /// Sets what `change` makes of a key's value, and gives that back.
    pub fn update(&self, key: impl AsKey<K>, change: impl FnOnce(Option<V>) -> V) -> V
    where
        V: Data,
    {
        let value = change(self.get(&key));
        self.set(&key, &value);
        value
    }

    /// What an operation would change in this map: each key with its new value, none when it is
    /// deleted. For validators.
    pub fn changed<'a>(&self, change: &'a Change) -> impl Iterator<Item = (K, Option<V>)> + use<'a, K, V>
    where
        V: DeserializeOwned,
    {
        let name = self.name;
        let span = Span::of_prefix(prefix(name));
        change.writes.iter().filter(move |write| write.key >= span.start && write.key < span.end).map(
            move |write| {
                let value = write.value.as_ref().map(|value| stored(name, value));
                (stored_key(name, &write.key[name.len() + 1..]), value)
            },
        )
    }
}

impl<K: Key, V: DeserializeOwned, S: Source> Map<K, V, S> {
    /// The value of a key, if it has one.
    #[must_use]
    pub fn get(&self, key: impl AsKey<K>) -> Option<V> {
        S::get(&encode_key(self.name, &key)).map(|bytes| stored(self.name, &bytes))
    }

    /// The value of a key; when it has none, its type's default.
    #[must_use]
    pub fn get_or_default(&self, key: impl AsKey<K>) -> V
    where
        V: Default,
    {
        self.get(key).unwrap_or_default()
    }

    /// Whether a key has a value.
    #[must_use]
    pub fn has(&self, key: impl AsKey<K>) -> bool {
        S::get(&encode_key(self.name, &key)).is_some()
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys().next().is_none()
    }

    /// All pairs, ascending.
    #[must_use]
    pub fn iter(&self) -> Pairs<K, V, S> {
        Pairs::new(self.name, self.span())
    }

    /// All keys, ascending.
    #[must_use]
    pub fn keys(&self) -> Keys<K, S> {
        Keys::new(self.name, self.span())
    }

    /// The pairs within bounds: `range("a".to_owned()..)`, `range(from..to)`.
    #[must_use]
    pub fn range<Q: AsKey<K>>(&self, bounds: impl RangeBounds<Q>) -> Pairs<K, V, S> {
        let name = self.name;
        Pairs::new(name, self.span().within(&bounds, |key| encode_key(name, key)))
    }

    /// The pairs whose key, a tuple, begins with this element.
    #[must_use]
    pub fn under(&self, first: impl AsKey<K::First>) -> Pairs<K, V, S>
    where
        K: Compound,
    {
        Pairs::new(self.name, span_under::<K>(self.name, &first))
    }

    fn span(&self) -> Span {
        Span::of_prefix(prefix(self.name))
    }
}

impl<K: Key, V: DeserializeOwned, S: Source> IntoIterator for &Map<K, V, S> {
    type Item = (K, V);
    type IntoIter = Pairs<K, V, S>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What every key of the map or set `name` begins with.
pub(crate) fn prefix(name: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(name.len() + 24);
    prefix.extend_from_slice(name.as_bytes());
    prefix.push(b'/');
    prefix
}

/// A key of the map or set `name`, as the state knows it.
pub(crate) fn encode_key<K>(name: &str, key: &impl AsKey<K>) -> Vec<u8> {
    let mut out = prefix(name);
    key.write(true, &mut out);
    out
}

/// The keys of the map or set `name` that begin with the element `first`.
pub(crate) fn span_under<K: Compound>(name: &str, first: &impl AsKey<K::First>) -> Span {
    let mut out = prefix(name);
    first.write(false, &mut out);
    Span::of_prefix(out)
}
