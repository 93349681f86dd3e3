//! `althing watch`: transitions as they happen.

use crate::{context::Context, show::transition::TransitionShown};
use althing_core::ids::Sequence;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  althing watch roster                       from now on, until interrupted
  althing watch roster --from 1              everything held, and what follows
  althing watch roster --count 1 --output json";

/// Follows a community's transitions, in order and without gaps, whatever happens to nodes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Watch {
    /// The community, by name or id.
    community: String,
    /// The first sequence wanted; 0: from now on.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Ends after so many.
    #[arg(long)]
    count: Option<u64>,
}

impl Watch {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let community = context.client().await?.community(self.community);
        let mut subscription = community.subscribe(Sequence(self.from)).await?;
        let mut left = self.count.unwrap_or(u64::MAX);
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        while left > 0 {
            let transition = tokio::select! {
                transition = subscription.next() => transition?,
                _ = &mut interrupted => break,
            };
            context.print(&TransitionShown::from(transition))?;
            left -= 1;
        }
        Ok(())
    }
}
