//! The store on disk: `wal.db` with its mark `wal.mark`, `archive.db` with `archive.mark`, and the node's facts
//! with their copy, in one directory that one process holds.
//!
//! Two files because they have two rhythms: the log is written on the way to every
//! acknowledgement, the archive beside it, and neither waits for the other's fsync. Each file has
//! one writer connection, owned by one task, that also makes the checkpoints; a small pool reads.

mod archive;
mod database;
mod directory;
mod facts;
mod health;
pub mod inspect;
mod mark;
mod mended;
mod remains;
mod wal;

pub use database::OpenError;
pub use mended::Mended;
pub use remains::Remains;

/// How many bytes the disk of a data directory has free, for this process.
///
/// # Errors
/// When the directory is not there, or the system does not say.
pub fn free_bytes(dir: &Path) -> std::io::Result<u64> {
    fs4::available_space(dir)
}

use crate::port::Store;
use archive::SqliteArchive;
use directory::Directory;
use std::{path::Path, sync::Arc};
use wal::SqliteWal;

/// How much memory and how many connections a store on disk may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of recent log entries kept in memory for followers, over all groups. What is not yet
    /// written is held in any case.
    pub wal_cache_bytes: usize,
    /// Connections that read the log.
    pub wal_readers: u32,
    /// Connections that read the archive.
    pub archive_readers: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { wal_cache_bytes: 64 << 20, wal_readers: 2, archive_readers: 2 }
    }
}

impl Store {
    /// Opens the store in a directory, creates what is missing, and checks what is there. The
    /// directory stays locked until [`Store::close`]. Needs a tokio runtime with timers.
    ///
    /// # Errors
    /// If another process has the directory, a file is damaged, foreign, or newer than this version
    /// knows, or the disk fails.
    pub async fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, Settings::default()).await
    }

    /// [`Store::open`] with other settings than the default ones.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(dir: &Path, settings: Settings) -> Result<Self, OpenError> {
        let directory = Arc::new(Directory::lock(dir)?);
        // What is none of ours is left as it is, and nothing of ours put beside it.
        for file in ["wal.db", "archive.db"] {
            database::check_header(&directory.file(file))?;
        }
        let wal = SqliteWal::open(directory.clone(), settings).await?;
        let archive = match open_archive(&directory, settings, &wal).await {
            Ok(archive) => archive,
            Err(error) => {
                wal.shut().await;
                return Err(error);
            }
        };
        directory.sync()?;
        Ok(Self { wal: Arc::new(wal), archive: Arc::new(archive) })
    }
}

/// Opens the archive beside a log. Whoever has written the log had one.
async fn open_archive(
    directory: &Arc<Directory>,
    settings: Settings,
    wal: &SqliteWal,
) -> Result<SqliteArchive, OpenError> {
    SqliteArchive::open(directory.clone(), settings, wal.has_groups()).await
}
