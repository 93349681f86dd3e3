//! `cargo xtask check`: formatting, tidy, lints, documentation. Changes nothing; every step runs,
//! also after one has failed, so that one run shows everything.

use crate::{steps, tidy, workspace::Workspace};
use anyhow::{Result, bail};

/// The verb.
pub(crate) fn run() -> Result<()> {
    let failed = run_all(&Workspace::load()?);
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} (cargo xtask fix repairs formatting and simple lints)", failed.join("; "))
}

/// Runs every step; what failed. The cheap ones come first.
pub(crate) fn run_all(workspace: &Workspace) -> Vec<String> {
    let steps = [
        steps::run("fmt", &mut steps::cargo(workspace, ["fmt", "--all", "--check"])),
        steps::run_here("tidy", tidy::run),
        steps::run(
            "clippy",
            &mut steps::cargo(
                workspace,
                ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
            ),
        ),
        steps::run(
            "doc",
            steps::cargo(
                workspace,
                ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"],
            )
            .env("RUSTDOCFLAGS", "-D warnings"),
        ),
    ];
    steps.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect()
}
