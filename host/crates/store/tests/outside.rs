//! What SQLite would drop without a word is kept outside of the archive, or its absence is noticed: whatever one
//! bit, one cut or one lost file does to a data directory after a crash.

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

mod folders;

use althing_core::ids::{CommunityId, Hash, Sequence};
use althing_store::{
    port::{Archive, HistoryRecord, SnapshotRecord, Store},
    sqlite::{Mended, inspect::Inspection},
};
use bytes::Bytes;
use folders::copied;
use std::{collections::BTreeMap, fs, path::Path};
use tempfile::TempDir;

const COMMUNITY: CommunityId = CommunityId(7);
const OUTSIDE: [&str; 3] = ["facts", "facts.copy", "archive.mark"];
/// Snapshots; every second one is pinned.
const SNAPSHOTS: u64 = 6;

async fn write(archive: &dyn Archive, number: u64) {
    let record = HistoryRecord {
        first: Sequence(number * 10 - 9),
        last: Sequence(number * 10),
        body: vec![b'h'; 900].into(),
    };
    archive.append_history(COMMUNITY, vec![record]).await.unwrap();
    let chunk = Hash([number as u8; 32]);
    archive.put_chunks(vec![(chunk, vec![b'c'; 5000].into())]).await.unwrap();
    let sequence = Sequence(number * 10);
    let manifest = vec![b'm'; 300].into();
    let snapshot = SnapshotRecord { sequence, log_index: number, manifest };
    archive.put_snapshot(COMMUNITY, snapshot, vec![chunk]).await.unwrap();
    if number.is_multiple_of(2) {
        assert!(archive.pin_snapshot(COMMUNITY, sequence, format!("note {number}")).await.unwrap());
    }
    archive.put_fact("hosted", Bytes::from(number.to_string())).await.unwrap();
}

/// A directory as a crash leaves it, half of it in SQLite's file and half in its WAL.
async fn crashed() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.archive.put_fact("identity", Bytes::from_static(b"somebody")).await.unwrap();
    for number in 1..=SNAPSHOTS / 2 {
        write(&*store.archive, number).await;
    }
    store.close().await;
    let store = Store::open(folder.path()).await.unwrap();
    for number in SNAPSHOTS / 2 + 1..=SNAPSHOTS {
        write(&*store.archive, number).await;
    }
    let copy = copied(folder.path());
    store.close().await;
    copy
}

/// What a start says that it mends; none if it refuses.
async fn mended(folder: &Path) -> Option<Vec<Mended>> {
    let scratch = tempfile::tempdir().unwrap();
    let inspection = Inspection::of(folder, scratch.path()).await.unwrap();
    let mended = inspection.refusal().is_none().then(|| inspection.mended().to_vec());
    inspection.close().await;
    mended
}

/// Opens a directory that was harmed. What the node knows is all there, or it is refused; and what is lost of
/// the rest was noticed. Whether something was noticed.
async fn look(folder: &Path, what: &str) -> bool {
    let told = mended(folder).await;
    let Ok(store) = Store::open(folder).await else {
        assert_eq!(told, None, "{what}");
        return true;
    };
    let told = told.unwrap_or_else(|| panic!("{what}: it was to be refused"));
    let archive = &store.archive;
    assert_eq!(archive.fact("identity").await.unwrap().unwrap(), "somebody", "{what}");
    assert_eq!(archive.fact("hosted").await.unwrap().unwrap(), SNAPSHOTS.to_string(), "{what}");
    let mut pins: BTreeMap<Sequence, String> =
        (2..=SNAPSHOTS).step_by(2).map(|number| (Sequence(number * 10), format!("note {number}"))).collect();
    for mended in &told {
        if let Mended::Pin { sequence, .. } = mended {
            pins.remove(sequence);
        }
    }
    assert_eq!(archive.pinned_snapshots(COMMUNITY).await.unwrap(), pins, "{what}");
    let is_whole = archive.snapshots(COMMUNITY).await.is_ok_and(|all| all.len() as u64 == SNAPSHOTS)
        && archive.history_held(COMMUNITY).await.ok().flatten()
            == Some((Sequence(1), Sequence(SNAPSHOTS * 10)));
    store.close().await;
    assert!(is_whole || !told.is_empty(), "{what}: something is lost and nobody says so");
    assert_eq!(mended(folder).await, Some(Vec::new()), "{what}: it is said once");
    !told.is_empty()
}

#[tokio::test]
async fn a_crash_alone_is_no_loss() {
    assert!(!look(crashed().await.path(), "a crash").await);
}

#[tokio::test]
async fn whatever_one_bit_does_outside_or_in_sqlites_wal_is_noticed_or_does_no_harm() {
    let whole = crashed().await;
    let mut noticed = BTreeMap::new();
    for name in OUTSIDE.iter().chain(&["archive.db-wal"]) {
        let bytes = fs::read(whole.path().join(name)).unwrap();
        let step = (bytes.len() / 32).max(1) | 1;
        for at in (0..bytes.len()).step_by(step) {
            let copy = copied(whole.path());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(copy.path().join(name), flipped).unwrap();
            let is_noticed = look(copy.path(), &format!("bit at byte {at} of {name}")).await;
            *noticed.entry(*name).or_insert(0) += u32::from(is_noticed);
        }
    }
    assert!(noticed["facts"] > 30 && noticed["facts.copy"] > 30, "every bit of them counts: {noticed:?}");
    assert!(noticed["archive.db-wal"] > 10, "{noticed:?}");
}

#[tokio::test]
async fn what_is_cut_off_or_gone_is_noticed_and_what_the_node_knows_is_there() {
    let whole = crashed().await;
    for name in OUTSIDE.iter().chain(&["archive.db-wal"]) {
        let path = |folder: &TempDir| folder.path().join(name);
        let bytes = fs::read(path(&whole)).unwrap();
        for tenths in 0..10 {
            let copy = copied(whole.path());
            fs::write(path(&copy), &bytes[..bytes.len() * tenths / 10]).unwrap();
            look(copy.path(), &format!("{tenths}/10 of {name}")).await;
        }
        let copy = copied(whole.path());
        fs::remove_file(path(&copy)).unwrap();
        assert!(look(copy.path(), &format!("without {name}")).await);
    }
}

#[tokio::test]
async fn an_archive_that_lost_its_last_changes_says_how_many_and_goes_on() {
    let folder = crashed().await;
    fs::remove_file(folder.path().join("archive.db-wal")).unwrap();
    let told = mended(folder.path()).await.unwrap();
    let [Mended::Archive { found, marked, .. }, Mended::Pin { .. }, Mended::Pin { .. }] = told[..] else {
        panic!("{told:?}")
    };
    assert!(found > 0 && found < marked, "{told:?}");
    let store = Store::open(folder.path()).await.unwrap();
    write(&*store.archive, SNAPSHOTS + 1).await;
    let crashed = copied(folder.path());
    store.close().await;
    assert_eq!(mended(crashed.path()).await, Some(Vec::new()));
}

#[tokio::test]
async fn an_archive_that_lost_everything_does_not_make_the_node_a_new_one() {
    let folder = crashed().await;
    fs::remove_file(folder.path().join("archive.db-wal")).unwrap();
    fs::write(folder.path().join("archive.db"), "").unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.archive.fact("identity").await.unwrap().unwrap(), "somebody");
    assert_eq!(store.archive.snapshots(COMMUNITY).await.unwrap(), []);
    store.close().await;
}
