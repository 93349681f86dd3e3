//! What moves on the terminal, if there is one, while there is nothing to tell.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often it moves.
const TICK: Duration = Duration::from_millis(120);

/// A spinner on stderr, with what is being done.
pub(crate) fn working(what: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is sound");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(what);
    bar.enable_steady_tick(TICK);
    bar
}
