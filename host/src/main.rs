//! The `althing` binary: everything is in `althing-cli`.

use std::process::ExitCode;

/// Operations allocate and free across threads, which the C library's allocator does slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    althing_cli::run()
}
