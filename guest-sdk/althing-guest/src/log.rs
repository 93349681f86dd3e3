//! Words for the operator of a node. They are no part of the history.

use crate::host;

/// How loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author.
    Debug,
    /// For who is curious.
    Info,
    /// Something is odd.
    Warn,
    /// Something is broken.
    Error,
}

/// Writes a line to the node's log; in a test, to its output. See [`crate::info!`] and the others.
pub fn log(level: Level, message: &str) {
    host::log(level, message);
}

/// Writes a line for the author to the node's log: `debug!("saw {name}")`.
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::log($crate::Level::Debug, &::std::format!($($text)*)) };
}

/// Writes a line to the node's log: `info!("opened {name}")`.
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log($crate::Level::Info, &::std::format!($($text)*)) };
}

/// Writes a warning to the node's log: `warn!("{name} is empty")`.
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::log($crate::Level::Warn, &::std::format!($($text)*)) };
}
