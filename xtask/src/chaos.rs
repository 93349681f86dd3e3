//! `cargo xtask chaos`: real processes under load, with everything done to them that happens to real machines.

use crate::{reducers, steps, workspace::Workspace};
use anyhow::Result;

/// What `chaos` can be told; handed through.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What the programme is told: `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    programme: Vec<String>,
}

/// The verb. The nodes are optimised, as users' are.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    reducers::build_all(&workspace)?;
    let nodes = ["build", "--release", "--locked", "--package", "althing"];
    steps::run("nodes", &mut steps::cargo(&workspace, nodes))?;
    let program = ["run", "--release", "--locked", "--package", "althing-tests", "--bin", "chaos", "--"];
    let mut command = steps::cargo(&workspace, program);
    steps::run("chaos", command.args(&arguments.programme))
}
