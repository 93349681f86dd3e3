//! The `althing` binary: everything is in `althing-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    althing_cli::run()
}
