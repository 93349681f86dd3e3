//! What only a store on disk can do: share fsyncs, refuse a directory, and fail for good.

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

use althing_core::ids::{CommunityId, Hash, Sequence};
use althing_store::{
    port::{HistoryRecord, Store, StoreError, WalEntry},
    sqlite::{OpenError, Settings},
};
use bytes::Bytes;
use futures::future::join_all;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use std::{error::Error, os::unix::fs::FileExt, path::Path, time::Duration};
use tempfile::TempDir;
use tokio::{sync::oneshot, time::timeout};

const GROUP: CommunityId = CommunityId(1);
const PATIENCE: Duration = Duration::from_secs(60);

fn entry(index: u64) -> Vec<WalEntry> {
    vec![WalEntry { index, body: Bytes::from(vec![b'x'; 100]) }]
}

fn append(store: &Store, group: CommunityId, index: u64) -> impl Future<Output = Result<(), StoreError>> {
    let (told, durable) = oneshot::channel();
    let wal = store.wal.clone();
    async move {
        wal.append(group, entry(index), Box::new(move |result| drop(told.send(result)))).await?;
        timeout(PATIENCE, durable).await.unwrap().unwrap()
    }
}

/// What somebody does to a file behind the store's back.
async fn meddle(file: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn refusal(directory: &Path) -> OpenError {
    match timeout(PATIENCE, Store::open(directory)).await.unwrap() {
        Ok(_) => panic!("the store was opened"),
        Err(error) => error,
    }
}

/// A directory with a store in it that was closed.
async fn written() -> TempDir {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    append(&store, GROUP, 1).await.unwrap();
    store.close().await;
    directory
}

#[tokio::test]
async fn groups_that_are_ready_together_share_their_fsyncs() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    for index in 1..=10 {
        let appends = (0..64).map(|group| append(&store, CommunityId(group), index));
        for durable in join_all(appends).await {
            durable.unwrap();
        }
    }
    let counters = store.wal.counters();
    assert_eq!(counters.entries, 640);
    assert!((10..=40).contains(&counters.commits), "{counters:?}");
    store.close().await;
}

#[tokio::test]
async fn saving_what_is_committed_costs_no_fsync() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    append(&store, GROUP, 1).await.unwrap();
    let before = store.wal.counters().commits;
    for _ in 0..100 {
        store.wal.save_committed(GROUP, Some(Bytes::from_static(b"committed"))).await.unwrap();
        // The writer sees each by itself.
        tokio::task::yield_now().await;
    }
    append(&store, GROUP, 2).await.unwrap();
    assert_eq!(store.wal.counters().commits, before + 1);
    store.close().await;
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_directory() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("deep/er")).await.unwrap();
    let error = refusal(&directory.path().join("deep/er")).await;
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    store.close().await;
    Store::open(&directory.path().join("deep/er")).await.unwrap().close().await;
}

