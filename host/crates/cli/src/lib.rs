//! The command line: what is asked, who carries it out, how answers and errors are shown.
//!
//! One file per command in `commands/`; what a command prints is a shape in `show/`, which is both a
//! text for people and JSON for programs. Nothing here decides anything about communities.

mod archive;
mod arguments;
mod commands;
mod context;
mod failure;
mod house;
mod logging;
mod opening;
mod output;
mod progress;
mod show;

use arguments::{Arguments, Global};
use clap::Parser as _;
use commands::{Command, Verb};
use context::Context;
use std::process::ExitCode;

/// Parses the arguments of the process, does what they ask, and says how it went.
#[must_use]
pub fn run() -> ExitCode {
    let Arguments { global, command } = Arguments::parse();
    let verb = match command {
        Command::Verb(verb) => *verb,
        // It takes limits before it does anything: no threads, no log.
        Command::CompileChild(child) => return child.run(),
    };
    let output = global.output;
    match carry_out(global, verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::tell(&error, output),
    }
}

fn carry_out(global: Global, verb: Verb) -> anyhow::Result<()> {
    logging::begin(&global, verb.is_server())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(verb.run(&Context::new(global)))
}

/// The whole command line as its parser knows it: for tests and for completions.
#[must_use]
pub fn parser() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}
