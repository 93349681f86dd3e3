//! Where a typed view reads: the state as it is now, or as it was before the operation.
//!
//! It is a type, not a value, so that a reducer that never looks back imports nothing for it.

use crate::host::{self, Page};
use std::marker::PhantomData;

/// What a typed view only speaks of: it holds none of it.
pub(crate) type Marker<T> = PhantomData<fn() -> T>;

/// Where a typed view reads.
pub trait Source: Copy + Default + 'static {
    /// The value of a key.
    #[doc(hidden)]
    fn get(key: &[u8]) -> Option<Vec<u8>>;
    /// A page of pairs.
    #[doc(hidden)]
    fn scan(start: &[u8], end: &[u8], limit: u32) -> Page;
}

/// The state as it is now, own writes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now;

/// The state as it was before the operation. Only validators can look back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before;

impl Source for Now {
    fn get(key: &[u8]) -> Option<Vec<u8>> {
        host::get(key)
    }

    fn scan(start: &[u8], end: &[u8], limit: u32) -> Page {
        host::scan(start, end, limit)
    }
}

impl Source for Before {
    fn get(key: &[u8]) -> Option<Vec<u8>> {
        host::get_before(key)
    }

    fn scan(start: &[u8], end: &[u8], limit: u32) -> Page {
        host::scan_before(start, end, limit)
    }
}
