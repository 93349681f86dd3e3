//! `althing query`: a question to a program.

use crate::{context::Context, failure::ProgramSaidNo, show::outcome::QueriedShown};
use althing_client::Consistency;
use althing_core::ids::Sequence;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  althing query counter '{\"query\":\"total\",\"name\":\"a\"}'
  althing query counter '{\"query\":\"total\",\"name\":\"a\"}' --at-least 1200
  althing query counter '{\"query\":\"total\",\"name\":\"a\"}' --local";

/// Asks a community's program a question.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Query {
    /// The community, by name or id.
    community: String,
    /// The question, in the program's own words; usually JSON.
    question: String,
    #[command(flatten)]
    freshness: Freshness,
}

/// How fresh an answer must be.
#[derive(Args, Clone, Copy, Debug)]
#[group(multiple = false)]
pub(crate) struct Freshness {
    /// Not before this sequence, instead of as of now.
    #[arg(long, value_name = "SEQUENCE")]
    at_least: Option<u64>,
    /// Whatever the answering node has, instead of as of now.
    #[arg(long)]
    local: bool,
}

impl Freshness {
    pub(crate) fn consistency(self) -> Consistency {
        match self {
            Self { local: true, .. } => Consistency::Local,
            Self { at_least: Some(sequence), .. } => Consistency::AtLeast(Sequence(sequence)),
            Self { at_least: None, local: false } => Consistency::Linearizable,
        }
    }
}

impl Query {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let community = context.client().await?.community(self.community);
        let consistency = self.freshness.consistency();
        let queried = community.query(context.actor(), self.question, consistency).await?;
        let shown = QueriedShown::from(queried);
        context.print(&shown)?;
        match shown.said.no() {
            Some(no) => Err(ProgramSaidNo(format!("the question was not answered: {no}")).into()),
            None => Ok(()),
        }
    }
}
