//! The Rust client of Althing: connects to any node, tries the others, and sends again only what is
//! safe to send again.
//!
//! A node that does not lead a community forwards to the one that does, so following leaders is no
//! more than going on to the next address when one does not answer.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use althing_client::{Actor, Client, Consistency};
//!
//! let client = Client::connect(vec!["127.0.0.1:7411".into()]).await?;
//! let community = client.community("counter");
//! let actor = Actor { id: "ada".into(), roles: vec![] };
//! let session = community.open_session(actor.clone()).await?;
//! let submitted = session.submit(r#"{"op":"add","name":"a","amount":1}"#).await?;
//! println!("sequence {}", submitted.receipt.sequence);
//! let queried = community.query(actor, r#"{"query":"total","name":"a"}"#, Consistency::Linearizable).await?;
//! println!("{:?}", queried.answer);
//! # Ok(()) }
//! ```
//!
//! Nothing here starts a task: a [`Pipeline`] and a [`Subscription`] move when they are asked for
//! the next, and stop when they are dropped.

mod admin;
mod backoff;
mod community;
mod error;
mod export;
mod import;
mod nodes;
mod numbers;
mod pipeline;
mod session;
mod subscription;

pub use admin::{Admin, Installation, NewCommunity};
pub use althing_core::actor::Actor;
pub use althing_proto::{Consistency, v1};
pub use community::{Answer, Community, Held, Page, Queried};
pub use error::{CallError, ConnectError, PipelineError, SubmitError, SubscribeError};
pub use export::Export;
pub use import::{CHUNKS_BYTES_MAX, CHUNKS_MAX, HISTORY_PAGES_MAX, NewImport};
pub use nodes::{Client, Options};
pub use pipeline::{Answered, Pipeline};
pub use session::{Session, Submitted};
pub use subscription::Subscription;
