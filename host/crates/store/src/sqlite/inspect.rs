//! Looking at a data directory that no node runs on, without changing anything in it: what
//! [`Store::open`](crate::port::Store::open) would say, and, as far as it can be read, what is there.
//!
//! The same loaders read it as at a start, so they come to the same. SQLite must not get at the files
//! themselves where it would write: a file with something in its WAL is copied, into a folder that the
//! caller gives, and opened there as a node opens it; one without is read where it is, as a file that
//! never changes. Meanwhile the directory's lock is shared with others who look, so no node can start.

use super::{
    Mended, OpenError,
    archive::{self, ArchiveFile, SqliteArchive},
    database::{Database, Format},
    wal::{self, LogFile, SqliteWal},
};
use crate::port::{Archive, StoreError, Wal};
use althing_core::ids::{CommunityId, Hash};
use sqlx::{Connection as _, SqlitePool};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Connections that read a file.
const READERS: u32 = 2;
/// How deep folders in a data directory are looked into for their sizes.
const DEPTH_MAX: u32 = 8;

/// Why nothing can be said of a data directory.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is no such directory, or it cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The directory, or the file in it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A node has it.
    #[error("{} is in use by a running node (pid {holder}): ask it with `althing status`, or stop it first", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The node's process id, as far as known.
        holder: String,
    },
    /// A copy cannot be made.
    #[error(
        "{} was not closed by its node, so a copy of its {bytes} bytes is needed to look at it, and none can be made \
         in {}: give a folder with room for it",
        path.display(), scratch.display()
    )]
    NoCopy {
        /// The file.
        path: PathBuf,
        /// Its bytes, with what lies beside it.
        bytes: u64,
        /// Where the copy was to be.
        scratch: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A data directory that was looked at.
pub struct Inspection {
    /// The number of the change that was marked last; none where there is no store yet.
    pub marked: Result<Option<u64>, OpenError>,
    /// The log.
    pub log: Result<InspectedLog, OpenError>,
    /// The archive.
    pub archive: Result<InspectedArchive, OpenError>,
    /// As long as it lives, no node starts on the directory.
    _lock: Option<File>,
}

/// A log that can be read.
pub struct InspectedLog {
    /// It reads; whatever would change it is refused with [`StoreError::Closed`].
    pub wal: Arc<dyn Wal>,
    /// The number of its last change.
    pub changes: u64,
    /// How many segments each group has, and of how many bytes.
    pub segments: BTreeMap<CommunityId, (u64, u64)>,
    /// An error if it is not the log that was marked: it has lost what somebody was told.
    pub chain: Result<(), OpenError>,
}

/// An archive that can be read.
pub struct InspectedArchive {
    /// It reads; whatever would change it is refused with [`StoreError::Closed`].
    pub archive: Arc<dyn Archive>,
    file: ArchiveFile,
}

/// Something in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its bytes; of a folder, those of everything in it.
    pub bytes: u64,
    /// How many files that is; none for a file.
    pub files: Option<u64>,
}

impl Inspection {
    /// Looks at a directory. `scratch` is an empty folder for copies, which the caller removes when the
    /// inspection is dropped. Needs a tokio runtime with timers.
    ///
    /// # Errors
    /// See [`InspectError`]: then nothing can be said. What is wrong with the directory is no error here.
    pub async fn of(directory: &Path, scratch: &Path) -> Result<Self, InspectError> {
        let lock = share_lock(directory)?;
        let mark = wal::marked(directory);
        let (mark, marked) = match mark {
            Ok(mark) => (mark, Ok(mark.map(wal::Marked::number))),
            Err(error) => (None, Err(error)),
        };
        let path = directory.join("wal.db");
        let reached = marked.as_ref().ok().copied().flatten().unwrap_or(0);
        let log = match readers(&path, SqliteWal::FORMAT, scratch, reached).await? {
            Ok(readers) => wal::look(readers, &path, mark).await,
            Err(error) => Err(error),
        };
        let is_used = match &log {
            Ok(log) => log.wal.groups().await.is_ok_and(|groups| !groups.is_empty()),
            Err(_) => true,
        };
        let archive = inspected_archive(directory, scratch, is_used).await?;
        Ok(Self { marked, log: log.map(Into::into), archive, _lock: lock })
    }

    /// What a node would be told that opens the store here; none if it would be opened.
    #[must_use]
    pub fn refusal(&self) -> Option<&OpenError> {
        let log = self.log.as_ref().err();
        let archive = self.archive.as_ref().err();
        let is_foreign = |error: &&OpenError| matches!(error, OpenError::Foreign { .. });
        // In the order in which a node meets them.
        log.filter(is_foreign)
            .or(archive.filter(is_foreign))
            .or(self.marked.as_ref().err())
            .or(log)
            .or(self.log.as_ref().ok().and_then(|log| log.chain.as_ref().err()))
            .or(archive)
    }

    /// Everything that is wrong with the files, not only the first.
    #[must_use]
    pub fn damages(&self) -> Vec<&OpenError> {
        let chain = self.log.as_ref().ok().and_then(|log| log.chain.as_ref().err());
        let all = [self.marked.as_ref().err(), self.log.as_ref().err(), chain, self.archive.as_ref().err()];
        all.into_iter().flatten().collect()
    }

