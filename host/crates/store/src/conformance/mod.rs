//! What every store must do, as code: call the suites from the tests of an implementation.
//!
//! Failures panic, with the name of the case on the way. Nothing here needs a runtime, so the
//! suites run in the simulation too; who calls them bounds the time.

mod archive;
mod wal;

pub use archive::archive_suite;
pub use wal::wal_suite;

use crate::port::Store;
use async_trait::async_trait;

/// A store under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store, as it is now.
    fn store(&self) -> Store;

    /// Lets what was appended become durable, for a store that does not do so by itself.
    async fn settle(&self) {}

    /// Ends the store, in whatever way is under test, and comes back with what is left.
    async fn reopen(&mut self);
}

/// Runs each case on a store of its own.
macro_rules! cases {
    ($make:expr => $($case:ident),+ $(,)?) => {
        $(
            tracing::debug!(case = stringify!($case));
            $case(&mut $make().await).await;
        )+
    };
}
use cases;
