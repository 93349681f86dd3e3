//! `althing node`: the nodes of the cluster, and how they leave it for good.

use crate::{
    context::Context,
    progress::working,
    show::{Done, nodes::NodesShown},
};
use althing_client::{Admin, v1};
use althing_core::ids::NodeId;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use std::time::{Duration, Instant};

const LIST: &str = "\
Example:
  althing node list";
const DRAIN: &str = "\
Examples:
  althing node drain 3
  althing node drain 3 --vacate        also where no other node can take a replica";
const REMOVE: &str = "\
Examples:
  althing node remove 3
  althing node remove 3 --force        although it answers";
const REPLACE: &str = "\
Example:
  althing serve --data ./node4 --join 127.0.0.1:7511 …
  althing node replace 3 --with 4";
const KEEP: &str = "\
Example:
  althing node keep 3";

/// How often to ask how far it is.
const PAUSE: Duration = Duration::from_millis(300);
/// How long nothing may go on before that is told: elections pass meanwhile.
const STUCK: Duration = Duration::from_secs(12);

/// The nodes of the cluster: list, drain, remove, replace.
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Lists the nodes.
    #[command(after_help = LIST)]
    List,
    Drain(Drain),
    Remove(Remove),
    Replace(Replace),
    /// Lets a node stay that was to leave. What it has given away does not come back.
    #[command(after_help = KEEP)]
    Keep {
        /// The node, by id.
        node: u64,
    },
}

/// Lets a living node leave for good.
///
/// It gets no more replicas. Each it has moves to the node with most room that has none of the same community:
/// that one follows, catches up, and takes the vote over in one step. When no group counts the node among its
/// members any more the cluster forgets it, and its process ends. Broken off, it goes on by itself; asked
/// again, it tells how far it is.
#[derive(Args, Debug)]
#[command(after_help = DRAIN)]
pub(crate) struct Drain {
    /// The node, by id (`althing node list` lists them).
    node: u64,
    /// Where no other node can take a replica, it goes all the same: the community has one vote less until a
    /// node comes that can.
    #[arg(long)]
    vacate: bool,
}

/// Removes a node that is gone for good.
///
/// Each replica it had begins anew on the node with most room that has none of the same community. Where the
/// others have no quorum nothing is done, and that is told. A node that answers is not removed.
#[derive(Args, Debug)]
#[command(after_help = REMOVE)]
pub(crate) struct Remove {
    /// The node, by id (`althing node list` lists them).
    node: u64,
    /// Where no other node can take a replica, it goes all the same: the community has one vote less until a
    /// node comes that can.
    #[arg(long)]
    vacate: bool,
    /// Even if it answers. What it serves meanwhile may be out of date until it hears that it has left, and
    /// its process then ends. Nothing that was acknowledged is lost: the others must have a quorum all the same.
    #[arg(long)]
    force: bool,
}

/// Lets a node leave for good, gone or not, and another one take all its replicas.
///
/// Where the other one has a replica of a community already, the node with most room takes it.
#[derive(Args, Debug)]
#[command(after_help = REPLACE)]
pub(crate) struct Replace {
    /// The node that leaves, by id (`althing node list` lists them).
    node: u64,
    /// The node that takes its place; it has joined before.
    #[arg(long, value_name = "NODE")]
    with: u64,
}

impl Node {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let admin = context.client().await?.admin();
        let request = match self {
            Self::List => {
                let (status, communities) = (admin.status().await?, admin.list().await?);
                return Ok(context.print(&NodesShown::new(status.nodes, communities))?);
            }
            Self::Keep { node } => {
                admin.keep_node(NodeId(node)).await?;
                return Ok(context.print(&Done::new(format!("node {node} stays")))?);
            }
            Self::Drain(Drain { node, vacate }) => v1::RetireNodeRequest {
                node,
                may_vacate: vacate,
                expected: "answering".to_owned(),
                ..v1::RetireNodeRequest::default()
            },
            Self::Remove(Remove { node, vacate, force }) => v1::RetireNodeRequest {
                node,
                may_vacate: vacate,
                expected: if force { String::new() } else { "silent".to_owned() },
                ..v1::RetireNodeRequest::default()
            },
            Self::Replace(Replace { node, with }) => {
                v1::RetireNodeRequest { node, to: with, ..v1::RetireNodeRequest::default() }
            }
        };
        let node = request.node;
        let began = admin.retire_node(request.clone()).await?;
        if !began.has_left {
            until_it_has_left(&admin, request, began.remaining).await?;
        }
        Ok(context.print(&Done::new(format!("node {node} has left the cluster for good")))?)
    }
}

async fn until_it_has_left(
    admin: &Admin,
    mut request: v1::RetireNodeRequest,
    mut remaining: Vec<v1::RemainingReplica>,
) -> anyhow::Result<()> {
    let node = request.node;
    // It was as expected; on its way it may die, or be started again.
    request.expected.clear();
    let bar = working(format!("node {node} leaves"));
    let mut moved = Instant::now();
    loop {
        bar.set_message(format!("node {node} leaves: {} to go", list(&remaining)));
        tokio::time::sleep(PAUSE).await;
        let told = admin.retire_node(request.clone()).await;
        let told = told.with_context(|| {
            format!(
                "how far node {node} is cannot be told; it goes on by itself: ask another node, or ask again"
            )
        })?;
        if told.has_left {
            bar.finish_and_clear();
            return Ok(());
        }
        if told.remaining != remaining || told.remaining.iter().any(|replica| replica.why.is_empty()) {
            moved = Instant::now();
        }
        remaining = told.remaining;
        if moved.elapsed() > STUCK {
            bar.finish_and_clear();
            let why: Vec<String> =
                remaining.iter().map(|replica| format!("{}: {}", replica.name, replica.why)).collect();
            anyhow::bail!(
                "node {node} has not left. It still leaves as soon as it can; `althing node keep {node}` lets it stay\n  {}",
                why.join("\n  ")
            );
        }
    }
}

/// Names, or a number when there are many.
fn list(remaining: &[v1::RemainingReplica]) -> String {
    match remaining {
        [] => "nothing".to_owned(),
        few if few.len() <= 4 => {
            few.iter().map(|replica| replica.name.as_str()).collect::<Vec<_>>().join(", ")
        }
        many => format!("{} communities", many.len()),
    }
}