    /// What is wrong with the files, and mended by a start.
    #[must_use]
    pub fn mended(&self) -> &[Mended] {
        self.archive.as_ref().map_or(&[], |archive| &archive.file.mended)
    }

    /// Closes what is open, so that the copies can be removed.
    pub async fn close(self) {
        if let Ok(log) = self.log {
            log.wal.close().await;
        }
        if let Ok(archive) = self.archive {
            archive.archive.close().await;
        }
    }
}

impl InspectedArchive {
    /// The communities that have snapshots or history here.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn communities(&self) -> Result<BTreeSet<CommunityId>, StoreError> {
        self.file.communities().await
    }

    /// Which of these chunks are not here; their bytes are not looked at.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn missing_chunks(&self, hashes: &[Hash]) -> Result<Vec<Hash>, StoreError> {
        self.file.missing_chunks(hashes).await
    }

    /// How many rows the tables `chunks` and `history` have, and how many bytes are in them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn sizes(&self) -> Result<BTreeMap<&'static str, (u64, u64)>, StoreError> {
        self.file.sizes().await
    }
}

impl From<LogFile> for InspectedLog {
    fn from(LogFile { wal, changes, segments, chain }: LogFile) -> Self {
        Self { wal, changes, segments, chain }
    }
}

async fn inspected_archive(
    directory: &Path,
    scratch: &Path,
    is_used: bool,
) -> Result<Result<InspectedArchive, OpenError>, InspectError> {
    if let Err(error) = archive::check_there(directory, is_used) {
        return Ok(Err(error));
    }
    let readers = readers(&directory.join("archive.db"), SqliteArchive::FORMAT, scratch, 0).await?;
    let file = match readers {
        Ok(readers) => archive::look(readers, directory, is_used).await,
        Err(error) => Err(error),
    };
    Ok(file.map(|file| InspectedArchive { archive: file.archive.clone(), file }))
}

/// What lies in a data directory, by name.
///
/// # Errors
/// [`InspectError::Unreadable`].
pub fn files(directory: &Path) -> Result<Vec<Found>, InspectError> {
    let failed = |source| InspectError::Unreadable { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let (files, bytes) = size(&entry.path(), DEPTH_MAX);
        found.push(Found { name, bytes, files: entry.path().is_dir().then_some(files) });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// How many files a path is, and how many bytes. What cannot be read counts as nothing.
fn size(path: &Path, depth: u32) -> (u64, u64) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return (0, 0) };
    if !metadata.is_dir() || depth == 0 {
        return (1, metadata.len());
    }
    let inner = fs::read_dir(path).into_iter().flatten().flatten();
    inner.map(|entry| size(&entry.path(), depth - 1)).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

/// Shares the lock with others who look; none where no node has ever been.
fn share_lock(directory: &Path) -> Result<Option<File>, InspectError> {
    let unreadable = |path: &Path, source| InspectError::Unreadable { path: path.to_owned(), source };
    fs::read_dir(directory).map_err(|source| unreadable(directory, source))?;
    let path = directory.join("lock");
    let mut lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message: a holder that cannot be read is just not named.
            let _ = lock.read_to_string(&mut holder);
            let path = directory.to_owned();
            Err(InspectError::InUse { path, holder: holder.trim().to_owned() })
        }
        Err(TryLockError::Error(source)) => Err(unreadable(&path, source)),
    }
}

/// Connections to a file, or to its copy; one that must have come to change `marked`, if that is not 0.
async fn readers(
    path: &Path,
    format: &Format,
    scratch: &Path,
    marked: u64,
) -> Result<Result<SqlitePool, OpenError>, InspectError> {
    let is_settled = bytes(path) > 0 && journals(path).iter().all(|journal| bytes(journal) == 0);
    if is_settled {
        match Database::look(path, format, READERS).await {
            Ok(Some(readers)) => return Ok(Ok(readers)),
            Ok(None) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    let copy = copied(path, scratch)?;
    Ok(opened(&copy, format, marked).await.map_err(|error| error.about(path)))
}

/// Opens a copy as a node would open the original.
async fn opened(copy: &Path, format: &Format, marked: u64) -> Result<SqlitePool, OpenError> {
    let Database { writer, readers } = Database::open(copy, format, READERS, marked).await?;
    let closed = writer.close().await;
    closed.map_err(|error| super::database::opening(copy, error))?;
    Ok(readers)
}

/// Copies a file and what SQLite has beside it; what is not there is not there in the copy either.
fn copied(path: &Path, scratch: &Path) -> Result<PathBuf, InspectError> {
    let name = path.file_name().expect("a file of a store has a name");
    let [wal, journal] = journals(path);
    let all = [path.to_owned(), wal, journal];
    for file in all.iter().filter(|file| file.exists()) {
        let to = scratch.join(file.file_name().expect("as above"));
        fs::copy(file, to).map_err(|source| InspectError::NoCopy {
            path: path.to_owned(),
            bytes: all.iter().map(|file| bytes(file)).sum(),
            scratch: scratch.to_owned(),
            source,
        })?;
    }
    Ok(scratch.join(name))
}

/// What SQLite may have beside a file that belongs to its content.
fn journals(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-journal"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// A file's bytes; none if it is not there.
fn bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
