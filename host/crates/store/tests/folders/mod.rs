//! Data directories, copied.

use std::{fs, path::Path};
use tempfile::TempDir;

/// A copy of what a process leaves that is killed: everything but its lock and the shared memory of SQLite's
/// connections.
pub(crate) fn copied(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("there is room");
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        if path.is_file() && name != "lock" && !name.ends_with("-shm") {
            fs::copy(&path, copy.path().join(name)).expect("it can be copied");
        }
    }
    copy
}
