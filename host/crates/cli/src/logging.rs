//! Where traces go: to stderr, in the format asked for.

use crate::{arguments::Global, output::Output};
use anyhow::Context as _;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;

/// Begins to log. A server says what it does; a client only what is wrong.
pub(crate) fn begin(global: &Global, server: bool) -> anyhow::Result<()> {
    // openraft warns of what it mends by itself: peers that are away, votes that crossed.
    let default = if server { "info,openraft=error" } else { "warn,openraft=error" };
    let filter = global.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log {filter:?} is no filter"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match global.log_format {
        Output::Text => subscriber.with_ansi(io::stderr().is_terminal()).init(),
        Output::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}
