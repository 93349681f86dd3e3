//! What a reducer author imports: typed operations, typed state, and a host in memory for tests.
//!
//! A whole reducer:
//!
//! ```
//! use althing_guest::prelude::*;
//!
//! const TOTALS: Map<String, i64> = Map::new("total");
//!
//! #[operation]
//! enum Operation {
//!     Add { name: String, amount: i64 },
//! }
//!
//! struct Counter;
//!
//! #[reducer]
//! impl Reducer for Counter {
//!     fn reduce(_: &Context, Operation::Add { name, amount }: Operation) -> Result<i64> {
//!         Ok(TOTALS.update(&name, |total| total.unwrap_or(0) + amount))
//!     }
//! }
//!
//! let mut host = TestHost::<Counter>::new(()).unwrap();
//! assert_eq!(host.submit(Operation::Add { name: "votes".into(), amount: 2 }), Ok(2));
//! ```
//!
//! Clients see JSON: `{"op": "add", "name": "votes", "amount": 2}` is answered with `2`. What does
//! not fit the types is rejected as `invalid-operation` before the reducer sees it, and the types
//! are described to clients as JSON Schema.
//!
//! Promises: a component built from this imports `althing:*` and nothing else, and everything it
//! can see is the same on every replica. What this crate does not know: networks, nodes, batches.

extern crate self as althing_guest;

#[cfg(target_arch = "wasm32")]
pub mod component;
mod context;
mod data;
mod describe;
pub mod dispatch;
mod host;
pub mod key;
mod log;
mod map;
mod pages;
mod reducer;
mod rejection;
mod set;
mod source;
#[cfg(not(target_arch = "wasm32"))]
mod test_host;
mod validator;
mod value;

pub use althing_guest_macros::{Key, Rejection, config, data, event, operation, query, reducer, validator};
pub use context::{Actor, Context, OperationId, Timestamp};
pub use data::{Data, Nothing};
pub use describe::Description;
pub use log::{Level, log};
pub use map::Map;
pub use pages::{Keys, Pairs};
pub use reducer::{Migrate, Reducer, Scope};
pub use rejection::{Rejected, Rejection, Result};
pub use set::Set;
pub use source::{Before, Now, Source};
#[cfg(not(target_arch = "wasm32"))]
pub use test_host::{Emitted, TestHost};
pub use validator::{Change, Validator, Write};
pub use value::Value;

/// `use althing_guest::prelude::*;` is all a reducer needs.
pub mod prelude {
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::TestHost;
    pub use crate::{
        Actor, Change, Context, Key, Map, Migrate, Nothing, Reducer, Rejected, Rejection, Result, Set,
        Timestamp, Validator, Value, config, data, debug, event, info, operation, query, reducer, validator,
        warn,
    };
}

/// What the macros' output names. No part of the contract.
#[doc(hidden)]
pub mod __private {
    pub use schemars;
    pub use serde;
}
