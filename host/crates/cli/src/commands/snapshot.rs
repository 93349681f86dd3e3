//! `althing snapshot`: snapshots, which every node cuts and keeps by itself.

use crate::{
    context::Context,
    show::{
        Done,
        snapshot::{ChecksShown, SnapshotsShown},
    },
};
use althing_core::ids::Sequence;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt;

const LIST: &str = "\
Example:
  althing snapshot list roster --server 127.0.0.1:7412";
const CREATE: &str = "\
Example:
  althing snapshot create roster --server 127.0.0.1:7412";
const PIN: &str = "\
Examples:
  althing snapshot pin roster 40000 --note \"before the upgrade\" --server 127.0.0.1:7412
  althing snapshot unpin roster 40000 --server 127.0.0.1:7412";
const VERIFY: &str = "\
Examples:
  althing snapshot verify roster --server 127.0.0.1:7412
  althing snapshot verify roster 40000 --server 127.0.0.1:7412

It ends with 1 when something is damaged. What is damaged is fetched from other nodes in the background,
as if the node had found it by itself: ask again to see whether that helped.";
const DELETE: &str = "\
Example:
  althing snapshot delete roster 20000 --server 127.0.0.1:7412";

/// Snapshots of communities, on the node that answers: name one with --server.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    List(List),
    Create(Create),
    Pin(Pin),
    /// Lets the community's policy decide again whether a snapshot is kept.
    #[command(after_help = PIN)]
    Unpin(One),
    Verify(Verify),
    Delete(Delete),
}

/// Lists the snapshots of a community on the answering node, newest first.
#[derive(Args, Debug)]
#[command(after_help = LIST)]
pub(crate) struct List {
    /// The community, by name or id.
    community: String,
}

/// Cuts a snapshot of the replica on the answering node.
#[derive(Args, Debug)]
#[command(after_help = CREATE)]
pub(crate) struct Create {
    /// The community, by name or id.
    community: String,
}

/// A snapshot.
#[derive(Args, Debug)]
pub(crate) struct One {
    /// The community, by name or id.
    community: String,
    /// The snapshot's sequence (`althing snapshot list`).
    sequence: u64,
}

/// Keeps a snapshot on the answering node, whatever the community's policy says, until it is unpinned.
#[derive(Args, Debug)]
#[command(after_help = PIN)]
pub(crate) struct Pin {
    #[command(flatten)]
    snapshot: One,
    /// Why, for whoever lists snapshots; at most 256 bytes.
    #[arg(long, default_value = "")]
    note: String,
}

/// Reads a snapshot on the answering node again and hashes every chunk; all of them if none is named.
#[derive(Args, Debug)]
#[command(after_help = VERIFY)]
pub(crate) struct Verify {
    /// The community, by name or id.
    community: String,
    /// The snapshot's sequence (`althing snapshot list`).
    sequence: Option<u64>,
}

/// Drops a snapshot on the answering node.
///
/// Refused for those that a restart of the node begins with or falls back to, and for pinned ones.
#[derive(Args, Debug)]
#[command(after_help = DELETE)]
pub(crate) struct Delete {
    #[command(flatten)]
    snapshot: One,
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
        let admin = context.client().await?.admin();
        let done = match self {
            Self::List(List { community }) => {
                let listed = admin.list_snapshots(&community).await?;
                return Ok(context.print(&SnapshotsShown::from(listed))?);
            }
            Self::Create(Create { community }) => {
                let sequence = admin.create_snapshot(&community).await?;
                return Ok(context.print(&Created { sequence: sequence.0 })?);
            }
            Self::Pin(Pin { snapshot: One { community, sequence }, note }) => {
                admin.pin_snapshot(&community, Sequence(sequence), &note).await?;
                format!("the snapshot at sequence {sequence} is pinned")
            }
            Self::Unpin(One { community, sequence }) => {
                admin.unpin_snapshot(&community, Sequence(sequence)).await?;
                format!("the snapshot at sequence {sequence} is not pinned any more")
            }
            Self::Verify(Verify { community, sequence }) => {
                let checked = admin.verify_snapshots(&community, sequence.map(Sequence)).await?;
                let checked = ChecksShown::from(checked);
                context.print(&checked)?;
                match checked.damaged() {
                    0 => return Ok(()),
                    damaged => bail!("{damaged} snapshots are damaged"),
                }
            }
            Self::Delete(Delete { snapshot: One { community, sequence } }) => {
                admin.delete_snapshot(&community, Sequence(sequence)).await?;
                format!("the snapshot at sequence {sequence} is deleted")
            }
        };
        Ok(context.print(&Done::new(done))?)
    }
}
