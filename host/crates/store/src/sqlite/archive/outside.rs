//! What is outside of `archive.db`, because SQLite would lose it without a word: the facts, and the mark.
//!
//! `archive.mark` holds how many changes there were when somebody was last told of one. An archive that ends
//! below it has lost some. That is said, and no reason to stop: its snapshots, history and components are
//! made again from the log, or fetched from other nodes; facts and pins were not in it.

use super::{
    super::{
        OpenError,
        database::{id_to_sql, opening, position_from_sql, position_to_sql},
        directory::Directory,
        facts::{self, Facts, FactsFile},
        mark::{MarkFile, Progress},
        mended::Mended,
    },
    inherited,
};
use crate::port::StoreError;
use althing_core::ids::{CommunityId, Hash, Sequence};
use sqlx::SqliteConnection;
use std::path::Path;

const MARK: &str = "archive.mark";

/// What is written outside.
#[derive(Debug)]
pub(super) struct Outside {
    facts: FactsFile,
    mark: MarkFile,
}

/// What was found outside, and in the archive of it.
pub(super) struct Found {
    /// What the node knows.
    pub(super) facts: Facts,
    /// The number of the last change.
    pub(super) number: u64,
    /// What was not as it should be.
    pub(super) mended: Vec<Mended>,
}

/// Refuses a directory that has been used, and has no archive any more. It has been used if `is_used` says so,
/// or the node knows something.
///
/// # Errors
/// [`OpenError::Damaged`]; or if the facts cannot be read.
pub(in super::super) fn check_there(folder: &Path, is_used: bool) -> Result<(), OpenError> {
    let path = folder.join("archive.db");
    let knows_something = || Ok(facts::look(folder)?.is_some_and(|found| !found.facts.is_empty()));
    if !path.exists() && (is_used || knows_something()?) {
        let what = "it is missing, and this directory has been used".to_owned();
        return Err(OpenError::Damaged { path, what });
    }
    Ok(())
}

impl Outside {
    /// Opens what is outside of an archive that was opened, and mends what is wrong with either. `is_used` says
    /// that this is no new directory.
    ///
    /// # Errors
    /// If nobody can tell any more what the node knows, or the disk fails.
    pub(super) async fn open(
        directory: &Directory,
        archive: &mut SqliteConnection,
        is_used: bool,
    ) -> Result<(Self, Found), OpenError> {
        let (folder, path) = (directory.path(), directory.file("archive.db"));
        let mut found = look(folder, archive, is_used).await?;
        let facts = match FactsFile::open(folder)? {
            Some((file, _)) => file,
            None => FactsFile::begin(folder, &found.facts)?,
        };
        let mark = directory.file(MARK);
        let mark = match marked(&mark) {
            Ok(Some(_)) => MarkFile::open(&mark)?,
            Ok(None) | Err(OpenError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let mark = match mark {
            Some(mark) => mark,
            None => MarkFile::begin(directory, MARK)?,
        };
        let mut outside = Self { facts, mark };
        inherited::drop(archive).await.map_err(|error| opening(&path, error))?;
        for mended in &found.mended {
            tracing::warn!("{mended}");
        }
        if !found.mended.is_empty() {
            // Said once.
            found.number = found.number.max(outside.mark.marked().number) + 1;
            step(archive, found.number).await.map_err(|error| opening(&path, error))?;
            let written = outside.write(Some(&found.facts), Some(found.number));
            written.map_err(|error| OpenError::Directory {
                path: folder.to_owned(),
                source: std::io::Error::other(error),
            })?;
        }
        Ok((outside, found))
    }

    /// Writes facts, if they changed, and marks the change, if somebody is to be told; durable on return.
    ///
    /// # Errors
    /// If the disk says no: it is not to be tried again.
    pub(super) fn write(&mut self, facts: Option<&Facts>, number: Option<u64>) -> Result<(), StoreError> {
        if let Some(facts) = facts {
            self.facts.write(facts).map_err(facts::writing)?;
        }
        match number {
            Some(number) => self.mark.write(Progress { number, hash: Hash::default() }),
            None => Ok(()),
        }
    }
}

/// Gives the change that is being made its number.
pub(super) async fn step(archive: &mut SqliteConnection, number: u64) -> Result<(), sqlx::Error> {
    let query = sqlx::query("UPDATE progress SET number = ?").bind(position_to_sql(number));
    query.execute(archive).await.map(drop)
}

/// Looks at what is outside of an archive, and changes nothing.
///
/// # Errors
/// As [`Outside::open`].
pub(super) async fn look(
    folder: &Path,
    archive: &mut SqliteConnection,
    is_used: bool,
) -> Result<Found, OpenError> {
    let path = folder.join("archive.db");
    let failed = |error| opening(&path, error);
    let inherited = inherited::read(archive).await.map_err(failed)?;
    let number: Option<i64> = sqlx::query_scalar("SELECT number FROM progress")
        .fetch_optional(&mut *archive)
        .await
        .map_err(failed)?;
    let number = number.map_or(0, position_from_sql);
    let mut mended = Vec::new();
    let marked = match marked(&folder.join(MARK)) {
        Ok(Some(marked)) => marked,
        Ok(None) if number == 0 => 0,
        Ok(None) => {
            mended.push(Mended::Mark { path: folder.join(MARK), what: "is missing" });
            number
        }
        Err(OpenError::Damaged { path, .. }) => {
            mended.push(Mended::Mark { path, what: "is not what was written" });
            number
        }
        Err(error) => return Err(error),
    };
    if number < marked {
        mended.push(Mended::Archive { path: path.clone(), found: number, marked });
    }
    let mut facts = match (facts::look(folder)?, inherited) {
        (Some(found), _) => {
            mended.extend(found.mended);
            found.facts
        }
        // Of an earlier format, or new: what was moved out once is not believed again.
        (None, Some(inherited)) if marked == 0 && !(is_used && inherited.is_empty()) => inherited,
        (None, _) => return Err(facts::missing(folder)),
    };
    let gone = gone_pins(archive, &facts).await.map_err(failed)?;
    for (community, sequence) in gone {
        facts.pins.remove(&(community, sequence));
        let path = folder.join(facts::NAMES[0]);
        mended.push(Mended::Pin { path, community, sequence });
    }
    Ok(Found { facts, number, mended })
}

/// The number that is marked; none if there is no mark.
fn marked(path: &Path) -> Result<Option<u64>, OpenError> {
    Ok(MarkFile::look(path)?.map(|progress| progress.number))
}

type Pinned = (CommunityId, Sequence);

/// The pins whose snapshots are not there.
async fn gone_pins(archive: &mut SqliteConnection, facts: &Facts) -> Result<Vec<Pinned>, sqlx::Error> {
    let mut gone = Vec::new();
    for &(community, sequence) in facts.pins.keys() {
        let sql = "SELECT EXISTS (SELECT 1 FROM snapshots WHERE community = ? AND sequence = ?)";
        let query = sqlx::query_scalar(sql).bind(id_to_sql(community)).bind(position_to_sql(sequence.0));
        let is_there: bool = query.fetch_one(&mut *archive).await?;
        if !is_there {
            gone.push((community, sequence));
        }
    }
    Ok(gone)
}
