//! `cargo xtask test`: everything that must hold, from a fresh clone, with one closing line.
//!
//! Check, components, then one build of everything (the `althing` binary, which the cluster stories
//! start, included) and one run of every test. A failing check does not keep the tests from running.

use crate::{
    check,
    libtest::Tally,
    reducers,
    steps::{self, seconds},
    workspace::Workspace,
};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead, BufReader},
    process::Command,
    time::Instant,
};

/// What `test` can be told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the tests: leaves fmt, tidy, clippy and doc out.
    #[arg(long)]
    no_check: bool,
    /// Only tests whose names contain this.
    filter: Option<String>,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let began = Instant::now();
    let workspace = Workspace::load()?;
    let mut tally = Tally::default();
    if !arguments.no_check {
        check::run_all(&workspace).into_iter().for_each(|what| tally.fail(what));
    }
    match build(&workspace) {
        Ok(()) => run_tests(&workspace, arguments, &mut tally)?,
        Err(error) => tally.fail(format!("{error:#}")),
    }
    report(&tally);
    println!("took {}\n{}", seconds(began.elapsed()), tally.summary());
    if tally.failed > 0 {
        bail!("not everything holds");
    }
    Ok(())
}

/// Components first: tests load them.
fn build(workspace: &Workspace) -> Result<()> {
    reducers::build_all(workspace)?;
    let everything = ["build", "--workspace", "--all-targets", "--locked"];
    steps::run("build", &mut steps::cargo(workspace, everything))
}

fn run_tests(workspace: &Workspace, arguments: &Arguments, tally: &mut Tally) -> Result<()> {
    steps::announce("tests");
    let mut command = steps::cargo(workspace, ["test", "--workspace", "--no-fail-fast", "--locked"]);
    command.args(&arguments.filter);
    let is_success = read_through(command, |line| {
        println!("{line}");
        tally.read(line);
    })?;
    tally.end(is_success);
    Ok(())
}

/// Runs a command and hands over its lines as they come: both outputs through one pipe, because the
/// name of a test binary is on one and its results are on the other, and their order matters.
fn read_through(mut command: Command, mut each: impl FnMut(&str)) -> Result<bool> {
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    command.stdout(writer.try_clone().context("sharing a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    // It still holds the pipe's other end; the reader would wait for it for ever.
    drop(command);
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("reading test output")?;
        each(&String::from_utf8_lossy(&line));
    }
    Ok(child.wait().context("waiting for cargo test")?.success())
}

fn report(tally: &Tally) {
    println!();
    for reason in &tally.reasons {
        println!("skipped  {reason}");
    }
    for failure in &tally.failures {
        println!("FAILED   {failure}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_arrive_in_the_order_they_were_written() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three; exit 3"]);
        let is_success = read_through(command, |line| lines.push(line.to_owned())).expect("a shell is there");
        assert_eq!(lines, ["one", "two", "three"]);
        assert!(!is_success);
    }
}
