//! The digests of a replica's last sequences, so that another's can be held against them.

use althing_core::ids::{Hash, Sequence};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// How many are kept: what a busy community executes in a second, since another replica's answer is held
/// against the digest of half a second ago. 4 MiB, for those that are that busy only.
const KEPT_MAX: usize = 1 << 17;

/// A replica's last digests, each from its own execution, without gaps.
pub(crate) struct Digests(Mutex<Recent>);

struct Recent {
    /// The sequence of the first.
    first: u64,
    digests: VecDeque<Hash>,
}

impl Digests {
    /// Begins where a restored state stands.
    pub(crate) fn new(sequence: Sequence, digest: Hash) -> Self {
        Self(Mutex::new(Recent::new(sequence, digest)))
    }

    /// The state is another one now.
    pub(crate) fn jump(&self, sequence: Sequence, digest: Hash) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Recent::new(sequence, digest);
    }

    /// What has been executed, in order.
    pub(crate) fn push(&self, executed: impl Iterator<Item = (Sequence, Hash)>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (sequence, digest) in executed {
            assert_eq!(sequence, recent.newest().next(), "sequences have no gaps");
            recent.digests.push_back(digest);
            if recent.digests.len() > KEPT_MAX {
                recent.digests.pop_front();
                recent.first += 1;
            }
        }
    }

    /// The digest at a sequence, if it is reached and kept.
    pub(crate) fn at(&self, sequence: Sequence) -> Option<Hash> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = sequence.0.checked_sub(recent.first)?;
        recent.digests.get(usize::try_from(place).ok()?).copied()
    }

    /// The newest sequence.
    pub(crate) fn newest(&self) -> Sequence {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).newest()
    }
}

impl Recent {
    fn new(sequence: Sequence, digest: Hash) -> Self {
        Self { first: sequence.0, digests: VecDeque::from([digest]) }
    }

    fn newest(&self) -> Sequence {
        Sequence(self.first + self.digests.len() as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Digests, KEPT_MAX};
    use althing_core::ids::{Hash, Sequence};

    fn digest(sequence: u64) -> Hash {
        Hash::of("test", &sequence.to_be_bytes())
    }

    #[test]
    fn the_last_digests_are_kept_and_no_others() {
        let digests = Digests::new(Sequence(10), digest(10));
        let last = 10 + KEPT_MAX as u64;
        digests.push((11..=last).map(|sequence| (Sequence(sequence), digest(sequence))));
        assert_eq!(digests.newest(), Sequence(last));
        assert_eq!(digests.at(Sequence(10)), None, "forgotten");
        assert_eq!(digests.at(Sequence(11)), Some(digest(11)));
        assert_eq!(digests.at(Sequence(last)), Some(digest(last)));
        assert_eq!(digests.at(Sequence(last + 1)), None, "not reached");
        digests.jump(Sequence(5), digest(5));
        assert_eq!((digests.newest(), digests.at(Sequence(11))), (Sequence(5), None));
    }
}
