//! The durable mark: how far `wal.db` had come when somebody was last told, kept outside of it
//! (promise P13).
//!
//! SQLite drops, without a word, everything in its own WAL from the first frame on that is not what
//! was written, and calls the rest whole. So every change of `wal.db` has a number and a hash, and the
//! order is: the change durable, then the mark, then whoever waits is told. A crash in between leaves
//! the mark below the log, which is nothing; a log below its mark has lost what was promised. One mark
//! serves all groups, since changes of one file are lost from the end.
//!
//! The file `wal.mark` has two slots, written in turn, 4096 bytes apart so that they share no block of
//! a disk; the newer whole one counts. A slot, format 1, integers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `AlthMrk1` |
//! | 8 | the change's number |
//! | 32 | the change's hash |
//! | 32 | BLAKE3, derived in the context `althing 2026 store mark 1`, of all before |

use super::{
    super::{OpenError, directory::Directory, health::Health},
    plan::Waiter,
};
use crate::port::StoreError;
use althing_core::ids::Hash;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
};
use tokio::sync::{mpsc, oneshot};

const NAME: &str = "wal.mark";
const MAGIC: &[u8; 8] = b"AlthMrk1";
const DOMAIN: &str = "althing 2026 store mark 1";
const DOMAIN_PROGRESS: &str = "althing 2026 store progress 1";
const SLOT_BYTES: usize = 8 + 8 + 32 + 32;
const SLOT_DISTANCE: u64 = 4096;
/// Drains whose marks may wait; more make the writer wait.
const WAITING_MAX: usize = 8;

/// How far the log has come: its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Its number: 0 before the first.
    pub(super) number: u64,
    /// Its hash.
    pub(super) hash: Hash,
}

