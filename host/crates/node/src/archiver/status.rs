//! What a node says of its archive.

use althing_core::ids::{CommunityId, Sequence};

/// The archive of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// Where it is.
    pub place: String,
    /// How far each community with a replica here is archived, ascending by id.
    pub communities: Vec<Archived>,
}

/// How far a community is archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Which one.
    pub community: CommunityId,
    /// Its name.
    pub name: String,
    /// The last sequence in a durable segment; 0: none.
    pub archived: Sequence,
    /// Transitions that are here and in no segment yet.
    pub lag: u64,
    /// Segments in the folder.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Transitions up to `archived` that nobody held when they were to be archived.
    pub missing: u64,
    /// Attempts that failed since the node started.
    pub failures: u64,
    /// Why it does not go on, if it does not.
    pub trouble: Option<String>,
}
