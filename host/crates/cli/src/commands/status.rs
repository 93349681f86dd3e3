//! `althing status`: a node, and what it knows of its cluster.

use crate::{context::Context, show::status::StatusShown};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  althing status
  althing status --server 127.0.0.1:7412 --output json | jq .replicas";

/// Tells about a node, its communities, and what it knows of the cluster.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let status = context.client().await?.admin().status().await?;
        Ok(context.print(&StatusShown::from(status))?)
    }
}
