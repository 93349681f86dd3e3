//! A directory whose log cannot be trusted: nothing of it is destroyed, a new log begins only when it is
//! asked for, and whatever a crash leaves in between is refused again (promise P13).

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

mod folders;

use althing_core::ids::CommunityId;
use althing_store::{
    port::{Store, WalEntry},
    sqlite::{OpenError, Remains},
};
use bytes::Bytes;
use folders::copied;
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};
use tempfile::TempDir;

const GROUP: CommunityId = CommunityId(7);
/// As they are set aside.
const LOG: [&str; 4] = ["wal.db-shm", "wal.db-wal", "wal.db", "wal.mark"];
const ARCHIVE: [&str; 2] = ["archive.db", "archive.db-wal"];
/// In the first frame of SQLite's WAL: what follows it is dropped.
const FIRST_FRAME: u64 = 32 + 24 + 100;

async fn append(store: &Store, index: u64) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let entry = WalEntry { index, body: Bytes::from(format!("entry {index}").repeat(50)) };
    store.wal.append(GROUP, vec![entry], Box::new(move |result| drop(tell.send(result)))).await.unwrap();
    told.await.unwrap().unwrap();
}

fn flip(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// A directory as a crash leaves it, whose log has lost all that was told, and whose archive is whole.
async fn lost() -> TempDir {
    let folder = crashed().await;
    flip(&folder.path().join("wal.db-wal"), FIRST_FRAME);
    folder
}

/// A directory as a crash leaves it.
async fn crashed() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.archive.put_fact("who", Bytes::from_static(b"me")).await.unwrap();
    store.wal.save_vote(GROUP, Bytes::from_static(b"voted")).await.unwrap();
    for index in 1..=9 {
        append(&store, index).await;
    }
    let copy = copied(folder.path());
    store.close().await;
    copy
}

async fn refusal(folder: &Path) -> OpenError {
    match Store::open(folder).await {
        Ok(_) => panic!("the store was opened"),
        Err(error) => error,
    }
}

fn contents(folder: &Path, files: &[&str]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|file| ((*file).to_owned(), fs::read(folder.join(file)).unwrap())).collect()
}

/// Begins a new log, and looks at what there is then.
async fn begin(folder: &Path, note: &'static [u8]) {
    let remains = Remains::open(folder).await.unwrap();
    let archive = remains.archive();
    assert_eq!(archive.fact("who").await.unwrap().as_deref(), Some(&b"me"[..]));
    archive.put_fact("note", Bytes::from_static(note)).await.unwrap();
    let (store, _) = remains.begin_log().await.unwrap();
    assert_eq!(store.wal.groups().await.unwrap(), []);
    append(&store, 1).await;
    store.close().await;
    let again = Store::open(folder).await.unwrap();
    assert_eq!(again.wal.state(GROUP).await.unwrap().held, Some((1, 1)));
    assert_eq!(again.archive.fact("note").await.unwrap().as_deref(), Some(note));
    again.close().await;
}

#[tokio::test]
async fn a_log_that_is_refused_stays_as_it_was_found() {
    let files = ["wal.db", "wal.db-wal", "wal.mark"];
    for is_last in [false, true] {
        let folder = crashed().await;
        let wal = folder.path().join("wal.db-wal");
        let at = if is_last { fs::metadata(&wal).unwrap().len() - 100 } else { FIRST_FRAME };
        flip(&wal, at);
        let before = contents(folder.path(), &files);
        for _ in 0..2 {
            let told = refusal(folder.path()).await;
            assert!(told.of_log().unwrap().contains("has lost what was durable"), "{told:?}");
            let remains = Remains::open(folder.path()).await.unwrap();
            remains.archive().fact("who").await.unwrap();
            remains.close().await;
        }
        assert!(contents(folder.path(), &files) == before, "the bit at {at}: it was written to");
        // With the bit as it was, nothing was ever wrong.
        flip(&wal, at);
        let store = Store::open(folder.path()).await.unwrap();
        assert_eq!(store.wal.state(GROUP).await.unwrap().held, Some((1, 9)));
        store.close().await;
    }
}

#[tokio::test]
async fn the_files_of_a_lost_log_are_kept_and_a_new_one_begins() {
    let folder = lost().await;
    let before = contents(folder.path(), &["wal.db", "wal.db-wal", "wal.mark"]);
    refusal(folder.path()).await;
    begin(folder.path(), b"one").await;
    let files: Vec<&str> = before.keys().map(String::as_str).collect();
    assert_eq!(contents(&folder.path().join("lost-1"), &files), before);

    // The same again: the one before it is not written over.
    fs::remove_file(folder.path().join("wal.db")).unwrap();
    refusal(folder.path()).await;
    begin(folder.path(), b"two").await;
    assert_eq!(contents(&folder.path().join("lost-1"), &files), before);
    assert!(folder.path().join("lost-2/wal.mark").exists());
}

