//! `althing member`: on which nodes a community has replicas, and which of them vote.

use crate::{context::Context, show::Done};
use althing_core::ids::{NodeId, ReplicaId};
use clap::{Args, Subcommand};

const ADD: &str = "\
Example:
  althing member add roster 4 && althing member promote roster 4";
const PROMOTE: &str = "\
Example:
  althing member promote roster 4";
const REMOVE: &str = "\
Example:
  althing member remove roster 2";
const REBUILD: &str = "\
Examples:
  althing member rebuild roster 2
  althing member rebuild roster 2 --replica 5     only if it is still replica 5";
const MOVE: &str = "\
Example:
  althing member move roster --from 2 --to 4";
const TRANSFER: &str = "\
Examples:
  althing member transfer roster        to whoever is best informed
  althing member transfer roster 3";

/// Replicas of a community: add, promote, remove, rebuild, move; move leadership.
#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Adds a read-only replica on a node.
    #[command(after_help = ADD)]
    Add(Place),
    /// Gives a replica a vote.
    #[command(after_help = PROMOTE)]
    Promote(Place),
    /// Removes the replica of a node.
    #[command(after_help = REMOVE)]
    Remove(Place),
    Rebuild(Rebuild),
    Move(Move),
    Transfer(Transfer),
}

/// A community and a node.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The community, by name or id.
    community: String,
    /// The node, by id (`althing status` lists them).
    node: u64,
}

/// Replaces the replica of a node by a fresh one there, and waits until it has caught up.
///
/// The old one leaves the group, its log and state are forgotten, and the fresh one gets them anew from
/// the others, under an id that was never used. Refused if the others have no quorum without it. May be
/// asked again.
#[derive(Args, Debug)]
#[command(after_help = REBUILD)]
pub(crate) struct Rebuild {
    /// The community, by name or id.
    community: String,
    /// The node, by id (`althing status` lists them).
    node: u64,
    /// Only if the replica there is still this one (`althing community show` lists them).
    #[arg(long)]
    replica: Option<u64>,
}

/// Moves a replica to another node, and waits until the old one is out.
///
/// A fresh one follows there without a vote; when it has caught up it takes the old one's vote, in one step,
/// and the old one's log and state are forgotten. Refused if no quorum would be up. Goes on by itself if it is
/// broken off, and may be asked again.
#[derive(Args, Debug)]
#[command(after_help = MOVE)]
pub(crate) struct Move {
    /// The community, by name or id.
    community: String,
    /// The node that has the replica, by id (`althing node list` lists them).
    #[arg(long, value_name = "NODE")]
    from: u64,
    /// The node that is to have it.
    #[arg(long, value_name = "NODE")]
    to: u64,
}

/// Moves leadership.
#[derive(Args, Debug)]
#[command(after_help = TRANSFER)]
pub(crate) struct Transfer {
    /// The community, by name or id.
    community: String,
    /// The node to lead; whoever is best informed if not named.
    node: Option<u64>,
}

impl Member {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let admin = context.client().await?.admin();
        let done = match self {
            Self::Add(Place { community, node }) => {
                let replica = admin.add_replica(&community, NodeId(node)).await?;
                format!("replica {} of {community} is on node {node}, without a vote", replica.replica)
            }
            Self::Promote(Place { community, node }) => {
                admin.promote_replica(&community, NodeId(node)).await?;
                format!("the replica of {community} on node {node} votes")
            }
            Self::Remove(Place { community, node }) => {
                admin.remove_replica(&community, NodeId(node)).await?;
                format!("{community} has no replica on node {node} any more")
            }
            Self::Rebuild(Rebuild { community, node, replica }) => {
                let rebuilt = admin.rebuild_replica(&community, NodeId(node), replica.map(ReplicaId)).await?;
                format!("the replica of {community} on node {node} is rebuilt: it is {} now", rebuilt.replica)
            }
            Self::Move(Move { community, from, to }) => {
                let moved = admin.move_replica(&community, NodeId(from), NodeId(to)).await?;
                format!(
                    "the replica of {community} on node {from} moved to node {to}: it is {} now",
                    moved.replica
                )
            }
            Self::Transfer(Transfer { community, node }) => {
                admin.transfer_leadership(&community, node.map(NodeId)).await?;
                format!("leadership of {community} was handed over")
            }
        };
        Ok(context.print(&Done::new(done))?)
    }
}
