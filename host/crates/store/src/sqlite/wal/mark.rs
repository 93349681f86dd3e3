//! The log's mark, `wal.mark`, and the thread that writes it (promise P13).
//!
//! One mark serves all groups, since changes of one file are lost from the end. The order is: the change
//! durable, then the mark, then whoever waits is told. A crash in between leaves the mark below the log,
//! which is nothing; a log below its mark has lost what was promised.

use super::{
    super::{
        OpenError,
        directory::Directory,
        health::Health,
        mark::{MarkFile, Progress},
    },
    plan::Waiter,
};
use crate::port::StoreError;
use std::{
    io,
    path::{Path, PathBuf},
    thread,
};
use tokio::sync::{mpsc, oneshot};

const NAME: &str = "wal.mark";
/// Drains whose marks may wait; more make the writer wait.
const WAITING_MAX: usize = 8;

/// Opens the mark of a directory, or makes one where there is no store yet.
///
/// # Errors
/// If there is a store without a mark, or a mark that cannot be read: then nobody can tell whether
/// the log is whole.
pub(super) fn open(directory: &Directory) -> Result<MarkFile, OpenError> {
    let path = directory.file(NAME);
    match MarkFile::open(&path)? {
        Some(file) => Ok(file),
        None if has_store(directory.path()) => Err(missing(path)),
        // Before wal.db: a log without a mark is never a new one.
        None => begin(directory),
    }
}

/// What is marked in a directory; none where there is no store yet. Makes nothing.
///
/// # Errors
/// As [`open`].
pub(super) fn look(directory: &Path) -> Result<Option<Progress>, OpenError> {
    let path = directory.join(NAME);
    match MarkFile::look(&path)? {
        None if has_store(directory) => Err(missing(path)),
        marked => Ok(marked),
    }
}

/// Makes the mark of a log that does not exist yet, whole or not at all; durable on return. Whoever calls
/// knows that there is no log: what was promised with another is forgotten with this.
///
/// # Errors
/// If the disk says no.
pub(in super::super) fn begin(directory: &Directory) -> Result<MarkFile, OpenError> {
    MarkFile::begin(directory, NAME)
}

/// Whether a directory has a store, or what was left of one.
fn has_store(directory: &Path) -> bool {
    ["wal.db", "archive.db", "facts", "facts.copy"].iter().any(|file| directory.join(file).exists())
}

fn missing(path: PathBuf) -> OpenError {
    let what = "it is missing: whether wal.db has lost something cannot be told".to_owned();
    OpenError::Damaged { path, what }
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
    use althing_core::ids::Hash;
    use std::fs;

    fn directory() -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::lock(folder.path()).unwrap();
        (folder, directory)
    }

    #[test]
    fn a_store_without_a_mark_is_not_taken_for_a_new_one() {
        for file in ["wal.db", "archive.db", "facts", "facts.copy"] {
            let (folder, directory) = directory();
            fs::write(folder.path().join(file), "").unwrap();
            assert!(matches!(open(&directory), Err(OpenError::Damaged { .. })), "{file}");
            assert!(matches!(look(folder.path()), Err(OpenError::Damaged { .. })), "{file}");
        }
    }

    #[tokio::test]
    async fn a_mark_that_cannot_be_written_fails_the_log_and_tells_whoever_waits() {
        let (folder, directory) = directory();
        open(&directory).unwrap();
        // A descriptor that only reads: the disk says no.
        let file = MarkFile::read_only(&folder.path().join(NAME)).unwrap();
        let health = Health::new("log");
        let marker = Marker::start(file, health.clone()).unwrap();
        for number in 1..=2 {
            let (done, told) = oneshot::channel();
            let progress = Progress { number, hash: Hash::default() };
            marker.mark(progress, vec![Waiter::Call(done)]).await;
            assert!(told.await.unwrap().is_err());
        }
        assert!(health.check().is_err());
        marker.finish().await;
        assert_eq!(look(folder.path()).unwrap(), Some(Progress::default()));
    }
}