impl Progress {
    /// The change after this one, if it is not a segment: its hash is BLAKE3, derived in the context
    /// `althing 2026 store progress 1`, of its number (8 bytes, little-endian) and the hash before.
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
    /// Opens the mark of a directory, or makes one where there is no store yet.
    ///
    /// # Errors
    /// If there is a store without a mark, or a mark that cannot be read: then nobody can tell whether
    /// the log is whole.
    pub(super) fn open(directory: &Directory) -> Result<Self, OpenError> {
        let path = directory.file(NAME);
        let failed = |source| OpenError::Directory { path: path.clone(), source };
        let has_store = has_store(&directory.file(""));
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match options.open(&path) {
            Ok(file) => Self::read(file, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound && has_store => Err(missing(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Before wal.db: a log without a mark is never a new one.
                begin(directory)?;
                Self::read(options.open(&path).map_err(failed)?, &path)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// What is marked in a directory; none where there is no store yet. Makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn look(directory: &Path) -> Result<Option<Progress>, OpenError> {
        let path = directory.join(NAME);
        match File::open(&path) {
            Ok(file) => Ok(Some(Self::read(file, &path)?.marked)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(OpenError::Directory { path, source: error })
            }
            Err(_) if has_store(directory) => Err(missing(path)),
            Err(_) => Ok(None),
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
    fn write(&mut self, progress: Progress) -> Result<(), StoreError> {
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

/// Makes the mark of a log that does not exist yet, whole or not at all; durable on return. Whoever calls
/// knows that there is no log: what was promised with another is forgotten with this.
///
/// # Errors
/// If the disk says no.
pub(in super::super) fn begin(directory: &Directory) -> Result<(), OpenError> {
    let (path, beside) = (directory.file(NAME), directory.file("wal.mark.new"));
    let made = || {
        let file = File::create(&beside)?;
        file.set_len(2 * SLOT_DISTANCE)?;
        file.write_all_at(&slot(Progress::default()), 0)?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)
    };
    made().map_err(|source| OpenError::Directory { path: path.clone(), source })?;
    directory.sync()
}

/// Whether a directory has a store, or what was left of one.
fn has_store(directory: &Path) -> bool {
    ["wal.db", "archive.db"].iter().any(|file| directory.join(file).exists())
}

fn missing(path: PathBuf) -> OpenError {
    let what = "it is missing: whether wal.db has lost something cannot be told".to_owned();
    OpenError::Damaged { path, what }
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

/// The thread that marks and tells, so that a drain's mark and the next drain's transaction are on
/// their way to the disk at the same time.
pub(super) struct Marker {
    health: Health,
    queue: mpsc::Sender<Due>,
    ended: oneshot::Receiver<()>,
}

struct Due {
    progress: Progress,
    waiters: Vec<Waiter>,
}

impl Marker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(file: MarkFile, health: Health) -> io::Result<Self> {
        let (queue, due) = mpsc::channel(WAITING_MAX);
        let (end, ended) = oneshot::channel();
        let serving = health.clone();
        thread::Builder::new().name("wal-mark".to_owned()).spawn(move || {
            serve(file, due, &serving);
            // Who does not wait any more need not know.
            let _ = end.send(());
        })?;
        Ok(Self { health, queue, ended })
    }

    /// Has progress marked, and whoever waits for it told. Waits only if many marks are due.
    pub(super) async fn mark(&self, progress: Progress, waiters: Vec<Waiter>) {
        // The thread ends after this end of the queue, unless it panicked: then nothing is marked any more.
        if let Err(mpsc::error::SendError(due)) = self.queue.send(Due { progress, waiters }).await {
            let what = "the thread that marks the log has ended".to_owned();
            self.health.fail(&StoreError::Io { what, source: "it panicked, see the log".into() });
            due.waiters.into_iter().for_each(|waiter| waiter.tell(Err(self.health.refusal())));
        }
    }

    /// Returns when everything is marked and told.
    pub(super) async fn finish(self) {
        drop(self.queue);
        let _ = self.ended.await;
    }
}

fn serve(mut file: MarkFile, mut queue: mpsc::Receiver<Due>, health: &Health) {
    while let Some(mut newest) = queue.blocking_recv() {
        let mut waiters = std::mem::take(&mut newest.waiters);
        while let Ok(more) = queue.try_recv() {
            waiters.extend(more.waiters);
            newest.progress = more.progress;
        }
        // After a failure nobody knows what the disk holds: it is not tried again.
        if health.check().is_ok()
            && let Err(error) = file.write(newest.progress)
        {
            health.fail(&error);
        }
        for waiter in waiters {
            waiter.tell(health.check());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::lock(folder.path()).unwrap();
        (folder, directory)
    }

    fn progress(number: u64) -> Progress {
        Progress { number, hash: Hash::of_component(&number.to_le_bytes()) }
    }

    #[test]
    fn the_newest_mark_is_read_back() {
        let (_folder, directory) = directory();
        for number in 1..=3 {
            MarkFile::open(&directory).unwrap().write(progress(number)).unwrap();
            assert_eq!(MarkFile::open(&directory).unwrap().marked(), progress(number));
        }
    }

    #[test]
    fn a_torn_mark_leaves_the_one_before_it() {
        let (_folder, directory) = directory();
        let mut file = MarkFile::open(&directory).unwrap();
        for number in 1..=2 {
            file.write(progress(number)).unwrap();
        }
        file.file.write_all_at(&[0xff; 20], 7).unwrap();
        assert_eq!(MarkFile::open(&directory).unwrap().marked(), progress(1));
        file.file.write_all_at(&[0xff; 20], SLOT_DISTANCE + 60).unwrap();
        assert!(matches!(MarkFile::open(&directory), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn a_store_without_a_mark_is_not_taken_for_a_new_one() {
        let (folder, directory) = directory();
        std::fs::write(folder.path().join("archive.db"), "").unwrap();
        assert!(matches!(MarkFile::open(&directory), Err(OpenError::Damaged { .. })));
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

    #[tokio::test]
    async fn a_mark_that_cannot_be_written_fails_the_log_and_tells_whoever_waits() {
        let (folder, directory) = directory();
        let mut file = MarkFile::open(&directory).unwrap();
        // A descriptor that only reads: the disk says no.
        file.file = File::open(folder.path().join(NAME)).unwrap();
        let health = Health::new("log");
        let marker = Marker::start(file, health.clone()).unwrap();
        for number in 1..=2 {
            let (done, told) = oneshot::channel();
            marker.mark(progress(number), vec![Waiter::Call(done)]).await;
            assert!(told.await.unwrap().is_err());
        }
        assert!(health.check().is_err());
        marker.finish().await;
        assert_eq!(MarkFile::open(&directory).unwrap().marked(), Progress::default());
    }
}
