//! What a store was told is durable is there, or its absence is noticed: whatever one bit, one cut or
//! one lost file does to a data directory after a crash (promise P13).

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

mod folders;

use althing_core::ids::CommunityId;
use althing_store::{
    port::{Store, WalEntry},
    sqlite::OpenError,
};
use bytes::Bytes;
use folders::copied;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const GROUPS: [CommunityId; 2] = [CommunityId(1), CommunityId(7)];
const ENTRIES: u64 = 12;
const FILES: [&str; 3] = ["wal.db", "wal.db-wal", "wal.mark"];

fn entry(group: CommunityId, index: u64) -> WalEntry {
    WalEntry { index, body: Bytes::from(format!("entry {index} of {group}").repeat(20)) }
}

async fn append(store: &Store, group: CommunityId, index: u64) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let on_durable = Box::new(move |result| drop(tell.send(result)));
    store.wal.append(group, vec![entry(group, index)], on_durable).await.unwrap();
    told.await.unwrap().unwrap();
}

/// A directory as a crash leaves it, with everything told as durable; some of it in SQLite's file, some in
/// its WAL.
async fn crashed() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    for index in 1..=ENTRIES / 2 {
        append(&store, GROUPS[0], index).await;
    }
    store.close().await;
    let store = Store::open(folder.path()).await.unwrap();
    for index in ENTRIES / 2 + 1..=ENTRIES {
        append(&store, GROUPS[0], index).await;
    }
    for index in 1..=ENTRIES {
        append(&store, GROUPS[1], index).await;
    }
    store.wal.save_vote(GROUPS[0], Bytes::from_static(b"voted")).await.unwrap();
    let copy = copied(folder.path());
    store.close().await;
    copy
}

/// Opens a directory. An error is one; without one, everything must be there.
async fn look(folder: &Path, what: &str) -> Result<(), OpenError> {
    let store = Store::open(folder).await?;
    let mut is_whole = true;
    for group in GROUPS {
        match store.wal.read(group, 0..u64::MAX, usize::MAX).await {
            Ok(read) => {
                let expected: Vec<_> = (1..=ENTRIES).map(|index| entry(group, index)).collect();
                assert_eq!(read, expected, "{what}: something is lost and nobody says so");
            }
            // An entry that is damaged says so when it is read.
            Err(_) => is_whole = false,
        }
    }
    let state = store.wal.state(GROUPS[0]).await.unwrap();
    assert_eq!(state.vote.as_deref(), Some(&b"voted"[..]), "{what}: the vote is lost and nobody says so");
    store.close().await;
    if is_whole {
        // What was whole stays whole when it is closed and opened again.
        Store::open(folder).await?.close().await;
    }
    Ok(())
}

async fn refusal(folder: &Path) -> OpenError {
    match Store::open(folder).await {
        Ok(_) => panic!("the store was opened"),
        Err(error) => error,
    }
}

fn file(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

#[tokio::test]
async fn a_crash_alone_is_no_loss() {
    look(crashed().await.path(), "a crash").await.unwrap();
}

#[tokio::test]
async fn whatever_one_bit_does_is_noticed_or_does_no_harm() {
    let whole = crashed().await;
    let mut noticed = 0;
    for name in FILES {
        let bytes = fs::read(file(&whole, name)).unwrap();
        let step = (bytes.len() / 120).max(1) | 1;
        for at in (0..bytes.len()).step_by(step) {
            let copy = copied(whole.path());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(file(&copy, name), flipped).unwrap();
            noticed += u32::from(look(copy.path(), &format!("bit at byte {at} of {name}")).await.is_err());
        }
    }
    assert!(noticed > 50, "only {noticed} flips were noticed when the store was opened");
}

#[tokio::test]
async fn a_wal_cut_short_anywhere_is_noticed() {
    let whole = crashed().await;
    let bytes = fs::read(file(&whole, "wal.db-wal")).unwrap();
    for tenths in 0..10 {
        let copy = copied(whole.path());
        fs::write(file(&copy, "wal.db-wal"), &bytes[..bytes.len() * tenths / 10]).unwrap();
        let told = look(copy.path(), &format!("{tenths}/10 of the WAL")).await.unwrap_err();
        assert!(matches!(told, OpenError::Lost { .. }), "{told:?}");
    }
}

#[tokio::test]
async fn a_lost_or_older_file_is_noticed() {
    let older = crashed().await;
    let store = Store::open(older.path()).await.unwrap();
    let before = copied(older.path());
    append(&store, GROUPS[0], ENTRIES + 1).await;
    let newer = copied(older.path());
    store.close().await;

    let lost = copied(newer.path());
    fs::remove_file(file(&lost, "wal.db")).unwrap();
    fs::remove_file(file(&lost, "wal.db-wal")).unwrap();
    let told = refusal(lost.path()).await;
    assert!(matches!(told, OpenError::Lost { .. }), "{told:?}");
    assert!(told.to_string().contains("must not vote"), "{told}");

    for name in ["wal.db", "wal.db-wal"] {
        fs::copy(file(&before, name), file(&newer, name)).unwrap();
    }
    let told = refusal(newer.path()).await;
    assert!(matches!(told, OpenError::Lost { .. }), "{told:?}");

    fs::remove_file(file(&before, "wal.mark")).unwrap();
    let told = refusal(before.path()).await;
    assert!(matches!(told, OpenError::Damaged { .. }), "{told:?}");
}

#[tokio::test]
async fn what_a_log_legally_drops_is_no_loss() {
    let folder = crashed().await;
    let store = Store::open(folder.path()).await.unwrap();
    store.wal.truncate(GROUPS[0], 5).await.unwrap();
    append(&store, GROUPS[0], 5).await;
    store.wal.purge(GROUPS[1], ENTRIES, Bytes::from_static(b"purged")).await.unwrap();
    let crashed = copied(folder.path());
    store.wal.remove_group(GROUPS[0]).await.unwrap();
    let removed = copied(folder.path());
    store.close().await;
    for folder in [&crashed, &removed, &folder] {
        Store::open(folder.path()).await.unwrap().close().await;
    }
    let store = Store::open(crashed.path()).await.unwrap();
    let read = store.wal.read(GROUPS[0], 0..9, usize::MAX).await.unwrap();
    assert_eq!(read, (1..=5).map(|index| entry(GROUPS[0], index)).collect::<Vec<_>>());
    store.close().await;
}
