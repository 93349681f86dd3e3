//! Looking at a data directory says what a start would say, for every kind of damage, and changes nothing.

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

use althing_core::ids::{CommunityId, Hash, Sequence};
use althing_store::{
    port::{HistoryRecord, SnapshotRecord, Store, StoreError, WalEntry},
    sqlite::{
        OpenError,
        inspect::{Found, InspectError, Inspection, files},
    },
};
use bytes::Bytes;
use proptest::prelude::*;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock, time::SystemTime};
use tempfile::TempDir;
use tokio::sync::oneshot;

const GROUP: CommunityId = CommunityId(7);
const CHUNK: Hash = Hash([5; 32]);
/// Every file of a store, but for the lock and SQLite's shared memory.
const FILES: [&str; 8] = [
    "wal.db",
    "wal.db-wal",
    "wal.mark",
    "archive.db",
    "archive.db-wal",
    "archive.mark",
    "facts",
    "facts.copy",
];

/// A directory's files, by name.
type Files = BTreeMap<&'static str, Vec<u8>>;

async fn append(store: &Store, index: u64) {
    let entry = WalEntry { index, body: Bytes::from(format!("entry {index}").repeat(20)) };
    let (tell, told) = oneshot::channel();
    store.wal.append(GROUP, vec![entry], Box::new(move |result| drop(tell.send(result)))).await.unwrap();
    told.await.unwrap().unwrap();
}

async fn write(store: &Store, round: u64) {
    for index in round * 10..round * 10 + 10 {
        append(store, index).await;
    }
    store.wal.save_vote(GROUP, Bytes::from_static(b"voted")).await.unwrap();
    let archive = &store.archive;
    let record = HistoryRecord {
        first: Sequence(round * 5 + 1),
        last: Sequence(round * 5 + 5),
        body: vec![b'h'; 3000].into(),
    };
    archive.append_history(GROUP, vec![record]).await.unwrap();
    archive.put_chunks(vec![(CHUNK, vec![b'c'; 40_000].into())]).await.unwrap();
    let snapshot = SnapshotRecord {
        sequence: Sequence(round * 5 + 5),
        log_index: round * 10 + 9,
        manifest: vec![b'm'; 500].into(),
    };
    archive.put_snapshot(GROUP, snapshot, vec![CHUNK]).await.unwrap();
    archive.put_component(Hash([6; 32]), vec![b'w'; 5000].into()).await.unwrap();
    archive.put_fact("identity", Bytes::from_static(b"somebody")).await.unwrap();
}

fn read(folder: &Path) -> Files {
    FILES.into_iter().filter_map(|name| Some((name, fs::read(folder.join(name)).ok()?))).collect()
}

fn laid_out(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// What a node leaves that was stopped, and what one leaves that was killed.
static LEFT: LazyLock<[Files; 2]> = LazyLock::new(|| {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        write(&store, 0).await;
        store.close().await;
        let stopped = read(folder.path());
        let store = Store::open(folder.path()).await.unwrap();
        write(&store, 1).await;
        let killed = read(folder.path());
        store.close().await;
        assert_eq!((stopped.len(), killed.len()), (6, 8), "SQLite's own WALs are there after a crash only");
        [stopped, killed]
    })
});

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// What a look says, after making sure that it changed nothing.
async fn looked(folder: &Path) -> Option<String> {
    let before = exactly(folder);
    let scratch = tempfile::tempdir().unwrap();
    let inspection = Inspection::of(folder, scratch.path()).await.unwrap();
    let said = inspection.refusal().map(ToString::to_string);
    assert_eq!(said.is_none(), inspection.damages().is_empty());
    inspection.close().await;
    assert_eq!(exactly(folder), before, "looking changed something");
    said
}

/// Every file with its bytes and times.
fn exactly(folder: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files
        .map(|file| {
            let modified = file.metadata().unwrap().modified().unwrap();
            (file.file_name().into_string().unwrap(), (fs::read(file.path()).unwrap(), modified))
        })
        .collect()
}

