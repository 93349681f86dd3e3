//! Where the history of an imported community comes from: another community, up to one sequence.

use crate::{
    ids::{CommunityId, Hash, Sequence},
    limits,
};
use serde::{Deserialize, Serialize};

/// Longest name of a cluster, in bytes.
pub const CLUSTER_NAME_BYTES_MAX: usize = 64;

/// The community whose history another one goes on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its cluster, as hexadecimal digits.
    pub cluster: String,
    /// Its id there.
    pub community: CommunityId,
    /// Its name there.
    pub name: String,
    /// The last transition that comes from it.
    pub sequence: Sequence,
    /// The digest up to that.
    pub digest: Hash,
    /// The seal of the file that it came in: the hash over everything in there.
    pub seal: Hash,
}

impl Origin {
    /// Whether its texts are within their bounds; the first that is not.
    ///
    /// # Errors
    /// What is too long, and the bound.
    pub fn check(&self) -> Result<(), (&'static str, usize)> {
        let texts = [
            ("cluster", self.cluster.len(), CLUSTER_NAME_BYTES_MAX),
            ("name", self.name.len(), limits::COMMUNITY_NAME_BYTES_MAX),
        ];
        match texts.into_iter().find(|&(_, bytes, max)| bytes > max) {
            Some((what, _, max)) => Err((what, max)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CLUSTER_NAME_BYTES_MAX, Origin};
    use crate::{
        ids::{CommunityId, Hash, Sequence},
        limits,
    };

    #[test]
    fn its_texts_are_bounded() {
        let origin = |cluster: usize, name: usize| Origin {
            cluster: "0".repeat(cluster),
            community: CommunityId(1),
            name: "n".repeat(name),
            sequence: Sequence(7),
            digest: Hash::default(),
            seal: Hash::default(),
        };
        let name_max = limits::COMMUNITY_NAME_BYTES_MAX;
        assert_eq!(origin(CLUSTER_NAME_BYTES_MAX, name_max).check(), Ok(()));
        assert_eq!(origin(CLUSTER_NAME_BYTES_MAX + 1, 1).check(), Err(("cluster", CLUSTER_NAME_BYTES_MAX)));
        assert_eq!(origin(1, name_max + 1).check(), Err(("name", name_max)));
    }
}
