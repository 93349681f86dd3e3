//! Wherever a crash falls, a folder of segments can be gone on with.

use super::{DiskFiles, Files, MemoryFiles, Segments, Unsynced, file_name, first};
use althing_core::ids::Sequence;
use std::{fs, sync::Arc};

const FOLDER: &str = "guild-1";

fn segments(files: &MemoryFiles) -> Segments {
    Segments::new(Arc::new(files.clone()), FOLDER.to_owned())
}

fn body(number: u64) -> Vec<u8> {
    vec![number as u8; 100]
}

#[test]
fn names_sort_as_sequences_do_and_what_is_no_name_is_none() {
    assert_eq!(file_name(Sequence(4097)), "00000000000000004097.segment");
    assert_eq!(first(&file_name(Sequence(u64::MAX))), Some(Sequence(u64::MAX)));
    for name in
        ["4097.segment", "0000000000000000409x.segment", "00000000000000004097.segment.part", "lock", ""]
    {
        assert_eq!(first(name), None, "{name}");
    }
    assert_eq!(first("99999999999999999999.segment"), None, "no sequence is that large");
}

/// Archives what is not there yet, as a node does after a start; as far as the disk lets it.
fn archive(files: &MemoryFiles, upto: u64) -> std::io::Result<()> {
    let segments = segments(files);
    segments.open()?;
    let last = segments.list()?.last().map_or(0, |last| last.first.0);
    (last + 1..=upto).try_for_each(|number| segments.add(Sequence(number), &body(number), 0))
}

#[test]
fn a_crash_at_any_point_leaves_whole_files_and_what_was_added_stays() {
    for unsynced in [Unsynced::Lost, Unsynced::Kept] {
        for changes in 0.. {
            let files = MemoryFiles::new();
            archive(&files, 2).unwrap();
            files.stop_after(Some(changes));
            let is_done = archive(&files, 5).is_ok();
            let after = files.crash(unsynced);
            archive(&after, 6).unwrap();
            let listed = segments(&after).list().unwrap();
            let wanted: Vec<u64> = (1..=6).collect();
            assert_eq!(listed.iter().map(|stored| stored.first.0).collect::<Vec<_>>(), wanted, "{changes}");
            for number in wanted {
                assert_eq!(segments(&after).read(Sequence(number)).unwrap(), body(number), "{changes}");
            }
            let names: Vec<String> = after.list(FOLDER).unwrap().into_iter().map(|(name, _)| name).collect();
            assert!(names.iter().all(|name| first(name).is_some()), "something is left over: {names:?}");
            if is_done {
                assert!(changes > 10, "it stopped at every step before");
                break;
            }
        }
    }
}

#[test]
fn what_is_there_is_never_written_over_and_what_is_damaged_is_kept_under_another_name() {
    let files = MemoryFiles::new();
    archive(&files, 2).unwrap();
    let segments = segments(&files);
    assert!(segments.add(Sequence(2), b"other", 0).is_err());
    assert_eq!(segments.read(Sequence(2)).unwrap(), body(2));
    for number in 1..=2 {
        let aside = segments.set_aside(Sequence(2)).unwrap();
        assert_eq!(aside, format!("00000000000000000002.segment.damaged-{number}"));
        assert_eq!(segments.list().unwrap().len(), 1);
        segments.add(Sequence(2), &body(2), 0).unwrap();
    }
}

#[test]
fn on_a_disk_it_is_the_same_and_two_nodes_do_not_share_a_root() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("archive");
    let here = Segments::new(Arc::new(DiskFiles::new(&root)), FOLDER.to_owned());
    here.open().unwrap();
    here.add(Sequence(1), &body(1), 0).unwrap();
    fs::write(root.join(FOLDER).join("00000000000000000002.segment.part"), b"half").unwrap();
    here.open().unwrap();
    assert!(!root.join(FOLDER).join("00000000000000000002.segment.part").exists());
    assert_eq!(here.list().unwrap()[0].bytes, 100);
    assert_eq!(here.read(Sequence(1)).unwrap(), body(1));
    let _ = here.set_aside(Sequence(1)).unwrap();
    assert_eq!(here.list().unwrap(), []);
    let other = Segments::new(Arc::new(DiskFiles::new(&root)), FOLDER.to_owned());
    assert!(other.open().unwrap_err().to_string().contains("another node"));
    drop(here);
    other.open().unwrap();
}

#[test]
fn a_root_that_cannot_be_made_is_an_error_until_it_can() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("archive");
    fs::write(&root, b"in the way").unwrap();
    let segments = Segments::new(Arc::new(DiskFiles::new(&root)), FOLDER.to_owned());
    assert!(segments.open().is_err());
    fs::remove_file(&root).unwrap();
    segments.open().unwrap();
    segments.add(Sequence(1), &body(1), 0).unwrap();
}

#[test]
fn a_disk_that_is_nearly_full_is_left_as_it_is() {
    let files = MemoryFiles::new();
    archive(&files, 1).unwrap();
    files.set_room(1099);
    let error = segments(&files).add(Sequence(2), &body(2), 1000).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(files.list(FOLDER).unwrap().len(), 1);
    files.set_room(1100);
    segments(&files).add(Sequence(2), &body(2), 1000).unwrap();
}
