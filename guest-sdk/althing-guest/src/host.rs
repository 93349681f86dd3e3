//! What the host offers a guest: imports of the component, or a host in memory for tests on the
//! author's machine. Both have the same functions; nothing else of this crate knows which is there.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod memory;
#[cfg(target_arch = "wasm32")]
mod wasm;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use memory::{cancel, delete, emit, get, get_before, log, scan, scan_before, schedule, set};
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::{cancel, delete, emit, get, get_before, log, scan, scan_before, schedule, set};

/// Part of a scan: pairs of key and value, ascending, and where to go on.
#[derive(Debug, Default)]
pub struct Page {
    /// The pairs.
    pub(crate) pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The next scan's start; none at the end of the range.
    pub(crate) next: Option<Vec<u8>>,
}
