//! `althing history`: transitions that are still held.

use crate::{context::Context, show::transition::TransitionShown};
use althing_core::ids::Sequence;
use clap::Args;

/// Transitions of one request.
const PAGE: u32 = 256;

const EXAMPLES: &str = "\
Examples:
  althing history roster                     from the oldest held
  althing history roster --from 1200 --limit 20
  althing history roster --output json | jq -r .digest | tail -1";

/// Shows transitions that are still held, oldest first.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct History {
    /// The community, by name or id.
    community: String,
    /// The first sequence to show; 0: the oldest held.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many to show at most.
    #[arg(long)]
    limit: Option<u64>,
}

impl History {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let community = context.client().await?.community(self.community);
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut from = Sequence(self.from);
        while left > 0 {
            let limit = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
            let page = community.history(from, limit).await?;
            let Some(last) = page.transitions.last().map(|transition| transition.sequence) else {
                break;
            };
            left = left.saturating_sub(page.transitions.len() as u64);
            for transition in page.transitions {
                context.print(&TransitionShown::from(transition))?;
            }
            if last >= page.newest {
                break;
            }
            from = last.next();
        }
        Ok(())
    }
}
