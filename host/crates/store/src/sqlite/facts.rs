//! What the node itself knows, and what it was told to keep: in a file of their own, and in a copy of it.
//!
//! Facts (who the node is, what it hosts, which replicas must not run here again) and pins come from nobody
//! else, so they are not where SQLite would drop them without a word when a bit of its WAL flips. They are few
//! and seldom change, so each change writes all of them: to `facts.new` and `facts.copy.new`, with an fsync
//! each, then both are renamed, then the directory is synced, then whoever waits is told. A file is the whole
//! old one or the whole new one; one that is damaged or gone is mended from the other.
//!
//! A file, format 1, integers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `AlthFct1` |
//! | 8 | its revision: 1 for the first, one more for each change |
//! | … | [`Facts`], as a record of `althing_core::codec` |
//! | 32 | BLAKE3, derived in the context `althing 2026 store facts 1`, of all before |

use super::{OpenError, directory, mended::Mended};
use crate::port::StoreError;
use althing_core::{
    codec,
    ids::{CommunityId, Hash, Sequence},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The file and its copy.
pub(super) const NAMES: [&str; 2] = ["facts", "facts.copy"];
const MAGIC: &[u8; 8] = b"AlthFct1";
const DOMAIN: &str = "althing 2026 store facts 1";
/// What is said of a file that is damaged.
const NOT_WRITTEN: &str = "is not what was written";
const HEAD_BYTES: usize = 16;
const SEAL_BYTES: usize = 32;

/// What a node knows that nobody else does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Facts by name: the bytes are the node's own.
    pub(super) values: BTreeMap<String, Bytes>,
    /// Snapshots that stay whatever is retained, and why.
    pub(super) pins: BTreeMap<(CommunityId, Sequence), String>,
}

impl Facts {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.pins.is_empty()
    }

    /// The pinned snapshots of a community, with their notes.
    pub(super) fn pins_of(&self, community: CommunityId) -> impl Iterator<Item = (Sequence, &String)> {
        let all = (community, Sequence(0))..=(community, Sequence(u64::MAX));
        self.pins.range(all).map(|(&(_, sequence), note)| (sequence, note))
    }

    /// Whether a snapshot is pinned.
    pub(super) fn has_pinned(&self, community: CommunityId, sequence: Sequence) -> bool {
        self.pins.contains_key(&(community, sequence))
    }
}

/// The two files, and the revision that both have.
#[derive(Debug)]
pub(super) struct FactsFile {
    folder: PathBuf,
    revision: u64,
}

/// What was found in them.
#[derive(Debug)]
pub(super) struct Found {
    /// What they hold.
    pub(super) facts: Facts,
    /// What is wrong with one of them: it is, or will be, mended from the other.
    pub(super) mended: Option<Mended>,
    revision: u64,
    /// Whether both are whole, and the same.
    are_equal: bool,
}

impl FactsFile {
    /// Opens the files of a directory and mends them; none if there are none.
    ///
    /// # Errors
    /// If neither is what was written, or the disk fails.
    pub(super) fn open(folder: &Path) -> Result<Option<(Self, Found)>, OpenError> {
        let Some(found) = look(folder)? else { return Ok(None) };
        let mut file = Self { folder: folder.to_owned(), revision: found.revision };
        if !found.are_equal {
            file.write(&found.facts).map_err(|error| failed_to_open(folder, error))?;
        }
        Ok(Some((file, found)))
    }

    /// Makes the files of a directory that has none, or none that count; durable on return.
    ///
    /// # Errors
    /// If the disk says no.
    pub(super) fn begin(folder: &Path, facts: &Facts) -> Result<Self, OpenError> {
        let mut file = Self { folder: folder.to_owned(), revision: 0 };
        file.write(facts).map_err(|error| failed_to_open(folder, error))?;
        Ok(file)
    }

    /// Writes a change; durable on return.
    ///
    /// # Errors
    /// If the disk says no. What it holds then nobody knows: it is not to be tried again.
    pub(super) fn write(&mut self, facts: &Facts) -> io::Result<()> {
        let bytes = encode(self.revision + 1, facts);
        for name in NAMES {
            let mut file = File::create(self.folder.join(beside(name)))?;
            file.write_all(&bytes)?;
            file.sync_all()?;
        }
        for name in NAMES {
            fs::rename(self.folder.join(beside(name)), self.folder.join(name))?;
        }
        directory::sync(&self.folder)?;
        self.revision += 1;
        Ok(())
    }
}

