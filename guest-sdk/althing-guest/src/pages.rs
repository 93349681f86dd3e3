//! Reading many pairs: pages of the host behind an iterator.

use crate::{host::Page, key::Key, source::Source, value::stored};
use serde::de::DeserializeOwned;
use std::{
    marker::PhantomData,
    ops::{Bound, RangeBounds},
};

/// The first page is small, so that who wants one pair does not pay for a thousand; each further one
/// is twice as long, up to the host's own bound.
const PAGE_PAIRS_FIRST: u32 = 16;
const PAGE_PAIRS_MAX: u32 = 1024;

/// A range of keys as bytes: `start` inclusive, `end` exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Vec<u8>,
}

impl Span {
    /// Every key that begins with `prefix`, which must not be all `0xff`; a name never is.
    pub(crate) fn of_prefix(prefix: Vec<u8>) -> Self {
        let mut end = prefix.clone();
        while end.pop_if(|last| *last == u8::MAX).is_some() {}
        *end.last_mut().expect("a prefix begins with a name") += 1;
        Self { start: prefix, end }
    }

    /// The part of it within `bounds`, whose keys `encode` makes bytes of.
    pub(crate) fn within<Q>(self, bounds: &impl RangeBounds<Q>, encode: impl Fn(&Q) -> Vec<u8>) -> Self {
        // The first bytes that come after a key: itself and a zero.
        let after = |key: &Q| {
            let mut bytes = encode(key);
            bytes.push(0);
            bytes
        };
        let start = match bounds.start_bound() {
            Bound::Unbounded => self.start,
            Bound::Included(key) => encode(key),
            Bound::Excluded(key) => after(key),
        };
        let end = match bounds.end_bound() {
            Bound::Unbounded => self.end,
            Bound::Included(key) => after(key),
            Bound::Excluded(key) => encode(key),
        };
        Self { start, end }
    }
}

/// The raw pairs of a span.
#[derive(Debug)]
struct Scan<S> {
    page: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    next: Option<Vec<u8>>,
    end: Vec<u8>,
    limit: u32,
    source: PhantomData<S>,
}

impl<S: Source> Scan<S> {
    fn new(span: Span) -> Self {
        let next = (span.start < span.end).then_some(span.start);
        Self {
            page: Vec::new().into_iter(),
            next,
            end: span.end,
            limit: PAGE_PAIRS_FIRST,
            source: PhantomData,
        }
    }
}

impl<S: Source> Iterator for Scan<S> {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(pair) = self.page.next() {
                return Some(pair);
            }
            let start = self.next.take()?;
            let Page { pairs, next } = S::scan(&start, &self.end, self.limit);
            self.limit = (self.limit * 2).min(PAGE_PAIRS_MAX);
            self.page = pairs.into_iter();
            self.next = next;
        }
    }
}

/// Pairs of a map, ascending by key. What is written while it runs may or may not be seen.
#[derive(Debug)]
pub struct Pairs<K, V, S> {
    scan: Scan<S>,
    prefix: usize,
    name: &'static str,
    marker: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: DeserializeOwned, S: Source> Pairs<K, V, S> {
    pub(crate) fn new(name: &'static str, span: Span) -> Self {
        Self { scan: Scan::new(span), prefix: name.len() + 1, name, marker: PhantomData }
    }
}

impl<K: Key, V: DeserializeOwned, S: Source> Iterator for Pairs<K, V, S> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        let (key, value) = self.scan.next()?;
        Some((stored_key(self.name, &key[self.prefix..]), stored(self.name, &value)))
    }
}

/// Keys of a set or a map, ascending. What is written while it runs may or may not be seen.
#[derive(Debug)]
pub struct Keys<K, S> {
    scan: Scan<S>,
    prefix: usize,
    name: &'static str,
    marker: PhantomData<fn() -> K>,
}

impl<K: Key, S: Source> Keys<K, S> {
    pub(crate) fn new(name: &'static str, span: Span) -> Self {
        Self { scan: Scan::new(span), prefix: name.len() + 1, name, marker: PhantomData }
    }
}

impl<K: Key, S: Source> Iterator for Keys<K, S> {
    type Item = K;

    fn next(&mut self) -> Option<K> {
        let (key, _) = self.scan.next()?;
        Some(stored_key(self.name, &key[self.prefix..]))
    }
}

/// A key that this program, or an earlier version, has stored.
pub(crate) fn stored_key<K: Key>(name: &str, mut bytes: &[u8]) -> K {
    K::read(true, &mut bytes).filter(|_| bytes.is_empty()).unwrap_or_else(|| {
        panic!(
            "a key of {name:?} in the state is no {}: has its type changed without a migration?",
            std::any::type_name::<K>()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_under_a_prefix_end_where_the_next_begins() {
        let span = Span::of_prefix(vec![b'a', 0xff, 0xff]);
        assert_eq!(span.end, b"b");
        assert_eq!(Span::of_prefix(b"a/".to_vec()).end, b"a0");
    }
}
