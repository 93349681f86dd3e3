//! What is done to the wires between nodes in namespaces: which packets are lost, for a while. Clients reach every node
//! all the while, also one that its peers do not.

use super::harm::Harm;
use crate::network::{Loss, Lost};

/// What is lost when this is done: to the wires of `one`, to that between it and `other`, or to all of them. So many
/// packets of a hundred where they are lost by chance.
///
/// # Panics
/// When it is not done to wires.
#[must_use]
pub(super) fn losses(what: Harm, one: u64, other: u64, all: &[u64], percent: u8) -> Vec<Loss> {
    let is_lost = |from: u64, to: u64| match what {
        Harm::Cut | Harm::Deaf => to == one,
        Harm::Mute => from == one,
        Harm::Isolate => from == one || to == one,
        Harm::Split => [(one, other), (other, one)].contains(&(from, to)),
        Harm::Lossy => true,
        _ => panic!("{what} is not done to wires"),
    };
    let lost = match what {
        Harm::Cut => Lost::Asked,
        Harm::Lossy => Lost::Percent(percent),
        _ => Lost::All,
    };
    let pairs = all.iter().flat_map(|&from| all.iter().map(move |&to| (from, to)));
    let pairs = pairs.filter(|&(from, to)| from != to && is_lost(from, to));
    pairs.map(|(from, to)| Loss { from, to, what: lost }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Harm, losses};

    fn lost(what: Harm) -> Vec<(u64, u64)> {
        losses(what, 2, 3, &[1, 2, 3], 25).into_iter().map(|loss| (loss.from, loss.to)).collect()
    }

    #[test]
    fn each_harm_loses_what_it_is_named_after() {
        assert_eq!(lost(Harm::Cut), [(1, 2), (3, 2)]);
        assert_eq!(lost(Harm::Deaf), [(1, 2), (3, 2)]);
        assert_eq!(lost(Harm::Mute), [(2, 1), (2, 3)]);
        assert_eq!(lost(Harm::Isolate), [(1, 2), (2, 1), (2, 3), (3, 2)]);
        assert_eq!(lost(Harm::Split), [(2, 3), (3, 2)]);
        assert_eq!(lost(Harm::Lossy).len(), 6);
    }
}
