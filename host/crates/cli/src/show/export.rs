//! What was exported, and what was proven of it.

use crate::show::transition::TransitionShown;
use althing_core::{ids::Hash, portable::End, transition::Transition};
use althing_node::Proof;
use serde::Serialize;
use std::fmt;

/// An export that is whole.
#[derive(Debug, Serialize)]
pub(crate) struct Exported {
    file: String,
    pub(crate) bytes: u64,
    pub(crate) seal: String,
    #[serde(flatten)]
    pub(crate) holds: Holds,
}

/// An export that was proven.
#[derive(Debug, Serialize)]
pub(crate) struct Proven {
    file: String,
    verified: bool,
    name: String,
    community: u64,
    cluster: String,
    engine: String,
    exported_by: String,
    /// The snapshot that execution began with.
    snapshot: u64,
    parts: u64,
    seal: String,
    #[serde(flatten)]
    holds: Holds,
}

/// How much an export holds.
#[derive(Debug, Serialize)]
pub(crate) struct Holds {
    pub(crate) sequence: u64,
    pub(crate) digest: String,
    log_index: u64,
    batches: u64,
    transitions: u64,
    components: u64,
    chunks: u64,
}

/// Operations as text.
#[derive(Debug, Serialize)]
pub(crate) struct Lines {
    pub(crate) file: String,
    pub(crate) lines: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Where an export and its execution part.
#[derive(Debug, Serialize)]
pub(crate) struct Difference {
    sequence: u64,
    recorded: Option<TransitionShown>,
    executed: Option<TransitionShown>,
}

impl Exported {
    pub(crate) fn new(file: String, bytes: u64, end: End, seal: Hash) -> Self {
        Self { file, bytes, seal: seal.to_string(), holds: end.into() }
    }
}

impl Proven {
    pub(crate) fn new(file: String, Proof { header, snapshot, end, parts, seal }: Proof) -> Self {
        Self {
            file,
            verified: true,
            name: header.name,
            community: header.community.0,
            cluster: header.cluster,
            engine: header.fingerprint.to_string(),
            exported_by: header.version,
            snapshot: snapshot.0,
            parts,
            seal: seal.to_string(),
            holds: end.into(),
        }
    }
}

impl Difference {
    pub(crate) fn new(sequence: u64, recorded: Option<Transition>, executed: Option<Transition>) -> Self {
        Self { sequence, recorded: recorded.map(Into::into), executed: executed.map(Into::into) }
    }
}

impl From<End> for Holds {
    fn from(end: End) -> Self {
        let End { sequence, digest, log_index, entries, transitions, components, chunks } = end;
        let (sequence, digest) = (sequence.0, digest.to_string());
        Self { sequence, digest, log_index, batches: entries, transitions, components, chunks }
    }
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {} bytes", self.file, self.bytes)?;
        self.holds.fmt(f)?;
        writeln!(f, "  seal         {}", self.seal)
    }
}

impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} is what community {} came to", self.file, self.name)?;
        writeln!(f, "  community    {} (id {}) of cluster {}", self.name, self.community, self.cluster)?;
        writeln!(f, "  engine       {} (althing {})", self.engine, self.exported_by)?;
        writeln!(f, "  hashes       {} parts, seal {}", self.parts, self.seal)?;
        let first = self.snapshot + 1;
        writeln!(f, "  restored     the snapshot at sequence {}", self.snapshot)?;
        match self.holds.transitions {
            0 => writeln!(f, "  executed     nothing: there is no transition above the snapshot")?,
            _ => writeln!(
                f,
                "  executed     sequences {first} to {}, every transition equal",
                self.holds.sequence
            )?,
        }
        self.holds.fmt(f)
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  sequence     {}", self.sequence)?;
        writeln!(f, "  digest       {}", self.digest)?;
        let Self { batches, transitions, components, chunks, log_index, .. } = self;
        writeln!(f, "  batches      {batches}, to log index {log_index}")?;
        writeln!(f, "  transitions  {transitions}")?;
        writeln!(f, "  components   {components}")?;
        writeln!(f, "  chunks       {chunks}")
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, lines, first, last } = self;
        write!(f, "{file}  {lines} lines, sequences {first} to {last}")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the first difference is at sequence {}", self.sequence)?;
        for (what, transition) in [("recorded:", &self.recorded), ("executed:", &self.executed)] {
            match transition {
                Some(transition) => writeln!(f, "{what}\n{transition}{}", transition.fingerprint())?,
                None => writeln!(f, "{what}\n      nothing")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Proven;
    use althing_core::{
        ids::{CommunityId, Hash, Sequence},
        portable::{End, Header},
    };
    use althing_node::Proof;

    fn proven(transitions: u64) -> Proven {
        let header = Header {
            name: "votes".into(),
            community: CommunityId(1),
            cluster: "0f".into(),
            fingerprint: Hash([1; 32]),
            listing: String::new(),
            version: "0.1.0".into(),
        };
        let sequence = Sequence(7 + transitions);
        let (digest, components, chunks) = (Hash([2; 32]), 1, 1);
        let end = End { sequence, digest, log_index: 10, entries: 2, transitions, components, chunks };
        let proof = Proof { header, snapshot: Sequence(7), end, parts: 8, seal: Hash([3; 32]) };
        Proven::new("votes.althing".into(), proof)
    }

    #[test]
    fn what_was_executed_is_said_and_nothing_more() {
        let said = proven(2).to_string();
        assert!(said.contains("sequences 8 to 9, every transition equal"), "{said}");
        let said = proven(0).to_string();
        assert!(said.contains("nothing: there is no transition above the snapshot"), "{said}");
    }

    #[test]
    fn json_says_how_far_it_is_proven() {
        let json = serde_json::to_value(proven(2)).unwrap();
        let said = ["verified", "snapshot", "sequence", "transitions"].map(|field| json[field].to_string());
        assert_eq!(said, ["true", "7", "9", "2"]);
    }
}
