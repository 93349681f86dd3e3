//! Files of archived history: one folder for each community, one file for each segment, named by its first sequence.
//!
//! A file has its name only when it is whole and durable: written under another name, fsynced, renamed, and then the
//! folder fsynced. So a crash at any point leaves the whole file or none. What is in a file is for others to know.
//! Everything here blocks: it belongs on a thread of its own.

mod disk;
mod memory;

pub use disk::DiskFiles;
pub use memory::{MemoryFiles, Unsynced};

use althing_core::ids::Sequence;
use std::{io, sync::Arc};

/// What a segment's file is called, after its first sequence.
const SUFFIX: &str = ".segment";
/// What is added to a name while the file is not whole.
const TEMPORARY: &str = ".part";
/// What is added to the name of a file that was found damaged.
const DAMAGED: &str = ".damaged";
/// Digits of a sequence in a name, so that names sort as sequences do.
const DIGITS: usize = 20;
/// Damaged files of one name that are kept.
const DAMAGED_MAX: u32 = 1000;

/// What it takes of a disk. Folders have one level, below a root.
pub trait Files: Send + Sync {
    /// Makes a folder, if it is not there, and its name durable.
    fn make_folder(&self, folder: &str) -> io::Result<()>;
    /// The files in a folder, with their sizes, ascending by name.
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;
    /// A file's bytes.
    fn read(&self, folder: &str, name: &str) -> io::Result<Vec<u8>>;
    /// Writes a file, whatever was there before, and fsyncs it.
    fn write(&self, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name, in place of whatever has it.
    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, folder: &str, name: &str) -> io::Result<()>;
    /// Bytes that are free.
    fn free(&self) -> io::Result<u64>;
    /// Makes what was renamed and removed in a folder durable.
    fn sync(&self, folder: &str) -> io::Result<()>;
}

/// One community's segments; cheap to clone.
#[derive(Clone)]
pub struct Segments {
    files: Arc<dyn Files>,
    folder: String,
}

/// A segment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its first sequence, by its name.
    pub first: Sequence,
    /// Its size.
    pub bytes: u64,
}

impl Segments {
    /// Those in a folder.
    #[must_use]
    pub fn new(files: Arc<dyn Files>, folder: String) -> Self {
        Self { files, folder }
    }

    /// Makes the folder, removes what a crash left half-written, and makes what is there durable.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(&self) -> io::Result<()> {
        self.files.make_folder(&self.folder)?;
        let listed = self.files.list(&self.folder)?;
        let mut left = listed.iter().filter(|(name, _)| name.ends_with(TEMPORARY));
        left.try_for_each(|(name, _)| self.files.remove(&self.folder, name))?;
        // Also for what was given its name by somebody who did not come as far as this.
        self.files.sync(&self.folder)
    }

    /// The segments that are there, ascending.
    ///
    /// # Errors
    /// The disk's.
    pub fn list(&self) -> io::Result<Vec<Stored>> {
        let listed = self.files.list(&self.folder)?;
        Ok(listed
            .iter()
            .filter_map(|(name, bytes)| Some(Stored { first: first(name)?, bytes: *bytes }))
            .collect())
    }

    /// A segment's bytes.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(&self, first: Sequence) -> io::Result<Vec<u8>> {
        self.files.read(&self.folder, &file_name(first))
    }

    /// Adds a segment, if `reserve` bytes stay free; durable on return. After an error nothing is there, or all of it.
    ///
    /// # Errors
    /// The disk's; there is no room; one of that name is there already.
    pub fn add(&self, first: Sequence, bytes: &[u8], reserve: u64) -> io::Result<()> {
        self.has_room(bytes.len() as u64, reserve)?;
        let name = file_name(first);
        if self.list()?.iter().any(|stored| stored.first == first) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} is there already")));
        }
        let temporary = format!("{name}{TEMPORARY}");
        self.files.write(&self.folder, &temporary, bytes)?;
        self.files.rename(&self.folder, &temporary, &name)?;
        self.files.sync(&self.folder)
    }

    fn has_room(&self, bytes: u64, reserve: u64) -> io::Result<()> {
        let free = self.files.free()?;
        if free >= reserve.saturating_add(bytes) {
            return Ok(());
        }
        let (free, reserve) = (free >> 20, reserve >> 20);
        let why = format!("its disk has {free} MiB free, and {reserve} MiB are kept free");
        Err(io::Error::new(io::ErrorKind::StorageFull, why))
    }

    /// Gives a segment a name under which it is none; that name.
    ///
    /// # Errors
    /// The disk's.
    pub fn set_aside(&self, first: Sequence) -> io::Result<String> {
        let name = file_name(first);
        let taken = self.files.list(&self.folder)?;
        let is_free = |aside: &String| !taken.iter().any(|(name, _)| name == aside);
        let mut names = (1..=DAMAGED_MAX).map(|number| format!("{name}{DAMAGED}-{number}"));
        let aside = names.find(is_free).ok_or_else(|| io::Error::other("too many damaged files are kept"))?;
        self.files.rename(&self.folder, &name, &aside)?;
        self.files.sync(&self.folder)?;
        Ok(aside)
    }
}

/// The name of a segment's file.
#[must_use]
pub fn file_name(first: Sequence) -> String {
    format!("{:0DIGITS$}{SUFFIX}", first.0)
}

/// The first sequence of the segment whose file has this name; none if it is no segment's.
#[must_use]
pub fn first(name: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_name = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_name.then(|| digits.parse().ok().map(Sequence))?
}

#[cfg(test)]
mod tests;
