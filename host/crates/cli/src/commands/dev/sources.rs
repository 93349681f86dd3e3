//! Whether the files of a crate have changed: what cargo would build from, by time and name. Asked
//! now and then; no watching by the kernel, which differs on every system.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Deepest folder looked into: deeper ones are no sources.
const DEPTH_MAX: usize = 16;

/// The files of a crate, as they were last seen.
#[derive(Debug)]
pub(super) struct Sources {
    folder: PathBuf,
    seen: BTreeMap<PathBuf, SystemTime>,
}

impl Sources {
    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), seen: look(folder) }
    }

    /// Whether anything is other than when last asked.
    pub(super) fn have_changed(&mut self) -> bool {
        let now = look(&self.folder);
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

fn look(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut seen = BTreeMap::new();
    look_into(folder, DEPTH_MAX, &mut seen);
    seen
}

/// What cannot be read is not there: it was removed, or will be told by cargo.
fn look_into(folder: &Path, depth: usize, seen: &mut BTreeMap<PathBuf, SystemTime>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && !hidden && name != "target" && depth > 0 => {
                look_into(&path, depth - 1, seen);
            }
            Ok(metadata) if metadata.is_file() && is_source(&path) => {
                seen.insert(path, metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            }
            _ => {}
        }
    }
}

fn is_source(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "toml" | "json" | "wit"))
}

#[cfg(test)]
mod tests {
    use super::Sources;
    use std::fs;

    #[test]
    fn a_new_file_is_a_change_and_what_is_built_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("src")).unwrap();
        fs::create_dir_all(folder.path().join("target")).unwrap();
        let mut sources = Sources::of(folder.path());
        assert!(!sources.have_changed());
        fs::write(folder.path().join("src/lib.rs"), "1").unwrap();
        assert!(sources.have_changed());
        assert!(!sources.have_changed());
        fs::write(folder.path().join("target/out.rs"), "1").unwrap();
        assert!(!sources.have_changed());
        fs::remove_file(folder.path().join("src/lib.rs")).unwrap();
        assert!(sources.have_changed());
    }
}
