//! `althing history`: transitions that are still held, or that were archived.

use crate::{
    archive::{self, Folder},
    context::Context,
    show::transition::TransitionShown,
};
use althing_core::{ids::Sequence, transition::Transition};
use anyhow::Context as _;
use clap::Args;
use std::path::{Path, PathBuf};

/// Transitions of one request.
const PAGE: u32 = 256;

const EXAMPLES: &str = "\
Examples:
  althing history roster                     from the oldest held
  althing history roster --from 1200 --limit 20
  althing history roster --archive /mnt/archive1 --from 1
  althing history roster --output json | jq -r .digest | tail -1";

/// Shows transitions that are still held, or that were archived, oldest first.
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
    /// Reads this archive, which `serve --archive` has written, instead of asking a node.
    #[arg(long, value_name = "FOLDER")]
    archive: Option<PathBuf>,
}

impl History {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if let Some(folder) = &self.archive {
            return self.archived(context, folder);
        }
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

    /// As online, from files. Damage and gaps end it, after what lies before them.
    fn archived(&self, context: &Context, folder: &Path) -> anyhow::Result<()> {
        let folder = Folder::one(folder, &self.community)?;
        let mut next = (self.from > 0).then_some(Sequence(self.from));
        let mut left = self.limit.unwrap_or(u64::MAX);
        for (_, file) in folder.from(Sequence(self.from)) {
            if left == 0 {
                break;
            }
            let read = archive::read(file).with_context(|| format!("{} cannot be used", file.display()))?;
            let from = *next.get_or_insert(read.header.first);
            if read.header.first > from {
                anyhow::bail!(
                    "sequences {from} to {} are not in this archive: go on with --from {}",
                    read.header.first.0 - 1,
                    read.header.first
                );
            }
            let wanted = |transition: &Transition| transition.sequence >= from;
            for transition in read.transitions.into_iter().filter(wanted) {
                if left == 0 {
                    break;
                }
                left -= 1;
                next = Some(transition.sequence.next());
                context.print(&TransitionShown::from(transition))?;
            }
        }
        Ok(())
    }
}