/// What a node is told that opens it. What a look called mendable is mended then.
async fn told(folder: &Path) -> Option<String> {
    match Store::open(folder).await {
        Ok(store) => {
            store.close().await;
            let scratch = tempfile::tempdir().unwrap();
            let inspection = Inspection::of(folder, scratch.path()).await.unwrap();
            assert_eq!(inspection.mended(), []);
            inspection.close().await;
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

/// What both say of a directory, which must be the same.
#[track_caller]
fn said(files: &Files, what: &str) -> Option<String> {
    run(async {
        let folder = laid_out(files);
        let looked = looked(folder.path()).await;
        assert_eq!(looked, told(folder.path()).await, "{what}");
        looked
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(240))]

    #[test]
    fn what_one_bit_does_is_foreseen(left in 0..2_usize, file in 0..FILES.len(), place in 0.0..1.0_f64, bit in 0..8) {
        let mut files = LEFT[left].clone();
        let Some(bytes) = files.get_mut(FILES[file]) else { return Ok(()) };
        let at = (place * bytes.len() as f64) as usize;
        bytes[at] ^= 1_u8 << bit;
        said(&files, &format!("bit {bit} of byte {at} of {}", FILES[file]));
    }

    #[test]
    fn what_a_cut_does_is_foreseen(left in 0..2_usize, file in 0..FILES.len(), place in 0.0..1.0_f64) {
        let mut files = LEFT[left].clone();
        let Some(bytes) = files.get_mut(FILES[file]) else { return Ok(()) };
        bytes.truncate((place * bytes.len() as f64) as usize);
        said(&files, &format!("{} cut to {} bytes", FILES[file], files[FILES[file]].len()));
    }
}

#[test]
fn the_first_hundred_bytes_of_every_file_are_foreseen() {
    for files in &*LEFT {
        for (name, bytes) in files {
            for at in (0..bytes.len().min(104)).step_by(3) {
                let mut files = files.clone();
                files.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
                said(&files, &format!("byte {at} of {name}"));
            }
        }
    }
}

#[test]
fn what_is_sound_is_said_to_be() {
    for files in &*LEFT {
        assert_eq!(said(files, "as it was left"), None);
    }
    assert_eq!(said(&Files::new(), "an empty directory"), None);
}

#[test]
fn what_is_missing_older_or_foreign_is_named() {
    let [stopped, killed] = &*LEFT;
    let without = |name| {
        let mut files = killed.clone();
        files.remove(name).unwrap();
        said(&files, name)
    };
    assert!(without("wal.mark").unwrap().contains("wal.mark is damaged (it is missing"));
    assert!(without("wal.db").unwrap().contains("wal.db has lost what was durable"));
    assert!(without("wal.db-wal").unwrap().contains("wal.db has lost what was durable"));
    for name in ["archive.db-wal", "archive.mark", "facts", "facts.copy"] {
        assert_eq!(without(name), None, "{name}: it is mended");
    }
    assert!(without("archive.db").unwrap().contains("archive.db is damaged (it is missing"));
    let mut unknown = killed.clone();
    unknown.retain(|name, _| !name.starts_with("facts"));
    assert!(said(&unknown, "no facts").unwrap().contains("facts is damaged (it is missing, so is its copy"));
    let mut older = killed.clone();
    older.remove("wal.db-wal");
    older.insert("wal.db", stopped["wal.db"].clone());
    assert!(said(&older, "an older log").unwrap().contains("has lost what was durable"));
    for name in ["wal.db", "archive.db"] {
        let mut foreign = stopped.clone();
        foreign.insert(name, b"somebody's letters".to_vec());
        assert!(said(&foreign, name).unwrap().contains(&format!("{name} is not a file of an Althing store")));
        let mut empty = stopped.clone();
        empty.insert(name, Vec::new());
        said(&empty, name);
    }
}

#[test]
fn a_newer_format_is_named() {
    for name in ["wal.db", "archive.db"] {
        let folder = laid_out(&LEFT[0]);
        run(async {
            let options = SqliteConnectOptions::new().filename(folder.path().join(name));
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe("PRAGMA user_version = 7")).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            let looked = looked(folder.path()).await;
            assert!(looked.as_ref().unwrap().contains("has format 7"), "{looked:?}");
            assert_eq!(looked, told(folder.path()).await);
        });
    }
}

#[test]
fn what_can_be_read_is_read_and_nothing_can_be_written() {
    for (files, last) in LEFT.iter().zip([9, 19]) {
        let folder = laid_out(files);
        run(async {
            let scratch = tempfile::tempdir().unwrap();
            let inspection = Inspection::of(folder.path(), scratch.path()).await.unwrap();
            let (log, archive) =
                (inspection.log.as_ref().ok().unwrap(), inspection.archive.as_ref().ok().unwrap());
            assert_eq!(inspection.marked.as_ref().ok().unwrap(), &Some(log.changes));
            let state = log.wal.state(GROUP).await.unwrap();
            assert_eq!((state.held, state.vote), (Some((0, last)), Some("voted".into())));
            assert_eq!(log.wal.read(GROUP, 0..99, usize::MAX).await.unwrap().len() as u64, last + 1);
            assert_eq!(log.segments.keys().collect::<Vec<_>>(), [&GROUP]);
            assert_eq!(archive.communities().await.unwrap(), [GROUP].into());
            assert_eq!(archive.missing_chunks(&[Hash([1; 32]), CHUNK]).await.unwrap(), [Hash([1; 32])]);
            assert_eq!(archive.sizes().await.unwrap()["chunks"], (1, 40_000));
            assert_eq!(archive.archive.fact("identity").await.unwrap().unwrap(), "somebody");
            assert_eq!(archive.archive.snapshots(GROUP).await.unwrap().len() as u64, last / 9);

            let (tell, told) = oneshot::channel();
            let entry = vec![WalEntry { index: last + 1, body: "new".into() }];
            let appended =
                log.wal.append(GROUP, entry, Box::new(move |result| drop(tell.send(result)))).await;
            assert!(matches!(appended, Err(StoreError::Closed)), "{appended:?}");
            told.await.unwrap().unwrap_err();
            let put = archive.archive.put_fact("identity", "somebody else".into()).await;
            assert!(matches!(put, Err(StoreError::Closed)), "{put:?}");
            inspection.close().await;
        });
    }
}

#[test]
fn what_is_left_of_a_log_that_lost_something_can_be_read() {
    let mut files = LEFT[1].clone();
    files.remove("wal.db-wal");
    let folder = laid_out(&files);
    run(async {
        let scratch = tempfile::tempdir().unwrap();
        let inspection = Inspection::of(folder.path(), scratch.path()).await.unwrap();
        let log = inspection.log.as_ref().ok().unwrap();
        let Some(OpenError::Lost { found, marked, .. }) = inspection.refusal() else { panic!("it is lost") };
        assert_eq!((*found, Some(*marked)), (log.changes, *inspection.marked.as_ref().ok().unwrap()));
        assert!(found < marked);
        assert_eq!(log.wal.state(GROUP).await.unwrap().held, Some((0, 9)), "the older part of it");
        inspection.close().await;
    });
}

#[test]
fn a_directory_in_use_is_left_alone_and_one_that_is_looked_at_is_not_started_on() {
    let folder = laid_out(&LEFT[0]);
    let scratch = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::open(folder.path()).await.unwrap();
        let looked = Inspection::of(folder.path(), scratch.path()).await;
        let Err(error @ InspectError::InUse { .. }) = looked else { panic!("it is in use") };
        assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
        store.close().await;

        let first = Inspection::of(folder.path(), scratch.path()).await.unwrap();
        let second = Inspection::of(folder.path(), scratch.path()).await.unwrap();
        assert!(matches!(Store::open(folder.path()).await, Err(OpenError::Locked { .. })));
        first.close().await;
        second.close().await;
        Store::open(folder.path()).await.unwrap().close().await;

        let nowhere = Inspection::of(&folder.path().join("nowhere"), scratch.path()).await;
        assert!(matches!(nowhere, Err(InspectError::Unreadable { .. })));
    });
}

