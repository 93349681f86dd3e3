//! A durable mark: how far a file had come when somebody was last told, kept outside of it.
//!
//! SQLite drops, without a word, everything in its own WAL from the first frame on that is not what
//! was written, and calls the rest whole. So the changes of a file have numbers, and the last one that
//! somebody was told of is marked beside it. What a file that ends below its mark means is the business of
//! its owner: [`super::wal`] must not go on, [`super::archive`] can.
//!
//! A mark has two slots, written in turn, 4096 bytes apart so that they share no block of
//! a disk; the newer whole one counts. A slot, format 1, integers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `AlthMrk1` |
//! | 8 | the change's number |
//! | 32 | the change's hash |
//! | 32 | BLAKE3, derived in the context `althing 2026 store mark 1`, of all before |

use super::{OpenError, directory::Directory};
use crate::port::StoreError;
use althing_core::ids::Hash;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"AlthMrk1";
const DOMAIN: &str = "althing 2026 store mark 1";
const DOMAIN_PROGRESS: &str = "althing 2026 store progress 1";
const SLOT_BYTES: usize = 8 + 8 + 32 + 32;
const SLOT_DISTANCE: u64 = 4096;

/// How far a file has come: its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Its number: 0 before the first.
    pub(super) number: u64,
    /// Its hash.
    pub(super) hash: Hash,
}

impl Progress {
    /// The change after this one, if it has no hash of its own, as a segment of a log has: BLAKE3, derived in
    /// the context `althing 2026 store progress 1`, of its number (8 bytes, little-endian) and the hash before.
    pub(super) fn next(self) -> Self {
        let number = self.number + 1;
        let hash = Hash::of(DOMAIN_PROGRESS, &[&number.to_le_bytes()[..], &self.hash.0].concat());
        Self { number, hash }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    path: PathBuf,
    marked: Progress,
    /// Where the next one goes: not over the newer one.
    next_slot: u64,
}

impl MarkFile {
    /// Opens a mark; none if it is not there.
    ///
    /// # Errors
    /// If it cannot be read, or neither slot is what was written.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, OpenError> {
        Self::with(path, OpenOptions::new().read(true).write(true))
    }

    /// What is marked; none if there is no mark. Needs no right to write.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn look(path: &Path) -> Result<Option<Progress>, OpenError> {
        Ok(Self::with(path, OpenOptions::new().read(true))?.map(|file| file.marked))
    }

    /// A mark that the disk refuses to write.
    #[cfg(test)]
    pub(super) fn read_only(path: &Path) -> Option<Self> {
        Self::with(path, OpenOptions::new().read(true)).ok().flatten()
    }

    /// Makes a mark, whole or not at all, of a file that has no change yet; durable on return.
    ///
    /// # Errors
    /// If the disk says no.
    pub(super) fn begin(directory: &Directory, name: &str) -> Result<Self, OpenError> {
        let (path, beside) = (directory.file(name), directory.file(&format!("{name}.new")));
        let made = || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&beside)?;
            file.set_len(2 * SLOT_DISTANCE)?;
            file.write_all_at(&slot(Progress::default()), 0)?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)?;
            Ok(file)
        };
        let file = made().map_err(|source| OpenError::Directory { path: path.clone(), source })?;
        directory.sync()?;
        Ok(Self { file, path, marked: Progress::default(), next_slot: 1 })
    }

    fn with(path: &Path, options: &OpenOptions) -> Result<Option<Self>, OpenError> {
        match options.open(path) {
            Ok(file) => Self::read(file, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(OpenError::Directory { path: path.to_owned(), source }),
        }
    }

    fn read(file: File, path: &Path) -> Result<Self, OpenError> {
        let read = |number: u64| {
            let mut bytes = [0; SLOT_BYTES];
            file.read_exact_at(&mut bytes, number * SLOT_DISTANCE).ok()?;
            parse(&bytes)
        };
        let newest = [0, 1].into_iter().filter_map(|at| Some((read(at)?, at)));
        let Some((marked, at)) = newest.max_by_key(|(progress, _)| progress.number) else {
            let what = "neither of its slots is what was written".to_owned();
            return Err(OpenError::Damaged { path: path.to_owned(), what });
        };
        Ok(Self { file, path: path.to_owned(), marked, next_slot: 1 - at })
    }

    /// What is marked.
    pub(super) fn marked(&self) -> Progress {
        self.marked
    }

    /// Marks progress; durable on return.
    ///
    /// # Errors
    /// If the disk says no. What it holds then nobody knows: it is not to be tried again.
    pub(super) fn write(&mut self, progress: Progress) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io {
            what: format!("the mark cannot be written to {}", self.path.display()),
            source: Box::<io::Error>::new(source),
        };
        self.file.write_all_at(&slot(progress), self.next_slot * SLOT_DISTANCE).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        (self.marked, self.next_slot) = (progress, 1 - self.next_slot);
        Ok(())
    }
}

