//! What commands print: shapes that are texts for people and JSON for programs. The JSON is an
//! interface: fields are added, never changed.

pub(crate) mod archive;
pub(crate) mod blob;
pub(crate) mod community;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod nodes;
pub(crate) mod outcome;
pub(crate) mod program;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod transfer;
pub(crate) mod transition;
mod when;

use serde::Serialize;
use std::fmt;

/// Something done, of which there is nothing more to say.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    pub(crate) done: String,
}

impl Done {
    pub(crate) fn new(done: impl Into<String>) -> Self {
        Self { done: done.into() }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.done)
    }
}
