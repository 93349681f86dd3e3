//! Snapshots of a node, and what came of reading them again.

use crate::show::{
    table::{row, table},
    when::When,
};
use althing_client::v1;
use serde::Serialize;
use std::fmt;

/// The snapshots of a community on a node.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotsShown {
    node: u64,
    snapshots: Vec<SnapshotShown>,
}

#[derive(Debug, Serialize)]
struct SnapshotShown {
    sequence: u64,
    log_index: u64,
    time_millis: When,
    state_root: String,
    digest: String,
    chunks: u64,
    bytes: u64,
    pinned: bool,
    note: String,
    damaged_chunks: u64,
    unreadable: bool,
}

/// What came of reading snapshots again.
#[derive(Debug, Serialize)]
pub(crate) struct ChecksShown {
    node: u64,
    snapshots: Vec<CheckShown>,
}

#[derive(Debug, Serialize)]
struct CheckShown {
    sequence: u64,
    chunks: u64,
    bytes: u64,
    damaged_chunks: u64,
    damaged: Vec<String>,
    manifest_damage: String,
}

impl From<v1::ListSnapshotsResponse> for SnapshotsShown {
    fn from(listed: v1::ListSnapshotsResponse) -> Self {
        let snapshots = listed.snapshots.into_iter().map(|snapshot| SnapshotShown {
            sequence: snapshot.sequence,
            log_index: snapshot.log_index,
            time_millis: When(snapshot.time.map_or(0, |time| time.millis)),
            state_root: hex::encode(&snapshot.state_root),
            digest: hex::encode(&snapshot.digest),
            chunks: snapshot.chunks,
            bytes: snapshot.bytes,
            pinned: snapshot.pinned,
            note: snapshot.note,
            damaged_chunks: snapshot.damaged_chunks,
            unreadable: snapshot.unreadable,
        });
        Self { node: listed.node, snapshots: snapshots.collect() }
    }
}

impl From<v1::VerifySnapshotsResponse> for ChecksShown {
    fn from(verified: v1::VerifySnapshotsResponse) -> Self {
        let snapshots = verified.snapshots.into_iter().map(|check| CheckShown {
            sequence: check.sequence,
            chunks: check.chunks,
            bytes: check.bytes,
            damaged_chunks: check.damaged_chunks,
            damaged: check.damaged.iter().map(hex::encode).collect(),
            manifest_damage: check.manifest_damage,
        });
        Self { node: verified.node, snapshots: snapshots.collect() }
    }
}

impl ChecksShown {
    /// How many cannot be restored.
    pub(crate) fn damaged(&self) -> usize {
        self.snapshots.iter().filter(|check| !check.is_whole()).count()
    }
}

impl CheckShown {
    fn is_whole(&self) -> bool {
        self.damaged_chunks == 0 && self.manifest_damage.is_empty()
    }
}

impl SnapshotShown {
    /// What there is to say beyond numbers.
    fn remark(&self) -> String {
        let mut remarks = Vec::new();
        match (self.pinned, self.note.is_empty()) {
            (true, true) => remarks.push("pinned".to_owned()),
            (true, false) => remarks.push(format!("pinned: {}", self.note)),
            (false, _) => {}
        }
        if self.unreadable {
            remarks.push("DAMAGED: its manifest".to_owned());
        }
        if self.damaged_chunks > 0 {
            remarks.push(format!("DAMAGED: {} chunks", self.damaged_chunks));
        }
        remarks.join(", ")
    }
}

impl fmt::Display for SnapshotsShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["sequence", "log index", "cut", "chunks", "bytes", "state root", ""];
        let mut rows = vec![row(head)];
        for snapshot in &self.snapshots {
            rows.push(row([
                &snapshot.sequence.to_string(),
                &snapshot.log_index.to_string(),
                &snapshot.time_millis.to_string(),
                &snapshot.chunks.to_string(),
                &snapshot.bytes.to_string(),
                snapshot.state_root.get(..16).unwrap_or(&snapshot.state_root),
                &snapshot.remark(),
            ]));
        }
        writeln!(f, "on node {}", self.node)?;
        f.write_str(&table(&rows))
    }
}

impl fmt::Display for ChecksShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "on node {}", self.node)?;
        for check in &self.snapshots {
            let CheckShown { sequence, chunks, bytes, damaged_chunks, damaged, manifest_damage } = check;
            if !manifest_damage.is_empty() {
                writeln!(f, "{sequence}: DAMAGED: its manifest: {manifest_damage}")?;
            } else if *damaged_chunks > 0 {
                writeln!(f, "{sequence}: DAMAGED: {damaged_chunks} of {chunks} chunks")?;
                damaged.iter().try_for_each(|hash| writeln!(f, "    {hash}"))?;
            } else {
                writeln!(f, "{sequence}: whole, {chunks} chunks, {bytes} bytes")?;
            }
        }
        Ok(())
    }
}
