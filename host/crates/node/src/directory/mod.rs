//! The directory: which nodes, communities, replicas and components there are.
//!
//! It is the state of the *system community*, a community like any other but for its program, which
//! is native ([`program`]). Nodes read it ([`view`]) and make themselves match it
//! ([`crate::reconcile`]); they change it by operations ([`record::DirectoryOperation`]).

pub(crate) mod program;
pub(crate) mod record;
#[cfg(test)]
mod tests;
pub(crate) mod view;
