//! `cargo xtask nth`: every call by which a store changes a file, made to fail, or to be the last one.

use crate::{steps, workspace::Workspace};
use anyhow::Result;

/// What `nth` can be told; handed through.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What the programme is told: `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    programme: Vec<String>,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    let program = ["run", "--locked", "--package", "althing-tests", "--bin", "nth", "--"];
    let mut command = steps::cargo(&workspace, program);
    steps::run("every call", command.args(&arguments.programme))
}
