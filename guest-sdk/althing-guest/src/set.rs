//! An ordered set of keys.

use crate::{
    host,
    key::{AsKey, Compound, Key},
    map::{encode_key, prefix, span_under},
    pages::{Keys, Span},
    source::{Before, Marker, Now, Source},
    value::check_name,
};
use std::{marker::PhantomData, ops::RangeBounds};

/// An ordered set in the state: `const MEMBERS: Set<(String, String)> = Set::new("member");`.
///
/// Each element is one key of the state, `name/` and the element, with an empty value.
#[derive(Debug)]
pub struct Set<K, S = Now> {
    name: &'static str,
    marker: Marker<(K, S)>,
}

impl<K: Key> Set<K> {
    /// The set of this name: lower-case letters, digits and `-`, with no other of the name.
    ///
    /// # Panics
    /// On another name, when the author compiles.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        check_name(name);
        Self { name, marker: PhantomData }
    }

    /// The same set as it was before the operation. For validators.
    #[must_use]
    pub const fn before(&self) -> Set<K, Before> {
        Set { name: self.name, marker: PhantomData }
    }

    /// Puts an element in; false when it was there.
    pub fn add(&self, key: impl AsKey<K>) -> bool {
        let key = encode_key(self.name, &key);
        let is_new = host::get(&key).is_none();
        if is_new {
            host::set(&key, &[]);
        }
        is_new
    }

    /// Takes an element out; false when it was not there.
    pub fn delete(&self, key: impl AsKey<K>) -> bool {
        let key = encode_key(self.name, &key);
        let was_there = host::get(&key).is_some();
        if was_there {
            host::delete(&key);
        }
        was_there
    }
}

impl<K: Key, S: Source> Set<K, S> {
    /// Whether an element is in it.
    #[must_use]
    pub fn has(&self, key: impl AsKey<K>) -> bool {
        S::get(&encode_key(self.name, &key)).is_some()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// All elements, ascending.
    #[must_use]
    pub fn iter(&self) -> Keys<K, S> {
        Keys::new(self.name, self.span())
    }

    /// The elements within bounds.
    #[must_use]
    pub fn range<Q: AsKey<K>>(&self, bounds: impl RangeBounds<Q>) -> Keys<K, S> {
        let name = self.name;
        Keys::new(name, self.span().within(&bounds, |key| encode_key(name, key)))
    }

    /// The elements, tuples, that begin with this one.
    #[must_use]
    pub fn under(&self, first: impl AsKey<K::First>) -> Keys<K, S>
    where
        K: Compound,
    {
        Keys::new(self.name, span_under::<K>(self.name, &first))
    }

    fn span(&self) -> Span {
        Span::of_prefix(prefix(self.name))
    }
}

impl<K: Key, S: Source> IntoIterator for &Set<K, S> {
    type Item = K;
    type IntoIter = Keys<K, S>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
