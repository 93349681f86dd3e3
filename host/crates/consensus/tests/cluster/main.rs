//! Groups of several nodes: in a simulated network, and over real connections.
#![expect(clippy::unwrap_used, reason = "what serves tests only is a test")]

mod groups;
mod seeds;
mod support;
mod wire;
