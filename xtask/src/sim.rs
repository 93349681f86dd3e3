//! `cargo xtask sim`: the simulator, optimised, for as long as it is told.

use crate::{reducers, steps, workspace::Workspace};
use anyhow::Result;

/// What `sim` can be told; handed through.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What the simulator is told: `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    simulator: Vec<String>,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    reducers::build_all(&workspace)?;
    let program = ["run", "--release", "--locked", "--package", "althing-tests", "--bin", "simulate", "--"];
    let mut command = steps::cargo(&workspace, program);
    steps::run("simulation", command.args(&arguments.simulator))
}
