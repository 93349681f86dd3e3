//! The engine from outside: components in, outcomes out.

mod admission;
mod asking;
mod determinism;
mod hostile;
mod running;
mod support;
