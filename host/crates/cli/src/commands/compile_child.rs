//! `althing compile-child`: not for people. The process in which the engine compiles a component, with
//! limits of its own.

use clap::Args;
use std::process::ExitCode;

/// Compiles a component from stdin.
#[derive(Args, Debug)]
pub(crate) struct CompileChild {}

impl CompileChild {
    /// The whole life of the process.
    pub(crate) fn run(&self) -> ExitCode {
        althing_engine::compile::child_main()
    }
}
