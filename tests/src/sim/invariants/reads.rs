//! A read that asked for less than the newest got what it asked for: nothing older than the sequence it
//! named, and in any case a value that the counter had at the sequence of the answer.

use super::{super::record::Seen, reckon};

pub(super) fn check(seen: &Seen) -> Result<(), String> {
    let counters = reckon(seen);
    for read in &seen.older_reads {
        if read.position < read.at_least {
            return Err(format!("{read:?} is older than it may be"));
        }
        let counter = counters.get(&read.key);
        let stood = counter.and_then(|counter| counter.range(..=read.position).next_back());
        let expected = stood.map_or(0, |(_, &value)| value);
        if read.value != expected {
            return Err(format!("{read:?}, but the counter stood at {expected} there"));
        }
    }
    Ok(())
}
