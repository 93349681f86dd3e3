//! A check: built first, so that what does not build is not taken for what is found; then run, for a bounded
//! time.

use super::scratch::Scratch;
use anyhow::{Context, Result, ensure};
use std::{
    fmt,
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// How long a check may run once it is built.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How often to look whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What the simulator exits with when it has found a violation.
const VIOLATED: i32 = 1;

/// What a check said of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It found nothing.
    Holds,
    /// It found something.
    Fails,
    /// It did not end.
    Hangs,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "finds nothing",
            Self::Fails => "fails",
            Self::Hangs => "does not end",
        })
    }
}

/// What a check said of a tree, and how long it took to, once it was built.
#[derive(Clone, Copy)]
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

/// Builds and runs a check in the copy.
pub(super) fn run(scratch: &Scratch, check: &str) -> Result<Ran> {
    let mut words = check.split_whitespace();
    let kind = words.next().unwrap_or_default();
    if kind == "sim" {
        build(cargo(scratch).args([
            "build",
            "--release",
            "--locked",
            "--package",
            "althing-tests",
            "--bin",
            "simulate",
        ]))?;
        let mut simulator = scratch.command(scratch.simulator());
        let began = Instant::now();
        let ended = ends(simulator.args(["--until-violated", "--minutes", "14"]).args(words))?;
        // Too little may happen in so few seeds; here only what is violated counts.
        let outcome = judge(ended, |status| status.code() != Some(VIOLATED));
        return Ok(Ran { outcome, took: began.elapsed() });
    }
    let words: Vec<&str> = words.collect();
    if words.contains(&"althing-tests") {
        // Its stories start the binary, which is not of their package.
        build(cargo(scratch).args(["build", "--locked", "--package", "althing"]))?;
    }
    build(cargo(scratch).args(&words).arg("--no-run"))?;
    let began = Instant::now();
    let outcome = judge(ends(cargo(scratch).args(&words))?, ExitStatus::success);
    Ok(Ran { outcome, took: began.elapsed() })
}

fn judge(ended: Option<ExitStatus>, holds: impl Fn(&ExitStatus) -> bool) -> Outcome {
    match ended {
        None => Outcome::Hangs,
        Some(status) if holds(&status) => Outcome::Holds,
        Some(_) => Outcome::Fails,
    }
}

fn cargo(scratch: &Scratch) -> Command {
    scratch.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn build(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "the copy does not build: {command:?}");
    Ok(())
}

/// How a command ended; none if it did not in time, and was stopped.
fn ends(command: &mut Command) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().context("waiting for a check")? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK_EVERY);
    }
    child.kill().context("stopping a check")?;
    child.wait().context("waiting for a check")?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_violation_counts_as_found_by_the_simulator() {
        let ended = |code: &str| {
            ends(Command::new("sh").args(["-c", &format!("exit {code}")])).expect("a shell is here")
        };
        let judged = |code| judge(ended(code), |status| status.code() != Some(VIOLATED));
        assert_eq!([judged("0"), judged("1"), judged("2")], [Outcome::Holds, Outcome::Fails, Outcome::Holds]);
        assert_eq!(judge(None, ExitStatus::success), Outcome::Hangs);
    }
}
