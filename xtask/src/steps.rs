//! A step: one command, run in the workspace's root, announced, timed, and judged by its exit.

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    process::Command,
    time::{Duration, Instant},
};

/// Says that a step begins.
pub(crate) fn announce(name: &str) {
    eprintln!("\n── {name}");
}

/// A `cargo` command in the workspace's root, with the toolchain that runs this.
pub(crate) fn cargo<I, S>(workspace: &Workspace, arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace.root());
    command
}

/// Runs a step whose output the reader sees as it comes.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<()> {
    announce(name);
    let began = Instant::now();
    let status = command.status().with_context(|| format!("{name}: starting {command:?}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    eprintln!("   {name}: done in {}", seconds(began.elapsed()));
    Ok(())
}

/// Runs a step that is no command of its own.
pub(crate) fn run_here(name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
    announce(name);
    let began = Instant::now();
    step()?;
    eprintln!("   {name}: done in {}", seconds(began.elapsed()));
    Ok(())
}

/// A duration as people read it.
pub(crate) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_said_in_minutes_from_one_on() {
        assert_eq!(seconds(Duration::from_millis(1540)), "1.5 s");
        assert_eq!(seconds(Duration::from_secs(61)), "1 min 01 s");
    }

    #[test]
    fn a_step_that_exits_with_an_error_is_an_error_that_names_it() {
        let error = run("nothing good", &mut Command::new("false")).expect_err("`false` fails");
        assert!(error.to_string().contains("nothing good failed"), "{error}");
        assert!(run("all good", &mut Command::new("true")).is_ok());
    }
}
