//! What was imported, and restored.

use crate::show::community::CommunityShown;
use althing_client::v1;
use serde::Serialize;
use std::{fmt, path::Path};

/// A community that was made of a file.
#[derive(Debug, Serialize)]
pub(crate) struct Imported {
    file: String,
    #[serde(flatten)]
    pub(crate) community: CommunityShown,
    /// Whether it had been made of this file before.
    already: bool,
}

impl Imported {
    pub(crate) fn new(file: &Path, community: v1::CommunityInfo, already: bool) -> Self {
        Self { file: file.display().to_string(), community: community.into(), already }
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.already { "was imported before, as" } else { "is imported as" };
        write!(f, "{} {said} {}", self.file, self.community)
    }
}
