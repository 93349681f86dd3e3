//! The programmes of `tests/` that go on for as long as they are told: `sim`, `nth`, `chaos`, `soak`. What they are
//! told is handed through; each lists it with `--help`.

use crate::{reducers, steps, workspace::Workspace};
use anyhow::Result;

/// What a programme can be told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What the programme is told: `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    told: Vec<String>,
}

/// A programme.
pub(crate) struct Programme {
    /// Its binary, and what it is called here.
    pub(crate) binary: &'static str,
    /// Whether it is optimised, with components to run.
    pub(crate) runs_guests: bool,
    /// Whether it starts `althing` processes.
    pub(crate) starts_nodes: bool,
}

impl Programme {
    /// The verb.
    pub(crate) fn run(&self, arguments: &Arguments) -> Result<()> {
        let workspace = Workspace::load()?;
        let mut options = vec!["--locked"];
        if self.runs_guests {
            reducers::build_all(&workspace)?;
            options.push("--release");
        }
        if self.starts_nodes {
            let build = ["build", "--package", "althing"];
            steps::run("nodes", steps::cargo(&workspace, build).args(&options))?;
        }
        let run = ["run", "--package", "althing-tests", "--bin", self.binary];
        let mut command = steps::cargo(&workspace, run);
        steps::run(self.binary, command.args(&options).arg("--").args(&arguments.told))
    }
}

/// Whole clusters in virtual time.
pub(crate) const SIM: Programme = Programme { binary: "simulate", runs_guests: true, starts_nodes: false };
/// Every call by which a store changes a file.
pub(crate) const NTH: Programme = Programme { binary: "nth", runs_guests: false, starts_nodes: false };
/// Real processes, harmed.
pub(crate) const CHAOS: Programme = Programme { binary: "chaos", runs_guests: true, starts_nodes: true };
/// Real processes, watched.
pub(crate) const SOAK: Programme = Programme { binary: "soak", runs_guests: true, starts_nodes: true };
