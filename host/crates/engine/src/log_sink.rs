//! Where `log.write` goes: the node's own log, within bounds, without any effect on outcomes.

use crate::bindings::log::Level;
use althing_core::program::Context;

/// Most lines of one run that are kept.
const LINES_MAX: u32 = 64;
/// Most bytes of one line that are kept.
const LINE_BYTES_MAX: usize = 4096;

/// Passes lines on until the run has had its share.
#[derive(Debug, Default)]
pub(crate) struct LogSink {
    community: u64,
    sequence: u64,
    lines: u32,
}

impl LogSink {
    /// The sink of one run.
    pub(crate) const fn new(context: &Context) -> Self {
        Self { community: context.community.0, sequence: context.sequence.0, lines: 0 }
    }

    pub(crate) fn write(&mut self, level: Level, message: &str) {
        self.lines = self.lines.saturating_add(1);
        if self.lines > LINES_MAX {
            return;
        }
        let (community, sequence) = (self.community, self.sequence);
        let message = &message[..message.floor_char_boundary(LINE_BYTES_MAX)];
        match level {
            Level::Debug => tracing::debug!(target: "guest", community, sequence, "{message}"),
            Level::Info => tracing::info!(target: "guest", community, sequence, "{message}"),
            Level::Warn => tracing::warn!(target: "guest", community, sequence, "{message}"),
            Level::Error => tracing::error!(target: "guest", community, sequence, "{message}"),
        }
        if self.lines == LINES_MAX {
            tracing::warn!(target: "guest", community, sequence, "further lines of this run are dropped");
        }
    }
}
