//! Stories that need what a machine may lack.

use std::io::Write as _;

/// Whether a story is to be skipped. Says so if it is, where `cargo xtask test` counts it.
///
/// # Panics
/// When standard error is gone.
#[must_use]
pub fn skipped(story: &str, works: Result<(), String>) -> bool {
    let Err(why) = works else { return false };
    // Not by `eprintln!`, which libtest keeps to itself.
    writeln!(std::io::stderr(), "\nskipped: {story}: {why}").expect("standard error takes a line");
    true
}
