//! Keys and values of a program's state.

use crate::show::blob::{Blob, Key};
use serde::Serialize;
use std::fmt;

/// What was read of the state.
#[derive(Debug, Serialize)]
pub(crate) struct StateShown {
    /// The state that the first page was read from.
    pub(crate) sequence: u64,
    /// The state that the last page was read from: the same, unless operations were executed meanwhile.
    pub(crate) until_sequence: u64,
    pub(crate) digest: String,
    pub(crate) pairs: Vec<PairShown>,
    /// Whether there is more than the limit allowed.
    pub(crate) more: bool,
}

/// A key and its value.
#[derive(Debug, Serialize)]
pub(crate) struct PairShown {
    pub(crate) key: Key,
    pub(crate) value: Blob,
}

impl StateShown {
    /// Nothing yet, of the state at `sequence`.
    pub(crate) fn beginning(sequence: u64) -> Self {
        Self { sequence, until_sequence: sequence, digest: String::new(), pairs: Vec::new(), more: false }
    }
}

impl fmt::Display for StateShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PairShown { key, value } in &self.pairs {
            writeln!(f, "{key} = {value}")?;
        }
        let more = if self.more { ", and more" } else { "" };
        write!(f, "-- {} keys{more}, at sequence {}", self.pairs.len(), self.sequence)?;
        if self.until_sequence != self.sequence {
            write!(f, " to {} (operations were executed meanwhile)", self.until_sequence)?;
        }
        Ok(())
    }
}
