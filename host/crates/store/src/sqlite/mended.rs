//! What is wrong with a file of a store and no reason to refuse it: a start mends it, and says so.

use althing_core::ids::{CommunityId, Sequence};
use std::path::{Path, PathBuf};

/// Something that was not what was written, or was gone, and is put right when the store is opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.path().display(), self.said())]
pub enum Mended {
    /// One of the two files that hold the node's facts.
    Facts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The archive ends before what somebody was told of.
    Archive {
        /// The file.
        path: PathBuf,
        /// The number of its last change.
        found: u64,
        /// The number of the last change that somebody was told of.
        marked: u64,
    },
    /// The archive's mark.
    Mark {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A pin whose snapshot is gone.
    Pin {
        /// The file.
        path: PathBuf,
        /// The community.
        community: CommunityId,
        /// The snapshot's sequence.
        sequence: Sequence,
    },
}

impl Mended {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Facts { path, .. }
            | Self::Archive { path, .. }
            | Self::Mark { path, .. }
            | Self::Pin { path, .. } => path,
        }
    }

    /// What is wrong with it, and what comes of that.
    #[must_use]
    pub fn said(&self) -> String {
        match self {
            Self::Facts { what, .. } => format!("it {what}; it is written anew from its copy"),
            Self::Archive { found, marked, .. } => format!(
                "it has lost the last of its changes: it ends at {found}, and the mark beside it says {marked}. The \
                 disk, or whoever copied the file, has dropped them. What was in them is made again from the log, or \
                 comes from the other nodes; what the node knows of itself was not in them"
            ),
            Self::Mark { what, .. } => {
                format!("it {what}: whether archive.db has lost changes cannot be told; it is written anew")
            }
            Self::Pin { community, sequence, .. } => format!(
                "it pins the snapshot at {sequence} of community {community}, which is not there any more; pin another"
            ),
        }
    }
}
