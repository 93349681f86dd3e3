//! [`Origin`] on the wire.

use crate::{
    Malformed,
    malformed::{hash, hash_bytes},
    v1,
};
use althing_core::{
    ids::{CommunityId, Sequence},
    origin::Origin,
};

impl From<Origin> for v1::Origin {
    fn from(origin: Origin) -> Self {
        let Origin { cluster, community, name, sequence, digest, seal } = origin;
        let (digest, seal) = (hash_bytes(digest), hash_bytes(seal));
        Self { cluster, community: community.0, name, sequence: sequence.0, digest, seal }
    }
}

impl TryFrom<v1::Origin> for Origin {
    type Error = Malformed;

    fn try_from(origin: v1::Origin) -> Result<Self, Malformed> {
        let origin = Self {
            cluster: origin.cluster,
            community: CommunityId(origin.community),
            name: origin.name,
            sequence: Sequence(origin.sequence),
            digest: hash("origin.digest", &origin.digest)?,
            seal: hash("origin.seal", &origin.seal)?,
        };
        let too_long =
            |(what, max)| Malformed::new("origin", format!("has a {what} of more than {max} bytes"));
        origin.check().map_err(too_long)?;
        Ok(origin)
    }
}
