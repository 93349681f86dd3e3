//! `althing doctor`: what a data directory holds, and what a node would do with it. Needs no node, and
//! changes nothing.

use crate::{context::Context, house, progress::working, show::doctor::Diagnosis};
use althing_node::{Findings, Look};
use althing_store::sqlite::{
    free_bytes,
    inspect::{self, Inspection},
};
use anyhow::{Context as _, bail};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  althing doctor ./node2
  althing doctor ./node2 --deep
  althing doctor ./node2 --output json | jq .on_start.text

It changes nothing. It says what is there, what is damaged, and what `althing serve` will do: which
snapshot each replica restores, what it executes again, what cannot be started. The log, manifests and
components are read and checked; with --deep so are all chunks and the history. It ends with 0 if
nothing is damaged, with 1 if something is, and with 4 if a node runs on the directory.";

/// Explains a data directory while no node runs on it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// The data directory of a node.
    data: PathBuf,
    /// Reads every byte: hashes all chunks and all history again.
    #[arg(long)]
    deep: bool,
    /// Where copies are made of what a killed node left, if not in the system's temporary folder.
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
}

impl Doctor {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let scratch = match &self.scratch {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir(),
        };
        let scratch = scratch.context("there is no place for copies")?;
        let bar = working(format!("reading {}", self.data.display()));
        let inspection = Inspection::of(&self.data, scratch.path()).await?;
        let engine = house::engine(scratch.path().join("compiled"))?.fingerprint();
        let look = Look { engine, is_deep: self.deep };
        let findings =
            Findings::of(&inspection, look, |what| bar.set_message(format!("reading {what}"))).await;
        let files = inspect::files(&self.data)?;
        let free = free_bytes(&self.data).ok();
        let diagnosis =
            Diagnosis::new(self.data.display().to_string(), self.deep, files, free, &inspection, &findings);
        inspection.close().await;
        bar.finish_and_clear();
        context.print(&diagnosis)?;
        match &findings.damages[..] {
            [] => Ok(()),
            [only] => bail!("{} is damaged: {only}", self.data.display()),
            [first, others @ ..] => {
                bail!("{} is damaged in {} places: {first}; …", self.data.display(), others.len() + 1)
            }
        }
    }
}
