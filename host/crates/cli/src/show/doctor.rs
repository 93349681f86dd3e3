//! What the doctor found in a data directory.

use crate::show::table::{row, table};
use althing_consensus::{port::Member, stored::StoredMembers};
use althing_core::ids::ReplicaId;
use althing_node::{CommunityFindings, Findings, Foresight, LogFindings, NodeForesight, SnapshotFindings};
use althing_store::sqlite::inspect::{Found, Inspection};
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// A data directory, explained.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    data: String,
    sound: bool,
    /// Whether every byte was read.
    deep: bool,
    on_start: OnStart,
    identity: Option<IdentityShown>,
    nodes: Vec<NodeShown>,
    files: Vec<FileShown>,
    free_bytes: Option<u64>,
    log: Option<LogFileShown>,
    communities: Vec<CommunityShown>,
    components: Vec<ComponentShown>,
    damages: Vec<DamageShown>,
}

/// What happens on start: a word for programs, a text for people.
#[derive(Debug, Serialize)]
struct OnStart {
    does: &'static str,
    text: String,
}

#[derive(Debug, Serialize)]
struct IdentityShown {
    cluster: String,
    node: u64,
    system_replica: u64,
}

#[derive(Debug, Serialize)]
struct NodeShown {
    node: u64,
    peer_address: String,
    api_address: String,
}

#[derive(Debug, Serialize)]
struct FileShown {
    name: String,
    bytes: u64,
    /// How many files that is, if it is a folder.
    files: Option<u64>,
}

#[derive(Debug, Serialize)]
struct LogFileShown {
    changes: u64,
    marked: Option<u64>,
    /// Changes that somebody was told of and that are not there.
    lost: u64,
}

#[derive(Debug, Serialize)]
struct CommunityShown {
    id: u64,
    name: Option<String>,
    replica: Option<u64>,
    on_start: Option<OnStart>,
    quarantined: Option<String>,
    log: Option<LogShown>,
    voters: BTreeMap<u64, u64>,
    learners: BTreeMap<u64, u64>,
    snapshots: Vec<SnapshotShown>,
    program: Option<ProgramShown>,
    history: Option<Range>,
}

