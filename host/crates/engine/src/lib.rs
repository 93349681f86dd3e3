//! Wasm: from an uploaded component to a program that core's machine runs.
//!
//! The sole owner of wasmtime. What it promises: the same component, call, overlay and fuel give the
//! same answer on every replica with the same [`Engine::fingerprint`] (promises P2, P11); whatever a
//! guest does, recursion without end included, is an outcome, and a fault is always the host's (P3).
//! It refuses to know clocks, networks, communities and consensus; [`admission`] and the run of a guest ask the
//! machine nothing, only [`compile`] and the cache do I/O.
//!
//! Read `engine.rs` first, then `admission`, `depth`, `run`, `host` and `verdict`.

#![deny(clippy::float_arithmetic)]

pub mod admission;
mod answer;
mod artifact;
mod bindings;
mod cache;
pub mod compile;
mod config;
mod costs;
mod depth;
mod describe;
mod engine;
mod fingerprint;
mod frames;
mod host;
mod limiter;
mod link;
mod log_sink;
mod program;
mod query;
mod rlimit;
mod run;
mod shelf;
pub mod thread;
mod verdict;

pub use cache::CacheError;
pub use config::Optimization;
pub use describe::{BadDescription, Description, ReducerSchemas, Scope};
pub use engine::{Engine, EngineError, EngineOptions, PrepareError, Prepared};
pub use frames::LargeFrame;
pub use program::WasmProgram;
pub use query::{QueryEnd, QueryProgram};
