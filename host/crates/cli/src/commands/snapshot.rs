//! `althing snapshot`: snapshots.

use crate::context::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt;

const CREATE: &str = "\
Example:
  althing snapshot create roster --server 127.0.0.1:7412";

/// Snapshots of communities.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    Create(Create),
}

/// Cuts a snapshot of the replica on the answering node.
#[derive(Args, Debug)]
#[command(after_help = CREATE)]
pub(crate) struct Create {
    /// The community, by name or id.
    community: String,
}

#[derive(Serialize)]
struct Created {
    sequence: u64,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot at sequence {}", self.sequence)
    }
}

impl Snapshot {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let Self::Create(Create { community }) = self;
        let sequence = context.client().await?.admin().create_snapshot(&community).await?;
        Ok(context.print(&Created { sequence: sequence.0 })?)
    }
}
