//! The state roots of a replica's last snapshots, so that another's can be held against them. A digest
//! stands for what was done, a root for what is there: memory that nobody has touched since it was damaged
//! shows in the root alone.

use althing_core::{
    ids::{Hash, Sequence},
    time::Timestamp,
};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many are kept: another replica may be as many snapshots ahead, or slower at cutting.
const KEPT_MAX: usize = 64;

/// What a replica's live state was at one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) sequence: Sequence,
    /// The digest there.
    pub(crate) digest: Hash,
    /// The community's time there. It names the batch: one that makes no transition, because it repeats or
    /// is refused, leaves sequence and digest as they are and changes the state all the same.
    pub(crate) time: Timestamp,
    /// The hash of the chunk list that the state was cut into.
    pub(crate) root: Hash,
}

/// A replica's last roots, each cut from its own live state, in the order in which they were cut.
#[derive(Default)]
pub(crate) struct Roots(Mutex<VecDeque<Root>>);

impl Roots {
    /// A snapshot was cut; again at the same sequence, it takes the place of the one before.
    pub(crate) fn push(&self, root: Root) {
        let mut roots = self.roots();
        roots.retain(|known| known.sequence != root.sequence);
        roots.push_back(root);
        if roots.len() > KEPT_MAX {
            roots.pop_front();
        }
    }

    /// The state is another one now, and was not made here.
    pub(crate) fn forget(&self) {
        self.roots().clear();
    }

    /// The root at a sequence, if one was cut there and is kept.
    pub(crate) fn at(&self, sequence: Sequence) -> Option<Root> {
        self.roots().iter().find(|root| root.sequence == sequence).copied()
    }

    /// The sequences of all that are kept.
    pub(crate) fn sequences(&self) -> Vec<Sequence> {
        self.roots().iter().map(|root| root.sequence).collect()
    }

    fn roots(&self) -> MutexGuard<'_, VecDeque<Root>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_MAX, Root, Roots};
    use althing_core::{
        ids::{Hash, Sequence},
        time::Timestamp,
    };

    fn root(sequence: u64, byte: u8) -> Root {
        let (digest, time) = (Hash([1; 32]), Timestamp::new(sequence, 0));
        Root { sequence: Sequence(sequence), digest, time, root: Hash([byte; 32]) }
    }

    #[test]
    fn the_last_roots_are_kept_one_for_a_sequence() {
        let roots = Roots::default();
        (0..=KEPT_MAX as u64).for_each(|sequence| roots.push(root(sequence, 1)));
        assert_eq!(roots.at(Sequence(0)), None, "forgotten");
        assert_eq!(roots.at(Sequence(1)), Some(root(1, 1)));
        roots.push(root(7, 2));
        assert_eq!((roots.at(Sequence(7)), roots.sequences().len()), (Some(root(7, 2)), KEPT_MAX));
        roots.forget();
        assert_eq!(roots.sequences(), []);
    }
}
