//! Files on a disk. The root is made when it is first needed, and held by one process at a time: so a root that is not
//! there, or cannot be written, costs nothing but what was to be written.

use super::Files;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The file by which a process holds a root.
const LOCK: &str = "lock";

/// Files below a root.
#[derive(Debug)]
pub struct DiskFiles {
    root: PathBuf,
    lock: Mutex<Option<File>>,
}

impl DiskFiles {
    /// Below this root. Nothing is touched yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), lock: Mutex::new(None) }
    }

    /// Makes the root and holds it until this is dropped.
    fn hold(&self) -> io::Result<()> {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() && self.root.join(LOCK).exists() {
            return Ok(());
        }
        make_durably(&self.root)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.root.join(LOCK))?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::other("another node archives there: each needs its own folder")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        *held = Some(file);
        Ok(())
    }

    fn path(&self, folder: &str, name: &str) -> PathBuf {
        self.root.join(folder).join(name)
    }
}

impl Files for DiskFiles {
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.hold()?;
        make_durably(&self.root.join(folder))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // A name that is no text is none of ours.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                listed.push((name, metadata.len()));
            }
        }
        listed.sort_unstable();
        Ok(listed)
    }

    fn read(&self, folder: &str, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(folder, name))
    }

    fn write(&self, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.path(folder, name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(folder, from), self.path(folder, to))
    }

    fn remove(&self, folder: &str, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(folder, name))
    }

    fn free(&self) -> io::Result<u64> {
        fs4::available_space(&self.root)
    }

    fn sync(&self, folder: &str) -> io::Result<()> {
        File::open(self.root.join(folder))?.sync_all()
    }
}

/// Makes a folder and those above it, and each new name durable.
fn make_durably(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return Ok(()),
    };
    make_durably(above)?;
    fs::create_dir(folder)?;
    File::open(above)?.sync_all()
}