#[test]
fn a_copy_that_cannot_be_made_is_told_with_its_size() {
    let folder = laid_out(&LEFT[1]);
    run(async {
        let nowhere = folder.path().join("nowhere");
        let Err(error @ InspectError::NoCopy { .. }) = Inspection::of(folder.path(), &nowhere).await else {
            panic!("there is no such folder");
        };
        let bytes = LEFT[1]["wal.db"].len() + LEFT[1]["wal.db-wal"].len();
        assert!(error.to_string().contains(&bytes.to_string()), "{error}");
    });
}

#[test]
fn what_lies_in_a_directory_is_listed_with_its_size() {
    let folder = laid_out(&LEFT[0]);
    fs::create_dir_all(folder.path().join("evidence/old")).unwrap();
    for file in ["evidence/a.json", "evidence/old/b.json"] {
        fs::write(folder.path().join(file), "four").unwrap();
    }
    let found = files(folder.path()).unwrap();
    let names: Vec<_> = found.iter().map(|found| &found.name[..]).collect();
    assert_eq!(
        names,
        ["archive.db", "archive.mark", "evidence", "facts", "facts.copy", "wal.db", "wal.mark"]
    );
    assert_eq!(found[2], Found { name: "evidence".into(), bytes: 8, files: Some(2) });
    assert_eq!((found[5].bytes, found[5].files), (LEFT[0]["wal.db"].len() as u64, None));
}