/// A crash while a log is set aside, its renames durable in whatever order: any of its files is gone.
#[tokio::test]
async fn whatever_a_crash_leaves_of_setting_a_log_aside_is_refused_again() {
    let whole = lost().await;
    for away in 1..1u8 << LOG.len() {
        let folder = copied(whole.path());
        let moved: Vec<&str> =
            (0..LOG.len()).filter(|bit| away >> bit & 1 == 1).map(|bit| LOG[bit]).collect();
        fs::create_dir(folder.path().join("lost-1")).unwrap();
        for file in &moved {
            let to = folder.path().join("lost-1").join(file);
            // Not every one is there after a crash.
            let _ = fs::rename(folder.path().join(file), to);
        }
        // A node that is started again looks at it so.
        let told = refusal(folder.path()).await;
        assert!(told.of_log().is_some(), "{moved:?} away: {told:?}");
        let told = refusal(folder.path()).await;
        assert!(told.of_log().is_some(), "{moved:?} away, the second time: {told:?}");
        begin(folder.path(), b"after all").await;
    }
}

#[tokio::test]
async fn a_crash_before_the_new_log_is_there_leaves_an_empty_one() {
    let folder = lost().await;
    let remains = Remains::open(folder.path()).await.unwrap();
    remains.archive().put_fact("note", Bytes::from_static(b"it is known")).await.unwrap();
    let (store, _) = remains.begin_log().await.unwrap();
    let crashed = copied(folder.path());
    store.close().await;
    for file in ["wal.db", "wal.db-wal"] {
        let _ = fs::remove_file(crashed.path().join(file));
    }
    let store = Store::open(crashed.path()).await.unwrap();
    assert_eq!(store.wal.groups().await.unwrap(), []);
    assert!(store.archive.fact("note").await.unwrap().is_some(), "but what must be known is");
    store.close().await;
}

#[tokio::test]
async fn a_mark_that_was_never_whole_is_no_mark() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wal.mark.new"), "half of it").unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    append(&store, 1).await;
    store.close().await;
    Store::open(folder.path()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_new_log_begins_only_beside_a_whole_archive() {
    for (what, spoil) in [
        ("missing", (|file| fs::remove_file(file).unwrap()) as fn(&Path)),
        ("foreign", |file| fs::write(file, "something else entirely").unwrap()),
        ("damaged", |file| flip(file, 16 << 10)),
    ] {
        let folder = lost().await;
        // Without what SQLite would mend it from.
        Remains::open(folder.path()).await.unwrap().close().await;
        spoil(&folder.path().join("archive.db"));
        let told = Remains::open(folder.path()).await.err().unwrap();
        assert!(told.of_log().is_none() && told.to_string().contains("archive.db"), "{what}: {told}");
        assert!(
            folder.path().join("wal.db-wal").exists() && !folder.path().join("lost-1").exists(),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_log_without_its_archive_is_not_taken_for_a_new_store() {
    let folder = crashed().await;
    for file in ARCHIVE {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    let told = refusal(folder.path()).await;
    assert!(
        told.of_log().is_none()
            && told
                .to_string()
                .contains("archive.db is damaged (it is missing, and this directory has been used"),
        "{told}"
    );
    assert!(!folder.path().join("archive.db").exists());
}

#[tokio::test]
async fn a_damaged_log_is_told_apart_from_what_else_can_be_wrong() {
    type Spoil = fn(&Path);
    let whole = lost().await;
    let spoiled: [(&str, Spoil); 4] = [
        ("wal.mark", |folder| fs::write(folder.join("wal.mark"), [0; 8192]).unwrap()),
        ("wal.mark", |folder| fs::remove_file(folder.join("wal.mark")).unwrap()),
        ("wal.db", |folder| fs::write(folder.join("wal.db"), "not even SQLite's").unwrap()),
        ("wal.db", |folder| fs::remove_file(folder.join("wal.db")).unwrap()),
    ];
    for (file, spoil) in spoiled {
        let folder = copied(whole.path());
        spoil(folder.path());
        let told = refusal(folder.path()).await;
        assert!(told.of_log().is_some_and(|found| found.contains(file)), "{file}: {told:?}");
        begin(folder.path(), b"mended").await;
    }
    let folder = copied(whole.path());
    fs::write(folder.path().join("archive.db"), "something else").unwrap();
    assert!(refusal(folder.path()).await.of_log().is_none());
}
