//! Answers on stdout: a text for people, or one JSON value a line for programs.

use clap::ValueEnum;
use serde::Serialize;
use std::{
    fmt,
    io::{self, Write as _},
};

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: one JSON value a line.
    Json,
}

/// Prints an answer. A text that ends without a line's end gets one; an empty text is not printed.
pub(crate) fn print(output: Output, shown: &(impl Serialize + fmt::Display)) -> io::Result<()> {
    let text = match output {
        Output::Text => shown.to_string(),
        Output::Json => serde_json::to_string(shown)?,
    };
    let text = text.trim_end_matches('\n');
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}
