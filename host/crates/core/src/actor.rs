//! Who submits.

use serde::{Deserialize, Serialize};

/// Who submitted an operation: an id and the roles the community gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// At most [`crate::limits::ACTOR_ID_BYTES_MAX`] bytes; empty for timers and the host itself.
    pub id: String,
    /// Sorted, without duplicates.
    pub roles: Vec<String>,
}
