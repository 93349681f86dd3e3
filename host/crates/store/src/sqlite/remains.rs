//! What remains of a data directory whose log cannot be trusted: all but the log.
//!
//! A log that ends below its mark, or is damaged, is never opened (promise P13). What it held can come
//! from the other nodes only, to replicas that never voted; so a new log may begin here once it is
//! remembered in the archive which replicas must never run here again. That is the caller's part, and the
//! order is the whole of it: remember, durably, and then [`Remains::begin_log`].
//!
//! What was lost is kept for whoever looks into it: the log's files go into a folder `lost-N` beside them, of
//! which there are a few at most; the oldest goes when there are more ([`KEPT_MAX`]). The mark goes last, and
//! the new one is made when all are durably away; so whatever a crash leaves in between is no new log but one
//! that is refused again, and the same begins anew.

use super::{
    OpenError, Settings,
    archive::SqliteArchive,
    database::check_header,
    directory::{self, Directory},
    wal::{self, SqliteWal},
};
use crate::port::{Archive, Store};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A log's files, in the order in which they are set aside.
const FILES: [&str; 4] = ["wal.db-shm", "wal.db-wal", "wal.db", "wal.mark"];
/// What a folder of a lost log is called, before its number.
const FOLDER: &str = "lost-";
/// Lost logs that are kept; the oldest goes when there are more.
const KEPT_MAX: usize = 4;

/// A data directory without its log: locked, the archive open.
pub struct Remains {
    directory: Arc<Directory>,
    settings: Settings,
    archive: Arc<SqliteArchive>,
}

impl Remains {
    /// Opens what is beside a log that [`Store::open`] has refused ([`OpenError::of_log`]). Changes
    /// nothing. The directory stays locked until [`Remains::close`], or the new store's.
    ///
    /// # Errors
    /// If the archive is missing, damaged, foreign, or newer than this version knows: then nobody can tell
    /// whose directory this is. If another process has the directory, or the disk fails.
    pub async fn open(dir: &Path) -> Result<Self, OpenError> {
        let (directory, settings) = (Arc::new(Directory::lock(dir)?), Settings::default());
        check_header(&directory.file("archive.db"))?;
        let archive = Arc::new(SqliteArchive::open(directory.clone(), settings, true).await?);
        Ok(Self { directory, settings, archive })
    }

    /// Everything but the log.
    #[must_use]
    pub fn archive(&self) -> Arc<dyn Archive> {
        self.archive.clone()
    }

    /// Sets the log aside and begins a new one. Gives the store, and the folder in which the files of the
    /// lost log are now, if any were left. No replica that ran with the lost log may run with the new
    /// one: call this only when that is remembered.
    ///
    /// # Errors
    /// If the disk says no; the directory is then refused as before, or the new log has begun.
    pub async fn begin_log(self) -> Result<(Store, Option<PathBuf>), OpenError> {
        match self.begin().await {
            Ok((wal, aside)) => Ok((Store { wal: Arc::new(wal), archive: self.archive }, aside)),
            Err(error) => {
                self.archive.close().await;
                Err(error)
            }
        }
    }

    async fn begin(&self) -> Result<(SqliteWal, Option<PathBuf>), OpenError> {
        let set_aside = set_aside(self.directory.path());
        let aside = set_aside.map_err(|(path, source)| OpenError::Directory { path, source })?;
        wal::begin_mark(&self.directory)?;
        let wal = SqliteWal::open(self.directory.clone(), self.settings).await?;
        self.directory.sync()?;
        Ok((wal, aside))
    }

    /// Writes out what is pending, and lets the directory go.
    pub async fn close(self) {
        self.archive.close().await;
    }
}

type Failed = (PathBuf, io::Error);

/// Moves what there is of a log into a folder of its own; durable on return.
fn set_aside(dir: &Path) -> Result<Option<PathBuf>, Failed> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let files: Vec<&str> = FILES.into_iter().filter(|file| dir.join(file).exists()).collect();
    if files.is_empty() {
        return Ok(None);
    }
    let lost = folders(dir).map_err(failed(dir))?;
    let folder = dir.join(format!("{FOLDER}{}", lost.last().map_or(1, |number| number + 1)));
    fs::create_dir(&folder).map_err(failed(&folder))?;
    for file in files {
        fs::rename(dir.join(file), folder.join(file)).map_err(failed(&dir.join(file)))?;
    }
    directory::sync(&folder).map_err(failed(&folder))?;
    directory::sync(dir).map_err(failed(dir))?;
    let too_many = (lost.len() + 1).saturating_sub(KEPT_MAX);
    for number in &lost[..too_many.min(lost.len())] {
        let oldest = dir.join(format!("{FOLDER}{number}"));
        tracing::warn!(folder = %oldest.display(), kept = KEPT_MAX, "the oldest of the lost logs is removed");
        // It only takes room: what fails here harms nobody.
        if let Err(error) = fs::remove_dir_all(&oldest) {
            tracing::warn!(folder = %oldest.display(), %error, "a lost log could not be removed");
        }
    }
    Ok(Some(folder))
}

/// The numbers of the folders that there are, ascending.
fn folders(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_logs_are_kept_apart_and_the_oldest_goes_when_there_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(set_aside(folder.path()).unwrap(), None, "there was nothing");
        for number in 1..=KEPT_MAX + 2 {
            fs::write(folder.path().join("wal.db"), number.to_string()).unwrap();
            fs::write(folder.path().join("wal.mark"), "").unwrap();
            let aside = set_aside(folder.path()).unwrap().unwrap();
            assert_eq!(aside, folder.path().join(format!("lost-{number}")));
            assert_eq!(fs::read_to_string(aside.join("wal.db")).unwrap(), number.to_string());
            assert!(aside.join("wal.mark").exists() && !folder.path().join("wal.db").exists());
        }
        assert_eq!(folders(folder.path()).unwrap(), [3, 4, 5, 6]);
    }
}
