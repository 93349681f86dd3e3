//! The index of a backup: which communities it holds, as JSON, in a file beside them.
//!
//! A published format: fields are added, never changed.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::{self, File},
    io::Write as _,
    path::Path,
};

/// What the file is called.
pub(crate) const INDEX: &str = "backup.json";
/// The format that is written.
const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    format: u32,
    /// The cluster, as hexadecimal digits.
    pub(crate) cluster: String,
    /// The version of the host that was asked.
    pub(crate) version: String,
    /// When it began, in milliseconds since 1970, by the clock of whoever asked.
    pub(crate) taken_millis: u64,
    /// By id.
    pub(crate) communities: Vec<Saved>,
    /// Those that it should hold and does not.
    pub(crate) failed: Vec<Failed>,
}

/// A community that was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) name: String,
    pub(crate) id: u64,
    /// `lan`, `wan` or empty.
    pub(crate) timing: String,
    /// Its file, beside the index.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) sequence: u64,
    pub(crate) digest: String,
    pub(crate) seal: String,
}

/// A community that could not be saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) name: String,
    pub(crate) why: String,
}

impl Index {
    /// Of nothing yet.
    pub(crate) fn begun(cluster: String, version: String, taken_millis: u64) -> Self {
        Self { format: FORMAT, cluster, version, taken_millis, communities: Vec::new(), failed: Vec::new() }
    }

    /// Writes it, durably, under its name when it is whole.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let cannot = || format!("{INDEX} cannot be written in {}", directory.display());
        let mut file =
            tempfile::Builder::new().prefix(".backup-").tempfile_in(directory).with_context(cannot)?;
        let json = serde_json::to_string_pretty(self).expect("an index is plain data");
        writeln!(file, "{json}").with_context(cannot)?;
        file.as_file().sync_all().with_context(cannot)?;
        file.persist_noclobber(directory.join(INDEX)).with_context(cannot)?;
        File::open(directory).and_then(|directory| directory.sync_all()).with_context(cannot)
    }

    /// Reads the one of a directory.
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(INDEX);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("{} cannot be read: without it this is no whole backup", path.display())
        })?;
        Self::parse(&text).with_context(|| format!("{} cannot be used", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format } = serde_json::from_str(text).context("it is no index of a backup")?;
        if format > FORMAT {
            return Err(anyhow::anyhow!(
                "it has format {format}, this version knows {FORMAT}: use a newer one"
            ));
        }
        let index: Self = serde_json::from_str(text).context("it is no index of a backup")?;
        let leads_out = |saved: &&Saved| Path::new(&saved.file).file_name() != Some(saved.file.as_ref());
        match index.communities.iter().find(leads_out) {
            Some(saved) => Err(anyhow::anyhow!("{:?} is no file beside it", saved.file)),
            None => Ok(index),
        }
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Saved { name, file, bytes, sequence, digest, .. } in &self.communities {
            writeln!(f, "{name}  {file}, {bytes} bytes, sequence {sequence}, digest {digest}")?;
        }
        for Failed { name, why } in &self.failed {
            writeln!(f, "{name}  NOT SAVED: {why}")?;
        }
        match (self.communities.is_empty(), self.failed.is_empty()) {
            (true, true) => writeln!(f, "there are no communities"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failed, INDEX, Index, Saved};

    fn empty() -> Index {
        Index::begun("0f".into(), "0.1.0".into(), 1_800_000_000_123)
    }

    fn index() -> Index {
        Index {
            communities: vec![Saved {
                name: "votes".into(),
                id: 3,
                timing: "wan".into(),
                file: "votes.althing".into(),
                bytes: 9000,
                sequence: 17,
                digest: "02".repeat(32),
                seal: "03".repeat(32),
            }],
            failed: vec![Failed { name: "guild".into(), why: "nobody has it".into() }],
            ..empty()
        }
    }

    /// A published format: never edited.
    const GOLDEN: &str = r#"{
  "format": 1,
  "cluster": "0f",
  "version": "0.1.0",
  "taken_millis": 1800000000123,
  "communities": [
    {
      "name": "votes",
      "id": 3,
      "timing": "wan",
      "file": "votes.althing",
      "bytes": 9000,
      "sequence": 17,
      "digest": "0202020202020202020202020202020202020202020202020202020202020202",
      "seal": "0303030303030303030303030303030303030303030303030303030303030303"
    }
  ],
  "failed": [
    {
      "name": "guild",
      "why": "nobody has it"
    }
  ]
}
"#;

    #[test]
    fn an_index_is_written_as_it_was_published_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        index().write(folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join(INDEX)).unwrap(), GOLDEN);
        assert_eq!(Index::read(folder.path()).unwrap(), index());
        assert!(index().write(folder.path()).is_err(), "one that is there is not written over");
    }

    #[test]
    fn what_is_no_index_is_refused_and_so_is_one_that_leads_elsewhere() {
        let refused = |from: &str, to: &str| {
            assert!(GOLDEN.contains(from));
            let error = Index::parse(&GOLDEN.replace(from, to)).unwrap_err();
            format!("{error:#}")
        };
        assert!(refused("\"format\": 1", "\"format\": 2").contains("format 2"));
        assert!(refused("\"format\": 1,", "").contains("no index"));
        for elsewhere in ["../votes.althing", "/votes.althing", "a/votes.althing", ""] {
            assert!(refused("votes.althing", elsewhere).contains("no file beside it"), "{elsewhere}");
        }
    }

    #[test]
    fn what_is_missing_is_said_aloud() {
        let said = index().to_string();
        assert!(said.contains("guild  NOT SAVED: nobody has it"), "{said}");
        assert_eq!(empty().to_string(), "there are no communities\n");
    }
}