/// The name of a file that is not yet the one to be.
fn beside(name: &str) -> String {
    format!("{name}.new")
}

fn failed_to_open(folder: &Path, source: io::Error) -> OpenError {
    OpenError::Directory { path: folder.join(NAMES[0]), source }
}

/// An error of writing them.
pub(super) fn writing(source: io::Error) -> StoreError {
    StoreError::Io { what: "facts cannot be written".to_owned(), source: Box::new(source) }
}

/// Reads the files of a directory and changes nothing; none if there are none.
///
/// # Errors
/// If neither is what was written, or one cannot be read.
pub(super) fn look(folder: &Path) -> Result<Option<Found>, OpenError> {
    let [first, second] = NAMES.map(|name| read(&folder.join(name)));
    Ok(match (first?, second?) {
        (Read::Missing, Read::Missing) => None,
        (Read::Whole(one, facts), Read::Whole(other, _)) if one >= other => {
            // A crash between two renames leaves one behind: nobody was told of the newer.
            Some(Found { facts, mended: None, revision: one, are_equal: one == other })
        }
        (Read::Whole(..), Read::Whole(revision, facts)) => {
            Some(Found { facts, mended: None, revision, are_equal: false })
        }
        (Read::Whole(revision, facts), other) | (other, Read::Whole(revision, facts)) => {
            let mended = match other {
                Read::Damaged(path) => Some(Mended::Facts { path, what: NOT_WRITTEN }),
                // The first ones come one after the other, too.
                Read::Missing if revision > 1 => {
                    Some(Mended::Facts { path: missing_file(folder), what: "is missing" })
                }
                _ => None,
            };
            Some(Found { facts, mended, revision, are_equal: false })
        }
        (Read::Damaged(path), _) | (_, Read::Damaged(path)) => {
            let what = format!("it {NOT_WRITTEN}, and neither is its copy");
            return Err(OpenError::Damaged { path, what });
        }
    })
}

/// What is said where there should be facts and are none.
pub(super) fn missing(folder: &Path) -> OpenError {
    let what = "it is missing, so is its copy, and this directory has been used".to_owned();
    OpenError::Damaged { path: folder.join(NAMES[0]), what }
}

fn missing_file(folder: &Path) -> PathBuf {
    let mut files = NAMES.into_iter().map(|name| folder.join(name));
    files.find(|file| !file.exists()).unwrap_or_else(|| folder.join(NAMES[0]))
}

/// What one file is.
enum Read {
    Missing,
    Damaged(PathBuf),
    Whole(u64, Facts),
}

fn read(path: &Path) -> Result<Read, OpenError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::Missing),
        Err(source) => return Err(OpenError::Directory { path: path.to_owned(), source }),
    };
    match decode(&bytes) {
        Ok((revision, facts)) => Ok(Read::Whole(revision, facts)),
        Err(Unreadable::Newer(found)) => {
            Err(OpenError::Newer { path: path.to_owned(), found: found.into(), known: codec::VERSION.into() })
        }
        Err(Unreadable::Damaged) => Ok(Read::Damaged(path.to_owned())),
    }
}

fn encode(revision: u64, facts: &Facts) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &revision.to_le_bytes(), &codec::encode(facts)].concat();
    bytes.extend(Hash::of(DOMAIN, &bytes).0);
    bytes
}

/// Why a file cannot be read.
enum Unreadable {
    Damaged,
    /// It is sealed, and of a later version.
    Newer(u8),
}

