//! `althing build`: from a guest crate to a component.

use crate::context::Context;
use althing_build::{Options, build};
use clap::Args;
use serde::Serialize;
use std::{fmt, path::PathBuf};

const EXAMPLES: &str = "\
Examples:
  althing build
  althing build reducers/ledger --output json | jq -r .path";

/// Builds the guest crate in a folder to a component.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Build {
    /// The folder of the crate.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where cargo builds, instead of the crate's own target folder.
    #[arg(long, value_name = "FOLDER")]
    target_dir: Option<PathBuf>,
    /// Without network.
    #[arg(long)]
    offline: bool,
}

#[derive(Serialize)]
struct BuiltShown {
    path: PathBuf,
    bytes: usize,
    hash: String,
}

impl fmt::Display for BuiltShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{} bytes, {}", self.path.display(), self.bytes, self.hash)
    }
}

impl Build {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let options = Options { target_dir: self.target_dir, offline: self.offline, ..Options::default() };
        let built = build(&self.folder, &options)?;
        Ok(context.print(&BuiltShown { path: built.path, bytes: built.bytes.len(), hash: built.hash })?)
    }
}
