//! The door of a node: gRPC services, metrics and health, on one port.
//!
//! Every method is thin: decode strictly, ask the [`Gate`] who speaks, call the node's verb, encode.
//! What is refused becomes a status by the one table in `althing_proto::status`. It promises that
//! nothing a client sends makes the node hold more than a bound allows, and refuses to know what a
//! community, a program or a log is made of.
//!
//! Read [`serve`](mod@serve) first, then `communities` and `admin`; the two methods with a life of
//! their own are in `submit_stream` (on `pipeline`) and `subscribe`.

mod admin;
mod answers;
mod closing;
mod communities;
mod door;
mod export;
mod fields;
mod gate;
mod health;
mod import;
mod members;
mod pages;
mod pipeline;
mod policy;
mod probes;
mod refused;
mod requests;
mod scrape;
pub mod serve;
mod snapshots;
mod submit_stream;
mod subscribe;
mod undecodable;
mod upload;
mod watched;

pub use gate::{Believing, Gate};
pub use serve::{ServeError, ServeOptions, Services, serve, services};
