//! Loaded components in memory: the ones used last, at most so many.

use crate::link::Loaded;
use althing_core::ids::Hash;
use std::{collections::BTreeMap, sync::Arc};

/// Most components kept loaded; programs hold those that they run, whatever happens here.
const COMPONENTS_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Shelf {
    components: BTreeMap<Hash, (u64, Arc<Loaded>)>,
    uses: u64,
}

impl Shelf {
    pub(crate) fn get(&mut self, component: Hash) -> Option<Arc<Loaded>> {
        self.uses += 1;
        let (used, loaded) = self.components.get_mut(&component)?;
        *used = self.uses;
        Some(Arc::clone(loaded))
    }

    pub(crate) fn put(&mut self, loaded: Arc<Loaded>) {
        self.uses += 1;
        self.components.insert(loaded.linked.component, (self.uses, loaded));
        if self.components.len() > COMPONENTS_MAX {
            let oldest = self.components.iter().min_by_key(|(_, (used, _))| *used).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| self.components.remove(&oldest));
        }
    }
}
