//! Data directories of earlier formats, as texts: this build opens them, whatever it writes itself (promise P10).
//!
//! `golden/wal-1.sql` and `golden/archive-1.sql` are what the files held that the first build wrote, tables
//! and rows; `golden/wal-1.mark` is the mark beside them, its first slot in hexadecimal. `golden/archive-2.sql`
//! is what the archive's format 2 has beyond. They are never
//! edited: a format that comes later gets files of its own.

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

use althing_core::ids::{CommunityId, Hash, Sequence};
use althing_store::port::{ComponentRecord, HistoryRecord, SnapshotRecord, Store, WalEntry, WalState};
use bytes::Bytes;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use std::{collections::BTreeMap, fs, path::Path};
use tempfile::TempDir;
use tokio::sync::oneshot;

const GROUP: CommunityId = CommunityId(7);
const CHUNK: Hash = Hash([5; 32]);
const COMPONENT: Hash = Hash([6; 32]);

/// Makes a file of a text.
async fn make(path: &Path, sql: &'static str) {
    let mut connection =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn directory() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    make(&folder.path().join("wal.db"), include_str!("golden/wal-1.sql")).await;
    make(&folder.path().join("archive.db"), include_str!("golden/archive-1.sql")).await;
    let hexadecimal: Vec<u8> = include_bytes!("golden/wal-1.mark").trim_ascii().to_vec();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap() as u8;
    let mut mark: Vec<u8> = hexadecimal.chunks(2).map(|two| digit(&two[0]) << 4 | digit(&two[1])).collect();
    mark.resize(8192, 0);
    fs::write(folder.path().join("wal.mark"), mark).unwrap();
    folder
}

fn entries() -> Vec<WalEntry> {
    let texts = ["three", "four", "five", "six"];
    (3..)
        .zip(texts)
        .map(|(index, text)| WalEntry { index, body: Bytes::from_static(text.as_bytes()) })
        .collect()
}

async fn append(store: &Store, entries: Vec<WalEntry>) {
    let (tell, told) = oneshot::channel();
    store.wal.append(GROUP, entries, Box::new(move |result| drop(tell.send(result)))).await.unwrap();
    told.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_directory_of_the_first_format_is_read_in_every_part_and_goes_on() {
    let folder = directory().await;
    let store = Store::open(folder.path()).await.unwrap();
    let state = WalState {
        vote: Some("vote".into()),
        committed: Some("committed".into()),
        purged: Some((2, "purged".into())),
        held: Some((3, 6)),
    };
    assert_eq!(store.wal.state(GROUP).await.unwrap(), state);
    assert_eq!(store.wal.read(GROUP, 0..99, 99).await.unwrap(), entries());
    assert_eq!(store.wal.groups().await.unwrap(), [GROUP]);

    let archive = &store.archive;
    let snapshot = SnapshotRecord { sequence: Sequence(5), log_index: 4, manifest: "manifest".into() };
    assert_eq!(archive.snapshots(GROUP).await.unwrap(), [snapshot]);
    assert_eq!(archive.chunk(CHUNK).await.unwrap().unwrap(), "chunk");
    assert_eq!(archive.components().await.unwrap(), [ComponentRecord { hash: COMPONENT, bytes: 9 }]);
    assert_eq!(archive.component(COMPONENT).await.unwrap().unwrap(), "component");
    let record = |first: u64, last: u64, body: &'static str| HistoryRecord {
        first: Sequence(first),
        last: Sequence(last),
        body: body.into(),
    };
    let history = [record(1, 5, "one"), record(6, 8, "two"), record(20, 21, "three")];
    assert_eq!(archive.history(GROUP, Sequence(0), 99).await.unwrap(), history);
    assert_eq!(archive.history_held(GROUP).await.unwrap(), Some((Sequence(20), Sequence(21))));
    assert_eq!(archive.fact("identity").await.unwrap().unwrap(), "somebody");

    // It is no museum.
    append(&store, vec![WalEntry { index: 7, body: "seven".into() }]).await;
    archive.put_fact("identity", "somebody else".into()).await.unwrap();
    store.close().await;
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.wal.read(GROUP, 7..8, 99).await.unwrap()[0].body, "seven");
    store.close().await;
}

#[tokio::test]
async fn what_the_archive_of_the_second_format_knew_of_the_node_is_moved_out_of_it_once() {
    let folder = directory().await;
    make(&folder.path().join("archive.db"), include_str!("golden/archive-2.sql")).await;
    let pins = BTreeMap::from([(Sequence(5), "before the vote".to_owned())]);
    for _ in 0..2 {
        let store = Store::open(folder.path()).await.unwrap();
        assert_eq!(store.archive.fact("identity").await.unwrap().unwrap(), "somebody");
        assert_eq!(store.archive.pinned_snapshots(GROUP).await.unwrap(), pins);
        assert_eq!(store.archive.condemned_chunks(9).await.unwrap(), [CHUNK]);
        store.close().await;
    }
    // What is not there any more is not looked for in the archive.
    for name in ["facts", "facts.copy"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let told = Store::open(folder.path()).await.err().unwrap();
    assert!(told.to_string().contains("facts is damaged (it is missing"), "{told}");
}
