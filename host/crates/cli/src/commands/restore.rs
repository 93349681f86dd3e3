//! `althing restore`: every community of a backup, into a new cluster.

use super::{
    backup::index::{Index, Saved},
    import::{Wanted, import},
};
use crate::{context::Context, show::import::Imported};
use anyhow::Context as _;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  althing restore ./2026-11-21 --server 127.0.0.1:7411
  althing restore ./2026-11-21 --voters 5

Each community is imported under the name that it had, as `althing import` does: verified first, visible when all
is in place. One that was restored before is passed over, so the command may be given again after it broke off.";

/// Restores every community of a backup.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Restore {
    /// The directory that `althing backup` has written.
    directory: PathBuf,
    /// How many voters each gets; as many as there are nodes, at most 3, if not given.
    #[arg(long)]
    voters: Option<u32>,
}

impl Restore {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let index = Index::read(&self.directory)?;
        let mut missing: Vec<String> = Vec::new();
        for saved in &index.communities {
            match self.restore(context, saved).await {
                Ok(imported) => context.print(&imported)?,
                Err(error) => missing.push(format!("{}: {error:#}", saved.name)),
            }
        }
        let unsaved = index
            .failed
            .iter()
            .map(|failed| format!("{}: it is not in the backup: {}", failed.name, failed.why));
        missing.extend(unsaved);
        match missing.as_slice() {
            [] => Ok(()),
            [only] => Err(anyhow::anyhow!("a community was not restored: {only}")),
            several => Err(anyhow::anyhow!(
                "{} communities were not restored:\n  {}",
                several.len(),
                several.join("\n  ")
            )),
        }
    }

    async fn restore(&self, context: &Context, saved: &Saved) -> anyhow::Result<Imported> {
        let wanted = Wanted {
            name: Some(saved.name.clone()),
            voters: self.voters.unwrap_or(0),
            nodes: Vec::new(),
            timing: saved.timing.clone(),
            seal: Some(saved.seal.parse().context("its seal in the index is no hash")?),
        };
        import(context, &self.directory.join(&saved.file), wanted).await
    }
}
