//! Cutting a state into chunks again after some of it changed, at the price of the change.
//!
//! A [`Cut`] remembers a state and where its chunks begin. The next state shares most of its tree
//! with it, so the keys that differ are found without looking at the others; a chunk around which no
//! key differs is the same chunk and is not written again.

use super::chunk::{Chunk, ChunkRef, chunk_from};
use crate::state::State;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// A state that was cut into chunks.
#[derive(Clone, Debug)]
pub struct Cut {
    state: State,
    /// By the key at which each begins.
    chunks: BTreeMap<Bytes, ChunkRef>,
}

impl Cut {
    /// The state that was cut.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Its chunks, in order: what a manifest lists.
    #[must_use]
    pub fn chunks(&self) -> Vec<ChunkRef> {
        self.chunks.values().copied().collect()
    }

    /// Encodes and hashes the first chunk that begins beyond `after` again (none: the first of all);
    /// none when there is none. A state never changes: what comes out is another chunk only if memory
    /// is not what it was. States that come later share that memory wherever nothing was written, and
    /// their cuts keep the old chunk there, so this is how such damage is found.
    #[must_use]
    pub fn recheck(&self, after: Option<&Bytes>) -> Option<Rechecked> {
        let beyond = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (first, &known) = self.chunks.range::<Bytes, _>((beyond, Bound::Unbounded)).next()?;
        Some(Rechecked { first: first.clone(), known, found: chunk_from(&self.state, first).0 })
    }
}

/// A chunk of a cut that was encoded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rechecked {
    /// The stored key at which it begins.
    pub first: Bytes,
    /// What it was when it was cut.
    pub known: ChunkRef,
    /// What the state gives now.
    pub found: Chunk,
}

impl Rechecked {
    /// Whether it is what it was.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.found.reference() == self.known
    }
}

/// A chunk on its way out of a [`Cutter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// It was in the cut before.
    Kept(ChunkRef),
    /// It was not.
    New(Chunk),
}

/// Cuts a state, chunk by chunk, so that only one is in memory at a time. What comes out is what
/// [`super::chunks`] gives.
#[derive(Debug)]
pub struct Cutter<'a> {
    state: State,
    previous: Option<&'a Cut>,
    /// The keys in which the state differs from the previous cut's.
    changed: BTreeSet<Bytes>,
    next: Option<Bytes>,
    chunks: BTreeMap<Bytes, ChunkRef>,
}

impl<'a> Cutter<'a> {
    /// Cuts `state`, of which `previous` may have been a cut some time ago.
    #[must_use]
    pub fn new(state: State, previous: Option<&'a Cut>) -> Self {
        let changed = previous.map_or_else(BTreeSet::new, |cut| cut.state.changed_keys(&state).collect());
        let next = state.stored_pairs().next().map(|(first, _)| first.clone());
        Self { state, previous, changed, next, chunks: BTreeMap::new() }
    }

    /// The cut, once the iterator is through: what is left of it is gone through here.
    #[must_use]
    pub fn finish(mut self) -> Cut {
        self.by_ref().for_each(drop);
        Cut { state: self.state, chunks: self.chunks }
    }

    /// The chunk of the previous cut that begins at `first`, if nothing changed from there to the
    /// beginning of the one after it, included; and that beginning.
    fn kept(&self, first: &Bytes) -> Option<(ChunkRef, Option<Bytes>)> {
        let mut from_first = self.previous?.chunks.range(first.clone()..);
        let (_, chunk) = from_first.next().filter(|(key, _)| *key == first)?;
        let after = from_first.next().map(|(key, _)| key.clone());
        let changed = self.changed.range(first.clone()..).next();
        let is_clean = changed.is_none_or(|changed| after.as_ref().is_some_and(|after| changed > after));
        is_clean.then_some((*chunk, after))
    }
}

impl Iterator for Cutter<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let first = self.next.take()?;
        let (piece, reference, after) = match self.kept(&first) {
            Some((kept, after)) => (Piece::Kept(kept), kept, after),
            None => {
                let (chunk, after) = chunk_from(&self.state, &first);
                let reference = chunk.reference();
                (Piece::New(chunk), reference, after)
            }
        };
        self.chunks.insert(first, reference);
        self.next = after;
        Some(piece)
    }
}