fn slot(progress: Progress) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..16].copy_from_slice(&progress.number.to_le_bytes());
    slot[16..48].copy_from_slice(&progress.hash.0);
    let check = Hash::of(DOMAIN, &slot[..48]);
    slot[48..].copy_from_slice(&check.0);
    slot
}

fn parse(slot: &[u8; SLOT_BYTES]) -> Option<Progress> {
    let (head, check) = slot.split_at(48);
    if head[..8] != *MAGIC || *check != Hash::of(DOMAIN, head).0 {
        return None;
    }
    let number = u64::from_le_bytes(head[8..16].try_into().ok()?);
    Some(Progress { number, hash: Hash(head[16..].try_into().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "some.mark";

    fn directory() -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::lock(folder.path()).unwrap();
        (folder, directory)
    }

    fn opened(directory: &Directory) -> MarkFile {
        MarkFile::open(&directory.file(NAME)).unwrap().unwrap()
    }

    fn progress(number: u64) -> Progress {
        Progress { number, hash: Hash::of_component(&number.to_le_bytes()) }
    }

    #[test]
    fn the_newest_mark_is_read_back() {
        let (_folder, directory) = directory();
        assert!(MarkFile::open(&directory.file(NAME)).unwrap().is_none());
        MarkFile::begin(&directory, NAME).unwrap().write(progress(1)).unwrap();
        for number in 2..=4 {
            assert_eq!(opened(&directory).marked(), progress(number - 1));
            opened(&directory).write(progress(number)).unwrap();
            assert_eq!(MarkFile::look(&directory.file(NAME)).unwrap(), Some(progress(number)));
        }
    }

    #[test]
    fn a_torn_mark_leaves_the_one_before_it() {
        let (_folder, directory) = directory();
        let mut file = MarkFile::begin(&directory, NAME).unwrap();
        for number in 1..=2 {
            file.write(progress(number)).unwrap();
        }
        file.file.write_all_at(&[0xff; 20], 7).unwrap();
        assert_eq!(opened(&directory).marked(), progress(1));
        file.file.write_all_at(&[0xff; 20], SLOT_DISTANCE + 60).unwrap();
        assert!(matches!(MarkFile::open(&directory.file(NAME)), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn the_stored_form_never_changes() {
        let slot = slot(Progress { number: 258, hash: Hash([7; 32]) });
        assert_eq!(slot[..16], *b"AlthMrk1\x02\x01\0\0\0\0\0\0");
        assert_eq!(
            Hash(slot[48..].try_into().unwrap()).to_string(),
            "feaaa625a48a284fb4e7a4cc61c6eb4091e923eea65f184863598d3418728a4d"
        );
        assert_eq!(parse(&slot), Some(Progress { number: 258, hash: Hash([7; 32]) }));
        let next = Progress { number: 258, hash: Hash([7; 32]) }.next();
        assert_eq!(
            (next.number, next.hash.to_string()),
            (259, "202f7e331537f7afaf63e60b5c0527568e7b94b0b47e4f6f69570f99a1f79391".to_owned())
        );
        for bit in 0..SLOT_BYTES * 8 {
            let mut flipped = slot;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped), None, "bit {bit}");
        }
    }
}
