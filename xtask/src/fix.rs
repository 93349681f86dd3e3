//! `cargo xtask fix`: what can be repaired without thinking. `cargo xtask check` says the rest.

use crate::{steps, workspace::Workspace};
use anyhow::Result;

/// The verb. Lints first: their repairs may want formatting.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    let clippy =
        ["clippy", "--fix", "--allow-dirty", "--allow-staged", "--workspace", "--all-targets", "--locked"];
    steps::run("clippy --fix", &mut steps::cargo(&workspace, clippy))?;
    steps::run("fmt", &mut steps::cargo(&workspace, ["fmt", "--all"]))
}
