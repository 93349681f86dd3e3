//! The author's last test: the built component, in the real machine and the real engine.
//!
//! ```no_run
//! use althing_testkit::{Setup, json};
//!
//! let mut kit = Setup::of(env!("CARGO_MANIFEST_DIR")).start().unwrap();
//! assert_eq!(kit.submit(&json!({"op": "add", "name": "votes", "amount": 2})), Ok(json!(2)));
//! ```
//!
//! Every operation runs twice, in two communities that differ in one thing: in one, each call gets a
//! fresh instance of the reducer; in the other, one instance serves them all, as within a batch. A
//! transition that differs is a panic that shows both: the reducer has kept something in its own
//! memory, and would not survive the end of a batch. Only fuel may differ, and with it the digest.
//!
//! What it does not do: consensus, storage, networks. Those are the node's.

mod error;
mod kit;
mod setup;
mod world;

pub use althing_core::transition::{Outcome, Transition};
pub use error::{Refused, SetupError};
pub use kit::{Fired, Kit};
pub use serde_json::{Value, json};
pub use setup::Setup;
