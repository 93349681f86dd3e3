//! What may be on disk after a play that was cut short.

use super::{
    How, Played,
    scenario::{Step, steps, take},
    view::{chain, log, shelves, short},
};
use althing_store::{memory::MemoryStore, port::Store};
use std::path::Path;

/// The kind of a call that makes a file durable, as the interposer numbers them. Of a folder it is another: SQLite
/// does not look at what becomes of that, and the store syncs its folder itself before it is open.
const SYNC: u64 = 3;

/// Looks at what a play has left in `data`.
///
/// # Errors
/// What must not be.
pub fn judge(data: &Path, played: &Played, at: u64, how: How) -> Result<(), String> {
    went_on_after_a_failed_fsync(played, at, how)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(look(data, played))
}

/// A failed fsync is never tried again: the kernel may have dropped what it could not write.
fn went_on_after_a_failed_fsync(played: &Played, at: u64, how: How) -> Result<(), String> {
    let failed = matches!(how, How::Fail | How::Full) && played.kind == SYNC;
    // What fails while a store is closed was durable in the log before: whoever opens it again begins anew.
    let said = played.words.lines().filter_map(|line| line.split_once(' '));
    let said = said.filter_map(|(what, count)| Some((what, count.parse::<u64>().ok()?)));
    let closing = said.into_iter().find(|&(_, count)| count >= at).is_some_and(|(what, _)| what == "closed");
    let after = played.counts.iter().filter(|&&count| !closing && count > at).count();
    // The step during which it failed may have been acknowledged by what was durable before.
    if failed && after > 1 {
        return Err(format!("{after} steps were acknowledged after an fsync had failed:\n{}", played.words));
    }
    Ok(())
}

async fn look(data: &Path, played: &Played) -> Result<(), String> {
    let steps = steps();
    let acknowledged = played.acknowledged;
    let mut logs = Vec::new();
    let mut archives = Vec::new();
    let twin = MemoryStore::new().store();
    for step in std::iter::once(&Step::Reopen).chain(&steps) {
        take(&twin, step).await.map_err(|error| format!("the twin fails at {step:?}: {error}"))?;
        logs.push(log(&twin).await?);
        archives.push(shelves(&twin).await?);
    }
    let store = Store::open(data).await.map_err(|error| {
        format!("after {acknowledged} steps it does not open: {}\n{}", chain(&error), played.words)
    })?;
    // What was under way may have come to be; and of the archive, what was not settled may not.
    let under_way = (acknowledged + 1).min(steps.len());
    let settled = steps[..acknowledged].iter().rposition(Step::settles_archive).map_or(0, |last| last + 1);
    let (found_log, found_shelves) = (log(&store).await?, shelves(&store).await?);
    let at_log = (acknowledged..=under_way).rev().find(|&at| logs[at] == found_log);
    let at_archive = (settled..=under_way).rev().find(|&at| archives[at] == found_shelves);
    let (Some(at_log), Some(at_archive)) = (at_log, at_archive) else {
        let (what, found, wanted) = match at_log {
            None => ("log", format!("{found_log:?}"), format!("{:?}", logs[acknowledged])),
            Some(_) => ("archive", format!("{found_shelves:?}"), format!("{:?}", archives[acknowledged])),
        };
        let found = short(&found);
        return Err(format!(
            "after {acknowledged} steps the {what} is none that it may be:\n{found}\ninstead of\n{}\n{}",
            short(&wanted),
            played.words
        ));
    };
    go_on(&store, &steps, at_log, at_archive).await?;
    let (ended_log, ended_shelves) = (log(&store).await?, shelves(&store).await?);
    store.close().await;
    if Some(&ended_log) != logs.last() || Some(&ended_shelves) != archives.last() {
        return Err(format!("going on from step {acknowledged} it comes to another end"));
    }
    Ok(())
}

/// Does what is left to do, of each half.
async fn go_on(store: &Store, steps: &[Step], at_log: usize, at_archive: usize) -> Result<(), String> {
    for (place, step) in steps.iter().enumerate() {
        let is_done = if step.is_of_log() { place < at_log } else { place < at_archive };
        if !is_done {
            take(store, step).await.map_err(|error| format!("going on with {step:?}: {}", chain(&error)))?;
        }
    }
    Ok(())
}
