//! How fast the log takes entries: `cargo bench -p althing-store --bench wal`.
//!
//! Groups append concurrently, each one batch after the other, each waiting for its fsync: what a
//! voter does. Prints entries per second, and how many appends shared a commit.

use althing_core::ids::CommunityId;
use althing_store::port::{Store, WalEntry};
use bytes::Bytes;
use futures::future::join_all;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const ENTRY_BYTES: usize = 256;
const TIME: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("entries of {ENTRY_BYTES} bytes, {} s each, fsync on", TIME.as_secs());
    println!("groups  batch   entries/s   commits/s  appends/commit  of batch 1, 1 group");
    let mut base = None;
    for groups in [1, 64] {
        for batch in [1, 64, 512] {
            let directory = tempfile::tempdir()?;
            let (entries, appends, commits) = runtime.block_on(measure(directory.path(), groups, batch))?;
            let base = *base.get_or_insert(entries);
            let (shared, ratio) = (appends / commits, entries / base);
            println!("{groups:>6} {batch:>6} {entries:>11.0} {commits:>11.0} {shared:>15.1} {ratio:>19.1}x");
        }
    }
    Ok(())
}

/// Entries, appends and commits per second.
async fn measure(
    directory: &std::path::Path,
    groups: u64,
    batch: u64,
) -> Result<(f64, f64, f64), Box<dyn std::error::Error>> {
    let store = Store::open(directory).await?;
    let started = Instant::now();
    let writers =
        (0..groups).map(|group| tokio::spawn(write(store.clone(), CommunityId(group), batch, started)));
    for writer in join_all(writers).await {
        writer?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let counters = store.wal.counters();
    store.close().await;
    let entries = counters.entries as f64 / seconds;
    Ok((entries, entries / batch as f64, counters.commits as f64 / seconds))
}

async fn write(store: Store, group: CommunityId, batch: u64, started: Instant) {
    let body = Bytes::from(vec![7; ENTRY_BYTES]);
    let mut next = 0;
    while started.elapsed() < TIME {
        let entries = (next..next + batch).map(|index| WalEntry { index, body: body.clone() }).collect();
        let (told, durable) = oneshot::channel();
        let on_durable = Box::new(move |result| drop(told.send(result)));
        store.wal.append(group, entries, on_durable).await.expect("the disk works");
        durable.await.expect("every append is told").expect("the disk works");
        next += batch;
    }
}
