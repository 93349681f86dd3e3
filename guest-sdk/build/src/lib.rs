//! From a guest crate to a component, and from a name to a new guest crate.
//!
//! `althing build`, `althing dev`, the test kit and `xtask` all build through here, so a component
//! has one way to come about and one hash: [`build()`] is reproducible, whoever runs it and in whatever
//! directory. It knows cargo and component encoding; it knows nothing of engines and nodes.

mod artifact;
mod build;
mod project;
mod toolchain;

pub use build::{BuildError, Built, Options, build};
pub use project::{NewError, Sdk, new_project};
pub use toolchain::ToolchainError;