fn decode(bytes: &[u8]) -> Result<(u64, Facts), Unreadable> {
    let sealed = bytes.split_last_chunk::<SEAL_BYTES>();
    let (sealed, seal) = sealed.ok_or(Unreadable::Damaged)?;
    let (head, record) = sealed.split_at_checked(HEAD_BYTES).ok_or(Unreadable::Damaged)?;
    let (magic, revision) = head.split_at(MAGIC.len());
    if magic != MAGIC || *seal != Hash::of(DOMAIN, sealed).0 {
        return Err(Unreadable::Damaged);
    }
    let revision = u64::from_le_bytes(revision.try_into().expect("the rest of the head is 8 bytes"));
    match codec::decode(record) {
        Ok(facts) => Ok((revision, facts)),
        Err(codec::DecodeError::Newer { found }) => Err(Unreadable::Newer(found)),
        Err(_) => Err(Unreadable::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(number: u64) -> Facts {
        let values = BTreeMap::from([("identity".to_owned(), Bytes::from(number.to_string()))]);
        let pins = BTreeMap::from([((CommunityId(7), Sequence(number)), "before the vote".to_owned())]);
        Facts { values, pins }
    }

    fn begun() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        assert!(FactsFile::open(folder.path()).unwrap().is_none());
        FactsFile::begin(folder.path(), &facts(1)).unwrap().write(&facts(2)).unwrap();
        folder
    }

    fn opened(folder: &Path) -> Found {
        FactsFile::open(folder).unwrap().unwrap().1
    }

    fn contents(folder: &Path) -> [Option<Vec<u8>>; 2] {
        NAMES.map(|name| fs::read(folder.join(name)).ok())
    }

    #[test]
    fn whatever_happens_to_one_file_is_noticed_and_mended_from_the_other() {
        let folder = begun();
        let sound = contents(folder.path());
        assert_eq!(sound[0], sound[1]);
        let length = sound[0].as_ref().unwrap().len();
        for name in NAMES {
            let path = folder.path().join(name);
            let bytes = fs::read(&path).unwrap();
            let flipped = (0..length * 8).map(|bit| {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                flipped
            });
            let cut = (0..length).map(|length| bytes[..length].to_vec());
            for damaged in flipped.chain(cut) {
                fs::write(&path, &damaged).unwrap();
                let found = look(folder.path()).unwrap().unwrap();
                assert_eq!(found.mended.as_ref().map(Mended::path), Some(&*path));
                assert_eq!(found.facts, facts(2));
            }
            assert!(opened(folder.path()).mended.is_some());
            fs::remove_file(&path).unwrap();
            assert!(opened(folder.path()).mended.is_some(), "it is missing");
            let found = opened(folder.path());
            assert!(found.mended.is_none() && found.are_equal && found.facts == facts(2), "{name} is mended");
        }
    }

    #[test]
    fn a_crash_between_the_two_is_no_damage_and_the_newer_counts() {
        for torn in 0..2 {
            let folder = begun();
            let before = contents(folder.path());
            FactsFile::open(folder.path()).unwrap().unwrap().0.write(&facts(3)).unwrap();
            fs::write(folder.path().join(NAMES[torn]), before[torn].as_ref().unwrap()).unwrap();
            fs::write(folder.path().join("facts.new"), "half of it").unwrap();
            let found = opened(folder.path());
            assert!(found.mended.is_none() && !found.are_equal);
            assert_eq!(found.facts, facts(3));
            assert!(opened(folder.path()).are_equal);
        }
    }

    #[test]
    fn without_a_whole_one_nothing_is_made_up() {
        let folder = begun();
        for name in NAMES {
            fs::write(folder.path().join(name), "AlthFct1 and more than thirty-two other bytes").unwrap();
        }
        assert!(matches!(look(folder.path()), Err(OpenError::Damaged { .. })));
        fs::remove_file(folder.path().join(NAMES[0])).unwrap();
        assert!(matches!(FactsFile::open(folder.path()), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn the_stored_form_never_changes() {
        let bytes = encode(258, &facts(5));
        assert_eq!(bytes[..HEAD_BYTES], *b"AlthFct1\x02\x01\0\0\0\0\0\0");
        let hash = blake3::hash(&bytes).to_hex();
        assert_eq!(
            (bytes.len(), hash.as_str()),
            (80, "bb9989596b4c9198e521e8faf29f675863f2454c7e02b1b33af1dd3c74fd5f7f")
        );
        let (revision, read) = decode(&bytes).ok().unwrap();
        assert_eq!((revision, read), (258, facts(5)));
        // One of a later version is left alone.
        let mut later = bytes[..bytes.len() - SEAL_BYTES].to_vec();
        later[HEAD_BYTES] = codec::VERSION + 1;
        later.extend(Hash::of(DOMAIN, &later).0);
        assert!(matches!(decode(&later), Err(Unreadable::Newer(found)) if found == codec::VERSION + 1));
    }
}
