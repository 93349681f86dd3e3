//! A guest that does what no reducer may: it keeps something in its own memory.
//!
//! It declares the scope `per-batch`, so its answers depend on where batches begin. The test kit must
//! find that out. It takes over from nobody, either: its migration is always refused.

use althing_guest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

const MIGRATIONS: Value<u64> = Value::new("migrations");

static SERVED: AtomicU64 = AtomicU64::new(0);

/// What to do.
#[operation]
pub enum Operation {
    /// Answers from the state: well-behaved.
    Behave,
    /// Answers how many operations this instance has served.
    Remember,
}

/// The reducer.
pub struct Remembering;

#[reducer(scope = "per-batch")]
impl Reducer for Remembering {
    fn reduce(_: &Context, operation: Operation) -> Result<u64> {
        Ok(match operation {
            Operation::Behave => 0,
            Operation::Remember => SERVED.fetch_add(1, Ordering::Relaxed),
        })
    }

    fn migrate(_: &Context, from_version: &str, (): ()) -> Result {
        MIGRATIONS.update(|tries| tries.unwrap_or(0) + 1);
        Err(Rejected::new("never", format!("version {from_version} is remembered too well")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_migration_changes_nothing() {
        let mut host = TestHost::<Remembering>::new(()).unwrap();
        assert_eq!(host.migrate("0.9.0", &()).unwrap_err().code, "never");
        assert!(host.pairs().is_empty());
    }
}