#[tokio::test]
async fn a_store_that_is_dropped_without_being_closed_writes_out_and_lets_go() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    append(&store, GROUP, 1).await.unwrap();
    store.wal.save_committed(GROUP, Some(Bytes::from_static(b"last"))).await.unwrap();
    drop(store);
    let reopened = async {
        loop {
            match Store::open(directory.path()).await {
                Ok(store) => break store,
                Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let store = timeout(PATIENCE, reopened).await.unwrap();
    let state = store.wal.state(GROUP).await.unwrap();
    assert_eq!((state.held, state.committed), (Some((1, 1)), Some(Bytes::from_static(b"last"))));
    store.close().await;
}

#[tokio::test]
async fn a_newer_format_is_refused_with_both_versions() {
    for (file, newest) in [("wal.db", 1), ("archive.db", 3)] {
        let directory = written().await;
        meddle(&directory.path().join(file), "PRAGMA user_version = 7").await;
        let error = refusal(directory.path()).await;
        assert!(matches!(error, OpenError::Newer { found: 7, known, .. } if known == newest), "{error:?}");
        let text = error.to_string();
        let up_to = format!("up to {newest}");
        assert!(text.contains("format 7") && text.contains(&up_to) && text.contains(file), "{text}");
    }
}

#[tokio::test]
async fn a_foreign_file_is_refused_and_left_as_it_is() {
    for file in ["wal.db", "archive.db"] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(file);
        std::fs::write(&path, "not a database, but somebody's letters").unwrap();
        let error = refusal(directory.path()).await;
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"not a database, but somebody's letters");

        let directory = written().await;
        meddle(&directory.path().join(file), "PRAGMA application_id = 5").await;
        let error = refusal(directory.path()).await;
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    }
    let directory = written().await;
    std::fs::rename(directory.path().join("archive.db"), directory.path().join("wal.db")).unwrap();
    assert!(matches!(refusal(directory.path()).await, OpenError::Foreign { .. }));
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_the_error_says_what_to_do() {
    for file in ["wal.db", "archive.db"] {
        let directory = written().await;
        let path = directory.path().join(file);
        let bytes = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        // The page after the header page, where tables begin.
        let page = if file == "wal.db" { 4096 } else { 16 << 10 };
        bytes.write_all_at(&[0xa5; 512], page).unwrap();
        let error = refusal(directory.path()).await;
        assert!(matches!(error, OpenError::Damaged { .. }), "{file}: {error:?}");
        assert!(error.to_string().contains("come back as a new replica"), "{error}");
    }
    let directory = written().await;
    let bytes = std::fs::read(directory.path().join("wal.db")).unwrap();
    std::fs::write(directory.path().join("wal.db"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(refusal(directory.path()).await, OpenError::Damaged { .. }));
}

#[tokio::test]
async fn a_log_with_a_gap_is_refused() {
    let directory = written().await;
    let store = Store::open(directory.path()).await.unwrap();
    append(&store, GROUP, 2).await.unwrap();
    append(&store, GROUP, 3).await.unwrap();
    store.close().await;
    meddle(&directory.path().join("wal.db"), "DELETE FROM segments WHERE first = 2").await;
    let error = refusal(directory.path()).await;
    assert!(error.to_string().contains("index 3 where 2 follows"), "{error}");
}

#[tokio::test]
async fn a_flipped_bit_in_an_entry_or_in_history_is_found_when_it_is_read() {
    let directory = written().await;
    let store = Store::open(directory.path()).await.unwrap();
    let record =
        HistoryRecord { first: Sequence(1), last: Sequence(1), body: Bytes::from_static(b"transitions") };
    store.archive.append_history(GROUP, vec![record]).await.unwrap();
    store.close().await;
    meddle(&directory.path().join("wal.db"), "UPDATE segments SET body = CAST(body || x'00' AS BLOB)").await;
    meddle(&directory.path().join("archive.db"), "UPDATE history SET body = x'00'").await;
    let store = Store::open(directory.path()).await.unwrap();
    let read = store.wal.read(GROUP, 1..2, 99).await;
    assert!(matches!(read, Err(StoreError::Damaged { .. })), "{read:?}");
    let read = store.archive.history(GROUP, Sequence(0), 99).await;
    assert!(matches!(read, Err(StoreError::Damaged { .. })), "{read:?}");
    store.close().await;
}

#[tokio::test]
async fn a_log_that_fails_says_so_once_and_for_all() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    append(&store, GROUP, 1).await.unwrap();
    let failed = tokio::spawn({
        let store = store.clone();
        async move { store.failed().await }
    });
    meddle(&directory.path().join("wal.db"), "DROP TABLE segments").await;

    append(&store, GROUP, 2).await.unwrap_err();

    let told = timeout(PATIENCE, failed).await.unwrap().unwrap();
    assert!(told.to_string().contains("the log failed"), "{told}");
    assert!(told.source().unwrap().to_string().contains("segments"), "{told:?}");
    append(&store, GROUP, 2).await.unwrap_err();
    store.wal.save_vote(GROUP, Bytes::new()).await.unwrap_err();
    store.wal.read(GROUP, 1..2, 99).await.unwrap_err();
    store.archive.put_fact("the other half", Bytes::new()).await.unwrap();
    store.close().await;
    // Nothing is tried again on this disk by this process.
    assert!(matches!(refusal(directory.path()).await, OpenError::Locked { .. }));
}

#[tokio::test]
async fn an_archive_that_fails_says_so_once_and_for_all() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    meddle(&directory.path().join("archive.db"), "DROP TABLE history").await;
    let record = HistoryRecord { first: Sequence(1), last: Sequence(1), body: Bytes::new() };
    // Nobody waits for it, so it is the failure that tells.
    store.archive.append_history(GROUP, vec![record]).await.unwrap();
    let told = timeout(PATIENCE, store.failed()).await.unwrap();
    assert!(told.to_string().contains("the archive failed"), "{told}");
    store.archive.flush().await.unwrap_err();
    store.archive.component(Hash::default()).await.unwrap_err();
    append(&store, GROUP, 1).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_log_much_larger_than_its_cache_reads_back_whole() {
    let directory = TempDir::new().unwrap();
    let settings = Settings { wal_cache_bytes: 1 << 20, ..Settings::default() };
    let store = Store::open_with(directory.path(), settings).await.unwrap();
    let body = |index: u64| Bytes::from(vec![index as u8; 100 << 10]);
    for first in (0..100).step_by(20) {
        let entries = (first..first + 20).map(|index| WalEntry { index, body: body(index) }).collect();
        let (told, durable) = oneshot::channel();
        store.wal.append(GROUP, entries, Box::new(move |result| drop(told.send(result)))).await.unwrap();
        timeout(PATIENCE, durable).await.unwrap().unwrap().unwrap();
    }
    let (mut next, mut reads) = (0, 0);
    while next < 100 {
        let entries = store.wal.read(GROUP, next..u64::MAX, 3 << 20).await.unwrap();
        assert!(entries.iter().all(|entry| entry.body == body(entry.index)));
        assert_eq!(entries.first().unwrap().index, next);
        next = entries.last().unwrap().index + 1;
        reads += 1;
    }
    assert_eq!(reads, 4, "30 entries fit into 3 MiB");
    store.close().await;
}
