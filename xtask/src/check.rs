//! `cargo xtask check`: formatting, tidy, lints, documentation. Changes nothing; every step runs,
//! also after one has failed, so that one run shows everything.

use crate::{steps, tidy, workspace::Workspace};
use anyhow::{Result, bail};

/// The book of the code is for those who work on it: private items are in it and may be linked to.
const RUSTDOC_FLAGS: &str = "-D warnings -A rustdoc::private-intra-doc-links";

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
                [
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--keep-going",
                    "--locked",
                    "--",
                    "-D",
                    "warnings",
                ],
            ),
        ),
        steps::run(
            "doc",
            steps::cargo(
                workspace,
                ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"],
            )
            .env("RUSTDOCFLAGS", RUSTDOC_FLAGS),
        ),
    ];
    steps.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect()
}
