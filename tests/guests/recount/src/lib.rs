//! What `counter` may become one day: it also knows the sum of all counters, and keeps them elsewhere.
//!
//! State: `sum`, and `count/NAME`, one key for each counter. It takes over from version 0.1.0, which
//! kept `total/NAME`, by moving every counter and adding them up.

use althing_guest::prelude::*;

/// The counters of version 0.1.0.
const OLD_TOTALS: Map<String, i64> = Map::new("total");
const COUNTS: Map<String, i64> = Map::new("count");
const SUM: Value<i64> = Value::new("sum");

/// What a client can do: as before.
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
    /// The sum of all counters.
    Sum,
}

/// How it says no.
#[derive(Debug, Rejection)]
pub enum Refusal {
    /// Something would not fit.
    #[reject("{name:?}, or the sum of all, would leave the range of 64 bits")]
    Overflow {
        /// The counter.
        name: String,
    },
    /// It knows nothing of that version's state.
    #[reject("it takes over from version 0.1.0, not from {version}")]
    UnknownVersion {
        /// The version in force.
        version: String,
    },
}

/// The reducer.
pub struct Recount;

#[reducer(scope = "per-batch")]
impl Reducer for Recount {
    fn reduce(_: &Context, Operation::Add { name, amount }: Operation) -> Result<i64, Refusal> {
        let count = COUNTS.get_or_default(&name).checked_add(amount);
        let sum = SUM.get_or_default().checked_add(amount);
        let (Some(count), Some(sum)) = (count, sum) else { return Err(Refusal::Overflow { name }) };
        COUNTS.set(&name, &count);
        SUM.set(&sum);
        Ok(count)
    }

    fn query(_: &Context, query: Query) -> Result<i64, Refusal> {
        Ok(match query {
            Query::Total { name } => COUNTS.get_or_default(&name),
            Query::Sum => SUM.get_or_default(),
        })
    }

    fn migrate(_: &Context, from_version: &str, (): ()) -> Result<(), Refusal> {
        if from_version != "0.1.0" {
            return Err(Refusal::UnknownVersion { version: from_version.to_owned() });
        }
        let mut sum = 0_i64;
        for (name, total) in OLD_TOTALS.iter() {
            OLD_TOTALS.delete(&name);
            COUNTS.set(&name, &total);
            sum = sum.checked_add(total).ok_or(Refusal::Overflow { name })?;
        }
        SUM.set(&sum);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_over_from_the_first_version_only() {
        let mut host = TestHost::<Recount>::new(()).unwrap();
        assert_eq!(host.migrate("0.3.0", &()).unwrap_err().code, "unknown-version");
        host.migrate("0.1.0", &()).unwrap();
    }
}
