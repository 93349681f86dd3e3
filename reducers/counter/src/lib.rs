//! The smallest reducer: counters that add up.
//!
//! State: `total/NAME`, one key for each counter.

use althing_guest::prelude::*;

/// Each counter's total.
pub const TOTALS: Map<String, i64> = Map::new("total");

/// What a client can do.
#[operation]
pub enum Operation {
    /// Adds to a counter, which begins at zero.
    Add {
        /// The counter.
        name: String,
        /// How much; may be negative.
        amount: i64,
    },
}

/// What a client can ask.
#[query]
pub enum Query {
    /// A counter's total; zero when nothing was ever added.
    Total {
        /// The counter.
        name: String,
    },
}

/// What subscribers are told.
#[event]
pub enum Event {
    /// Something was added.
    Added {
        /// The counter.
        name: String,
        /// What it stands at now.
        total: i64,
    },
}

/// How the counter says no.
#[derive(Debug, Rejection)]
pub enum Refusal {
    /// The total would not fit.
    #[reject("{name:?} stands at {total}; adding {amount} would leave the range of 64 bits")]
    Overflow {
        /// The counter.
        name: String,
        /// What it stands at.
        total: i64,
        /// What was to be added.
        amount: i64,
    },
}

/// The reducer.
pub struct Counter;

#[reducer(scope = "per-batch")]
impl Reducer for Counter {
    type Event = Event;

    fn reduce(_: &Context, Operation::Add { name, amount }: Operation) -> Result<i64, Refusal> {
        let total = TOTALS.get_or_default(&name);
        let Some(sum) = total.checked_add(amount) else {
            return Err(Refusal::Overflow { name, total, amount });
        };
        TOTALS.set(&name, &sum);
        Self::emit(Event::Added { name, total: sum });
        Ok(sum)
    }

    fn query(_: &Context, Query::Total { name }: Query) -> Result<i64, Refusal> {
        Ok(TOTALS.get_or_default(&name))
    }
}
