//! What a store may take of the machine: memory, tables, instances.
//!
//! Memory is counted over all linear memories of an instance against the community's quota. Growth
//! beyond it is denied as `memory.grow` denies (-1), which a guest can handle; growth that the
//! quota allows and the machine does not is a fault of this replica, never an answer.

use althing_core::limits::GUEST_MEMORY_BYTES_MAX;

/// Most elements of all tables of a store.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;
/// Most tables.
const TABLES_MAX: usize = 256;
/// Most memories.
const MEMORIES_MAX: usize = 16;
/// Most core instances.
const INSTANCES_MAX: usize = 512;

/// The numbers above that a guest can observe, with names: for the fingerprint.
pub(crate) const NUMBERS: [(&str, u64); 4] = [
    ("table elements", TABLE_ELEMENTS_MAX as u64),
    ("tables", TABLES_MAX as u64),
    ("memories", MEMORIES_MAX as u64),
    ("core instances", INSTANCES_MAX as u64),
];

/// The machine has not given what the quota allows.
#[derive(Debug, thiserror::Error)]
#[error("the machine has not given memory that the community's quota allows")]
pub(crate) struct HostRefused;

/// Counts what one store has taken.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements: usize,
}

impl Limiter {
    pub(crate) fn new(memory_bytes_max: u64) -> Self {
        let memory_bytes_max = memory_bytes_max.min(GUEST_MEMORY_BYTES_MAX) as usize;
        Self { memory_bytes_max, memory_bytes: 0, table_elements: 0 }
    }
}

/// Adds the growth to what is used, if it fits.
fn grow(used: &mut usize, current: usize, desired: usize, own_max: Option<usize>, max: usize) -> bool {
    let total = used.saturating_add(desired.saturating_sub(current));
    let fits = own_max.is_none_or(|own_max| desired <= own_max) && total <= max;
    if fits {
        *used = total;
    }
    fits
}

impl wasmtime::ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(grow(&mut self.memory_bytes, current, desired, max, self.memory_bytes_max))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context(HostRefused))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(grow(&mut self.table_elements, current, desired, max, TABLE_ELEMENTS_MAX))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context(HostRefused))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::ResourceLimiter;

    #[test]
    fn memories_share_one_quota() {
        let mut limiter = Limiter::new(3 << 16);
        assert!(limiter.memory_growing(0, 2 << 16, None).unwrap());
        assert!(limiter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(!limiter.memory_growing(1 << 16, 2 << 16, None).unwrap());
    }

    #[test]
    fn a_modules_own_maximum_is_a_denial_and_takes_nothing() {
        let mut limiter = Limiter::new(4 << 16);
        assert!(!limiter.memory_growing(0, 2 << 16, Some(1 << 16)).unwrap());
        assert!(limiter.memory_growing(0, 4 << 16, None).unwrap());
    }
}
