//! Who speaks: the seam where authentication comes in.
//!
//! Every request that names an actor passes here, with the metadata it came with. What the gate says
//! is what the community sees; nobody else looks at a claim.

use althing_core::{actor::Actor, refusal::Refusal};
use tonic::metadata::MetadataMap;

/// Decides whom a request speaks for.
pub trait Gate: Send + Sync {
    /// Whom a request speaks for: `metadata` is what it came with (of a stream: what the stream was
    /// opened with), `claimed` whom it says.
    ///
    /// # Errors
    /// A refusal when it may not speak for them.
    fn actor(&self, metadata: &MetadataMap, claimed: Actor) -> Result<Actor, Refusal>;
}

/// Believes every claim. For listeners that only friends reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Believing;

impl Gate for Believing {
    fn actor(&self, _metadata: &MetadataMap, claimed: Actor) -> Result<Actor, Refusal> {
        Ok(claimed)
    }
}
