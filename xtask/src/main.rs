//! Every developer command: `cargo xtask VERB`. One verb, one file; those that only hand over to a programme
//! of `tests/` share one.
//!
//! What is here may not need the house to compile: the verb that says what is wrong with a tree has
//! to run on a tree with something wrong. So everything is done through `cargo` and the built
//! `althing` binary, and nothing of `host/` is linked.

mod check;
mod demo;
mod exam;
mod fix;
mod fuzz;
mod libtest;
mod programme;
mod reducers;
mod steps;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Every developer command of Althing.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Three nodes, a real community's history, a killed leader: does everything agree?
    Demo(demo::Arguments),
    /// Everything that must hold: check, reducers, and every test of the workspace.
    Test(test::Arguments),
    /// Formatting, lints, documentation, tidy. Changes nothing.
    Check,
    /// Repairs what can be repaired without thinking: formatting and simple lints.
    Fix,
    /// Looks for bytes that break what takes bytes from outside.
    Fuzz(fuzz::Arguments),
    /// Every call by which a store changes a file, made to fail, or to be the last one.
    Nth(programme::Arguments),
    /// Real processes under load, with everything done to them that happens to real machines.
    Chaos(programme::Arguments),
    /// Builds every reducer and test guest to a component under target/components.
    Reducers,
    /// Real processes under mixed load: does anything that they hold go up?
    Soak(programme::Arguments),
    /// Whole clusters in virtual time, shaken by everything that can go wrong.
    Sim(programme::Arguments),
    /// Breaks a copy of the tree in known ways, and sees whether the checks find it.
    Exam(exam::Arguments),
    /// The house rules: arrows, owners, sizes, names, documentation, links.
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Check => check::run(),
        Verb::Fix => fix::run(),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::Nth(arguments) => programme::NTH.run(&arguments),
        Verb::Chaos(arguments) => programme::CHAOS.run(&arguments),
        Verb::Reducers => reducers::run(),
        Verb::Sim(arguments) => programme::SIM.run(&arguments),
        Verb::Exam(arguments) => exam::run(&arguments),
        Verb::Soak(arguments) => programme::SOAK.run(&arguments),
        Verb::Tidy => tidy::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
