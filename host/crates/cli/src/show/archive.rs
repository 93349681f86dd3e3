//! An archive: how far a node's goes, and what there is to say of one that was read.

use crate::show::table::{row, table};
use althing_client::v1;
use serde::Serialize;
use std::fmt;

/// The archive of a node.
#[derive(Debug, Serialize)]
pub(crate) struct ArchiveShown {
    place: String,
    communities: Vec<ArchivedShown>,
}

#[derive(Debug, Serialize)]
struct ArchivedShown {
    community: u64,
    name: String,
    archived: u64,
    lag: u64,
    segments: u64,
    bytes: u64,
    missing: u64,
    failures: u64,
    trouble: Option<String>,
}

/// One community's segments, checked.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Checked {
    pub(crate) folder: String,
    /// Whether nothing is wrong with it.
    pub(crate) verified: bool,
    pub(crate) name: String,
    pub(crate) community: u64,
    pub(crate) cluster: String,
    pub(crate) segments: u64,
    pub(crate) bytes: u64,
    pub(crate) transitions: u64,
    /// The first and the last sequence; 0: none.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The digest up to the last one.
    pub(crate) digest: String,
    pub(crate) findings: Vec<Found>,
}

/// Something to say of a segment.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) file: String,
    pub(crate) what: String,
    /// Whether history is wrong or missing because of it.
    pub(crate) is_wrong: bool,
}

impl From<v1::ArchiveInfo> for ArchiveShown {
    fn from(info: v1::ArchiveInfo) -> Self {
        let archived = |info: v1::ArchivedInfo| {
            let v1::ArchivedInfo {
                community,
                name,
                archived,
                lag,
                segments,
                bytes,
                missing,
                failures,
                trouble,
            } = info;
            let trouble = (!trouble.is_empty()).then_some(trouble);
            ArchivedShown { community, name, archived, lag, segments, bytes, missing, failures, trouble }
        };
        Self { place: info.place, communities: info.communities.into_iter().map(archived).collect() }
    }
}

impl fmt::Display for ArchiveShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![row(["archive", "up to", "to come", "segments", "bytes"])];
        for archived in &self.communities {
            let ArchivedShown { community, name, archived, lag, segments, bytes, .. } = archived;
            let name = format!("{name} ({community})");
            let numbers = [archived, lag, segments, bytes].map(ToString::to_string);
            rows.push(row([&name, &numbers[0], &numbers[1], &numbers[2], &numbers[3]]));
        }
        f.write_str(&table(&rows))?;
        for ArchivedShown { name, missing, trouble, .. } in &self.communities {
            if *missing > 0 {
                writeln!(
                    f,
                    "\n{name} LACKS {missing} transitions in the archive: nobody held them any more"
                )?;
            }
            if let Some(trouble) = trouble {
                writeln!(f, "\n{name} IS NOT ARCHIVED: {trouble}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            folder, name, community, cluster, segments, bytes, transitions, first, last, digest, ..
        } = self;
        let verdict = if self.verified { "is whole" } else { "is NOT WHOLE" };
        writeln!(f, "{folder} {verdict}: {name} (id {community}) of cluster {cluster}")?;
        writeln!(
            f,
            "  sequences  {first} to {last}, {transitions} transitions in {segments} segments, {bytes} bytes"
        )?;
        writeln!(f, "  digest     {digest}")?;
        for Found { file, what, .. } in &self.findings {
            writeln!(f, "  {file}: {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::ArchiveShown;
    use althing_client::v1;

    #[test]
    fn an_archive_tells_how_far_it_is_and_what_is_wrong() {
        let info = v1::ArchivedInfo {
            community: 1,
            name: "votes".into(),
            archived: 4000,
            lag: 17,
            segments: 2,
            bytes: 900,
            missing: 3,
            failures: 1,
            trouble: "the disk is full".into(),
        };
        let shown = ArchiveShown::from(v1::ArchiveInfo { place: "a".into(), communities: vec![info] });
        let said = shown.to_string();
        for words in ["votes (1)", "4000", "17", "LACKS 3 transitions", "IS NOT ARCHIVED: the disk is full"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
