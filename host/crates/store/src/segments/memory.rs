//! Files in memory, with a disk's bad habits: it is full when it is told to be, it stops at any operation, and what
//! was not fsynced before is there afterwards, or not.

use super::Files;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Files in memory; clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(Arc<Mutex<Inner>>);

/// Names in folders, and the bytes that they stand for.
type Names = BTreeMap<String, BTreeMap<String, Arc<Vec<u8>>>>;

#[derive(Debug, Default)]
struct Inner {
    seen: Names,
    durable: Names,
    /// Changes that are still done; none: all.
    left: Option<u64>,
    /// Bytes that are said to be free; none: as many as there are.
    room: Option<u64>,
}

/// What a crash leaves of names that were not made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// The names as they were before.
    Lost,
    /// The names as they were last.
    Kept,
}

impl MemoryFiles {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on so many changes are done, and then none any more; none: no limit.
    pub fn stop_after(&self, changes: Option<u64>) {
        self.inner().left = changes;
    }

    /// From now on it says that so many bytes are free.
    pub fn set_room(&self, bytes: u64) {
        self.inner().room = Some(bytes);
    }

    /// The disk after a crash.
    #[must_use]
    pub fn crash(&self, unsynced: Unsynced) -> Self {
        let inner = self.inner();
        let names = match unsynced {
            Unsynced::Lost => &inner.durable,
            Unsynced::Kept => &inner.seen,
        };
        Self(Arc::new(Mutex::new(Inner { seen: names.clone(), durable: names.clone(), ..Inner::default() })))
    }

    /// Changes a file behind everybody's back.
    ///
    /// # Panics
    /// When it is not there.
    pub fn alter(&self, folder: &str, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.inner();
        let file =
            inner.seen.get_mut(folder).and_then(|files| files.get_mut(name)).expect("the file is there");
        change(Arc::make_mut(file));
        let altered = file.clone();
        inner.durable.entry(folder.to_owned()).or_default().insert(name.to_owned(), altered);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        match &mut inner.left {
            Some(0) => Err(io::Error::new(io::ErrorKind::StorageFull, "the disk takes nothing more")),
            Some(left) => {
                *left -= 1;
                Ok(inner)
            }
            None => Ok(inner),
        }
    }
}

impl Inner {
    fn folder(&mut self, folder: &str) -> io::Result<&mut BTreeMap<String, Arc<Vec<u8>>>> {
        self.seen.get_mut(folder).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Files for MemoryFiles {
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        if self.inner().seen.contains_key(folder) {
            return Ok(());
        }
        let mut inner = self.changing()?;
        inner.seen.entry(folder.to_owned()).or_default();
        inner.durable.entry(folder.to_owned()).or_default();
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let mut inner = self.inner();
        Ok(inner.folder(folder)?.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect())
    }

    fn read(&self, folder: &str, name: &str) -> io::Result<Vec<u8>> {
        let mut inner = self.inner();
        inner
            .folder(folder)?
            .get(name)
            .map(|bytes| bytes.to_vec())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Two changes: between them half of it is there.
    fn write(&self, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        for part in [&bytes[..bytes.len() / 2], bytes] {
            let mut inner = self.changing()?;
            inner.folder(folder)?.insert(name.to_owned(), Arc::new(part.to_vec()));
        }
        Ok(())
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.changing()?;
        let names = inner.folder(folder)?;
        let bytes = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, folder: &str, name: &str) -> io::Result<()> {
        let mut inner = self.changing()?;
        inner.folder(folder)?.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.inner().room.unwrap_or(u64::MAX))
    }

    fn sync(&self, folder: &str) -> io::Result<()> {
        let mut inner = self.changing()?;
        let names = inner.folder(folder)?.clone();
        inner.durable.insert(folder.to_owned(), names);
        Ok(())
    }
}