#[derive(Debug, Serialize)]
struct LogShown {
    held: Option<Range>,
    segments: u64,
    bytes: u64,
    term: u64,
    vote: Option<u64>,
    committed: Option<u64>,
    purged: Option<u64>,
    /// Entries that cannot be read.
    damaged: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Range {
    first: u64,
    last: u64,
}

#[derive(Debug, Serialize)]
struct SnapshotShown {
    sequence: u64,
    log_index: u64,
    chunks: u64,
    bytes: u64,
    state_root: Option<String>,
    /// Chunks that were hashed again and are right; none unless all were.
    sound_chunks: Option<u64>,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct ProgramShown {
    name: String,
    version: String,
    missing_components: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ComponentShown {
    hash: String,
    bytes: u64,
    sound: bool,
}

#[derive(Debug, Serialize)]
struct DamageShown {
    place: String,
    what: String,
}

impl Diagnosis {
    pub(crate) fn new(
        data: String,
        deep: bool,
        files: Vec<Found>,
        free_bytes: Option<u64>,
        inspection: &Inspection,
        findings: &Findings,
    ) -> Self {
        let marked = inspection.marked.as_ref().ok().copied().flatten();
        let log = inspection.log.as_ref().ok().map(|log| LogFileShown {
            changes: log.changes,
            marked,
            lost: marked.unwrap_or_default().saturating_sub(log.changes),
        });
        let identity = findings.identity.as_ref().map(|identity| IdentityShown {
            cluster: hex::encode(identity.cluster.0),
            node: identity.node.0,
            system_replica: identity.system_replica.0,
        });
        let nodes = findings.nodes.iter().map(|known| NodeShown {
            node: known.node.0,
            peer_address: known.peer_address.clone(),
            api_address: known.api_address.clone(),
        });
        let files = files.into_iter().map(|Found { name, bytes, files }| FileShown { name, bytes, files });
        let components = findings.components.iter().map(|component| ComponentShown {
            hash: component.hash.to_string(),
            bytes: component.bytes,
            sound: component.is_sound,
        });
        let damages = findings
            .damages
            .iter()
            .map(|damage| DamageShown { place: damage.place.clone(), what: damage.what.clone() });
        Self {
            data,
            sound: findings.is_sound(),
            deep,
            on_start: OnStart::of_node(findings.on_start.as_ref()),
            identity,
            nodes: nodes.collect(),
            files: files.collect(),
            free_bytes,
            log,
            communities: findings.communities.iter().map(Into::into).collect(),
            components: components.collect(),
            damages: damages.collect(),
        }
    }
}

impl OnStart {
    fn of_node(foresight: Option<&NodeForesight>) -> Self {
        let does = match foresight {
            Some(NodeForesight::Serves(_)) => "serves",
            Some(NodeForesight::IsNobody) => "is-nobody",
            Some(NodeForesight::ComesBackFresh { .. }) => "comes-back-fresh",
            Some(NodeForesight::Ends { .. }) | None => "ends",
        };
        Self { does, text: foresight.map(ToString::to_string).unwrap_or_default() }
    }

    fn of_replica(foresight: &Foresight) -> Self {
        let does = match foresight {
            Foresight::Begins => "begins",
            Foresight::Restores { .. } => "restores",
            Foresight::Quarantined { .. } => "stays-quarantined",
            Foresight::ComesBackFresh { .. } => "comes-back-fresh",
            Foresight::Cannot { .. } => "does-not-start",
            Foresight::LeftOver => "is-left-alone",
        };
        Self { does, text: foresight.to_string() }
    }
}

impl From<&CommunityFindings> for CommunityShown {
    fn from(found: &CommunityFindings) -> Self {
        let StoredMembers { voters, learners } = found.members.clone().unwrap_or_default();
        let places = |members: BTreeMap<ReplicaId, Member>| {
            members.into_iter().map(|(replica, member)| (replica.0, member.node.0)).collect()
        };
        let missing = found.missing_components.iter().map(ToString::to_string).collect();
        Self {
            id: found.id.0,
            name: found.name.clone(),
            replica: found.replica.map(|replica| replica.0),
            on_start: found.on_start.as_ref().map(OnStart::of_replica),
            quarantined: found.quarantined.clone(),
            log: found.log.as_ref().map(Into::into),
            voters: places(voters),
            learners: places(learners),
            snapshots: found.snapshots.iter().map(Into::into).collect(),
            program: found.program.as_ref().map(|program| ProgramShown {
                name: program.name.clone(),
                version: program.version.clone(),
                missing_components: missing,
            }),
            history: found.history.map(|(first, last)| Range { first: first.0, last: last.0 }),
        }
    }
}

impl From<&LogFindings> for LogShown {
    fn from(found: &LogFindings) -> Self {
        Self {
            held: found.held.map(|(first, last)| Range { first, last }),
            segments: found.segments,
            bytes: found.bytes,
            term: found.records.term,
            vote: found.records.vote.map(|replica| replica.0),
            committed: found.records.committed,
            purged: found.records.purged,
            damaged: found.damaged.clone(),
        }
    }
}

impl From<&SnapshotFindings> for SnapshotShown {
    fn from(found: &SnapshotFindings) -> Self {
        Self {
            sequence: found.sequence.0,
            log_index: found.log_index,
            chunks: found.chunks,
            bytes: found.bytes,
            state_root: found.state_root.map(|root| root.to_string()),
            sound_chunks: found.sound_chunks,
            problem: found.problem.clone(),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.sound, self.deep) {
            (true, true) => "sound, every byte read",
            (true, false) => "sound; chunks and history were not read (--deep)",
            (false, _) => "DAMAGED",
        };
        writeln!(f, "{}: {verdict}", self.data)?;
        for DamageShown { place, what } in &self.damages {
            writeln!(f, "  {place}: {what}")?;
        }
        writeln!(f, "\non start it {}\n", self.on_start.text)?;
        if let Some(IdentityShown { cluster, node, system_replica }) = &self.identity {
            writeln!(
                f,
                "node {node} of cluster {cluster}, replica {system_replica} of the system community"
            )?;
        }
        if let Some(LogFileShown { changes, marked, lost }) = &self.log {
            match (lost, marked) {
                (0, Some(marked)) => {
                    writeln!(f, "log: {changes} changes, the mark says {marked}: none is lost")?
                }
                (lost, Some(marked)) => {
                    writeln!(f, "log: {changes} changes, the mark says {marked}: the last {lost} are LOST")?;
                }
                (_, None) => writeln!(f, "log: {changes} changes, and no mark to hold them against")?,
            }
        }
        f.write_str(&self.nodes_and_files())?;
        for community in &self.communities {
            write!(f, "\n{community}")?;
        }
        if !self.components.is_empty() {
            let mut rows = vec![row(["component", "bytes", ""])];
            rows.extend(self.components.iter().map(|component| {
                let state = if component.sound { "" } else { "DAMAGED" };
                row([&component.hash, &component.bytes.to_string(), state])
            }));
            write!(f, "\n{}", table(&rows))?;
        }
        Ok(())
    }
}

impl Diagnosis {
    fn nodes_and_files(&self) -> String {
        let mut text = String::new();
        if !self.nodes.is_empty() {
            let mut nodes = vec![row(["node", "api", "peers"])];
            nodes.extend(
                self.nodes
                    .iter()
                    .map(|known| row([&known.node.to_string(), &known.api_address, &known.peer_address])),
            );
            text += &format!("\n{}", table(&nodes));
        }
        let mut files = vec![row(["file", "bytes", ""])];
        files.extend(self.files.iter().map(|file| {
            let count = file.files.map(|files| format!("{files} files")).unwrap_or_default();
            row([&file.name, &file.bytes.to_string(), &count])
        }));
        if let Some(free) = self.free_bytes {
            files.push(row(["(free)", &free.to_string(), ""]));
        }
        text + &format!("\n{}", table(&files))
    }
}

impl fmt::Display for CommunityShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, replica, .. } = self;
        let name = self.name.as_deref().unwrap_or("(name not known)");
        write!(f, "community {name} (id {id})")?;
        match replica {
            Some(replica) => writeln!(f, ", replica {replica}")?,
            None => writeln!(f)?,
        }
        if let Some(on_start) = &self.on_start {
            writeln!(f, "  on start   {}", on_start.text)?;
        }
        if let Some(why) = &self.quarantined {
            writeln!(f, "  stopped    {why}")?;
        }
        if let Some(log) = &self.log {
            writeln!(f, "  log        {log}")?;
        }
        let members = [("voters", &self.voters), ("learners", &self.learners)];
        for (kind, members) in members.into_iter().filter(|(_, members)| !members.is_empty()) {
            let listed: Vec<String> =
                members.iter().map(|(replica, node)| format!("{replica} (node {node})")).collect();
            writeln!(f, "  {kind:<9}  {}", listed.join(", "))?;
        }
        for snapshot in &self.snapshots {
            writeln!(f, "  snapshot   {snapshot}")?;
        }
        if let Some(ProgramShown { name, version, missing_components: missing }) = &self.program {
            writeln!(f, "  program    {name} {version}")?;
            for component in missing {
                writeln!(
                    f,
                    "             component {component} is not here: it is fetched from another node"
                )?;
            }
        }
        match self.history {
            Some(Range { first, last }) => writeln!(f, "  history    sequences {first} to {last}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for LogShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.held {
            Some(Range { first, last }) => {
                write!(f, "entries {first} to {last}, {} bytes in {} segments; ", self.bytes, self.segments)?;
            }
            None => f.write_str("no entries; ")?,
        }
        let index =
            |index: Option<u64>| index.map_or_else(|| "nothing".to_owned(), |index| index.to_string());
        write!(
            f,
            "term {}, voted for replica {}, committed {}, purged {}",
            self.term,
            index(self.vote).replace("nothing", "nobody"),
            index(self.committed),
            index(self.purged)
        )
    }
}

impl fmt::Display for SnapshotShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, log_index, chunks, bytes, .. } = self;
        write!(f, "at {sequence}, log index {log_index}, {chunks} chunks, {bytes} bytes")?;
        if let Some(root) = &self.state_root {
            write!(f, ", root {}", root.get(..16).unwrap_or(root))?;
        }
        if let Some(sound) = self.sound_chunks {
            write!(f, ", {sound} of its chunks hashed again and right")?;
        }
        match &self.problem {
            Some(problem) => write!(f, "\n             UNUSABLE: {problem}"),
            None => Ok(()),
        }
    }
}
