//! Reading an archive, with no node at hand: where a community's segments lie, and what is in them.

use crate::{
    failure::Usage,
    show::archive::{Checked, Found},
};
use althing_core::{
    ids::Sequence,
    segment::{Chain, Segment},
};
use althing_store::segments::{file_name, first};
use anyhow::Context as _;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What the beginning of every segment is.
const MAGIC: &[u8] = b"AlthSeg\n";

/// One community's segments.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Ascending by first sequence.
    segments: Vec<(Sequence, PathBuf)>,
}

/// Whether this is an archive, part of one, or a segment.
pub(crate) fn is_archive(path: &Path) -> bool {
    let is_named = path.file_name().and_then(|name| first(name.to_str()?)).is_some();
    path.is_dir() || is_named || fs::File::open(path).is_ok_and(begins_as_segment)
}

fn begins_as_segment(mut file: impl io::Read) -> bool {
    let mut head = [0; 8];
    file.read_exact(&mut head).is_ok() && head == MAGIC
}

impl Folder {
    /// Every community below a path: an archive, one community's folder, or a single segment.
    ///
    /// # Errors
    /// It cannot be read, or there is no segment.
    pub(crate) fn all(path: &Path) -> anyhow::Result<Vec<Self>> {
        let mut found = Vec::new();
        if path.is_dir() {
            found.extend(Self::of(path)?);
            for below in listed(path)?.into_iter().filter(|below| below.is_dir()) {
                found.extend(Self::of(&below)?);
            }
        } else {
            found.push(Self { path: path.to_owned(), segments: vec![(Sequence(0), path.to_owned())] });
        }
        if found.is_empty() {
            let what = format!(
                "{} holds no segment of an archive: name the folder of `serve --archive`",
                path.display()
            );
            return Err(Usage(what).into());
        }
        Ok(found)
    }

    /// The one of a community, by name or id.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub(crate) fn one(path: &Path, community: &str) -> anyhow::Result<Self> {
        let mut wanted = Vec::new();
        for folder in Self::all(path)? {
            let newest = folder.segments.iter().rev().find_map(|(_, file)| read(file).ok());
            let Some(Segment { header, .. }) = newest else { continue };
            if header.name == community || header.community.to_string() == community {
                wanted.push(folder);
            }
        }
        let place = path.display();
        match wanted.len() {
            0 => Err(Usage(format!("{place} holds nothing of the community {community:?}")).into()),
            1 => Ok(wanted.remove(0)),
            _ => {
                let folders: Vec<String> = wanted.iter().map(|one| one.path.display().to_string()).collect();
                let what = format!(
                    "{place} holds several communities {community:?}, name one: {}",
                    folders.join(", ")
                );
                Err(Usage(what).into())
            }
        }
    }

    fn of(path: &Path) -> anyhow::Result<Option<Self>> {
        let named = |file: PathBuf| Some((first(file.file_name()?.to_str()?)?, file));
        let mut segments: Vec<(Sequence, PathBuf)> = listed(path)?.into_iter().filter_map(named).collect();
        segments.sort_unstable();
        Ok((!segments.is_empty()).then(|| Self { path: path.to_owned(), segments }))
    }

    /// Checks all of it; `seen` is told how many segments are checked, of how many.
    pub(crate) fn check(&self, mut seen: impl FnMut(usize, usize)) -> Checked {
        let mut checked = Checked { folder: self.path.display().to_string(), ..Checked::default() };
        let mut chain = Chain::default();
        for (place, (named, file)) in self.segments.iter().enumerate() {
            seen(place, self.segments.len());
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut found = |what: String, is_wrong| {
                checked.findings.push(Found { file: name.clone(), what, is_wrong });
            };
            match read(file) {
                Ok(segment) => {
                    for finding in chain.add(&segment) {
                        found(finding.to_string(), !finding.is_harmless());
                    }
                    let wanted = segment.header.first;
                    if self.segments.len() > 1 && wanted != *named {
                        found(
                            format!("begins with sequence {wanted}: it was called {}", file_name(wanted)),
                            true,
                        );
                    }
                    let bytes = fs::metadata(file).map_or(0, |file| file.len());
                    checked.count(&segment, bytes);
                }
                Err(error) => {
                    chain.skip();
                    found(format!("{error:#}"), true);
                }
            }
        }
        checked.verified = !checked.findings.iter().any(|found| found.is_wrong);
        checked
    }

    /// Segments that may hold sequences from `from` on, ascending.
    pub(crate) fn from(&self, from: Sequence) -> &[(Sequence, PathBuf)] {
        let behind = self.segments.partition_point(|(first, _)| *first <= from);
        &self.segments[behind.saturating_sub(1)..]
    }
}

impl Checked {
    fn count(&mut self, segment: &Segment, bytes: u64) {
        let header = &segment.header;
        if self.segments == 0 {
            self.first = header.first.0;
            (self.name, self.community) = (header.name.clone(), header.community.0);
            self.cluster.clone_from(&header.cluster);
        }
        self.segments += 1;
        self.bytes += bytes;
        self.transitions += segment.transitions.len() as u64;
        self.last = segment.tail.last.0;
        self.digest = segment.tail.digest.to_string();
    }
}

/// Reads and checks one segment.
///
/// # Errors
/// It cannot be read, or is not what was written.
pub(crate) fn read(file: &Path) -> anyhow::Result<Segment> {
    let bytes = fs::read(file).context("it cannot be read")?;
    Ok(Segment::read(&bytes)?)
}

fn listed(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("{} cannot be read", path.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).with_context(unreadable)? {
        paths.push(entry.with_context(unreadable)?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}
