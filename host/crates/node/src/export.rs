//! Exporting a community: a snapshot, the log above it and what it did, part by part, while the replica
//! goes on.
//!
//! One read is in memory at a time. What the replica forgets meanwhile, because it has cut newer
//! snapshots, ends the export with a refusal: it can be begun anew.

use crate::{community::Community, node::Node, refuse, snapshots};
use althing_consensus::port::EntryPayload;
use althing_core::{
    batch::{Batch, Command, ProgramManifest},
    codec,
    ids::{CommunityId, Hash, Sequence},
    portable::{End, Header, Part},
    refusal::{Code, Refusal},
    snapshot::{ChunkRef, Manifest},
    transition::Transition,
};
use althing_store::port::{Archive, SnapshotRecord};
use futures::stream::{BoxStream, StreamExt as _, try_unfold};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// How long a snapshot that has just been stored may take to be the state here.
const INSTALL_PATIENCE: Duration = Duration::from_secs(30);
/// Transitions of one part.
const TRANSITIONS_MAX: usize = 256;
/// Bytes of the transitions of one part, unless a single one is larger.
const TRANSITIONS_BYTES_MAX: usize = 4 << 20;

impl Node {
    /// The parts of an export of the replica here, up to where it is now. The stream ends with the part
    /// `end`, or with a refusal.
    ///
    /// # Errors
    /// There is no such community or no replica of it here, or it has stopped.
    pub async fn export(
        &self,
        community: &str,
    ) -> Result<BoxStream<'static, Result<Part, Refusal>>, Refusal> {
        let id = self.resolve(community).await?;
        if id == CommunityId::SYSTEM {
            let message = "the system community is the cluster's own directory: export the others one by one";
            return Err(Refusal::new(Code::BadRequest, message));
        }
        let here = self.hosted(id).ok_or_else(|| self.no_replica(id))?;
        here.must_run()?;
        let archive = self.shared().store.archive.clone();
        let snapshot = match newest(&*archive, id).await? {
            Some(snapshot) => snapshot,
            None => {
                self.create_snapshot(community).await?;
                newest(&*archive, id).await?.ok_or_else(|| moved_on("its snapshot"))?
            }
        };
        let manifest = Manifest::decode(&snapshot.manifest)
            .map_err(|error| refuse::internal("the newest snapshot's manifest is damaged", &error))?;
        // What is here now is not dropped while it is exported, as far as the archive can promise.
        let chunks: Vec<Hash> = manifest.chunks.iter().map(|chunk| chunk.hash).collect();
        archive.missing_chunks(&chunks).await.map_err(|error| refuse::store(&error))?;
        let header = Header {
            name: here.hosted.name.clone(),
            community: id,
            cluster: self.identity().cluster.to_string(),
            fingerprint: self.engine().fingerprint(),
            listing: self.engine().fingerprint_listing().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        tracing::info!(community = %id, snapshot = %manifest.sequence, "exporting");
        let shown = here.wait_for(|published| published.applied_index >= manifest.log_index);
        if self.runtime().timeout(INSTALL_PATIENCE, shown).await.is_none() {
            return Err(Refusal::new(
                Code::NotReached,
                "a snapshot is being installed on this node: retry later",
            ));
        }
        let begin = [Part::header(&header), Part::manifest(manifest.sequence, snapshot.manifest)];
        let exporter = Exporter::new(self.clone(), here, manifest, begin.into());
        Ok(try_unfold(exporter, Exporter::next).boxed())
    }
}

async fn newest(archive: &dyn Archive, id: CommunityId) -> Result<Option<SnapshotRecord>, Refusal> {
    let newest = snapshots::newest(archive, id).await.map_err(|error| refuse::store(&error))?;
    Ok(newest.map(|(record, _)| record))
}

/// An export under way.
struct Exporter {
    node: Node,
    here: Arc<Community>,
    /// Read, and not yet given.
    ready: VecDeque<Part>,
    /// The first transition above the snapshot.
    first: Sequence,
    components: BTreeSet<Hash>,
    chunks: VecDeque<ChunkRef>,
    end: End,
    stage: Stage,
}

/// What is read next.
enum Stage {
    /// Entries from this log index on.
    Entries(u64),
    /// Transitions from this sequence on.
    Transitions(Sequence),
    Components,
    Chunks,
    End,
    Over,
}

impl Exporter {
    fn new(node: Node, here: Arc<Community>, manifest: Manifest, ready: VecDeque<Part>) -> Self {
        let until = here.published();
        let (sequence, digest) = (until.view.sequence(), until.view.digest());
        let log_index = until.applied_index;
        let end = End { sequence, digest, log_index, entries: 0, transitions: 0, components: 0, chunks: 0 };
        Self {
            node,
            here,
            ready,
            first: manifest.sequence.next(),
            components: manifest.program.iter().flat_map(ProgramManifest::components).collect(),
            stage: Stage::Entries(manifest.log_index + 1),
            chunks: manifest.chunks.into(),
            end,
        }
    }

    async fn next(mut self) -> Result<Option<(Part, Self)>, Refusal> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Ok(Some((part, self)));
            }
            self.stage = match self.stage {
                Stage::Entries(next) => self.read_entries(next).await?,
                Stage::Transitions(next) => self.read_transitions(next).await?,
                Stage::Components => self.read_component().await?,
                Stage::Chunks => self.read_chunk().await?,
                Stage::End => {
                    self.ready.push_back(Part::end(&self.end));
                    Stage::Over
                }
                Stage::Over => return Ok(None),
            };
        }
    }

    async fn read_entries(&mut self, next: u64) -> Result<Stage, Refusal> {
        let last = self.end.log_index;
        if next > last {
            return Ok(Stage::Transitions(self.first));
        }
        let entries = self.here.group.executed(next, last).await.map_err(|fault| refuse::fault(&fault))?;
        let is_held = entries.first().is_some_and(|entry| entry.position.index == next);
        let Some(read) = entries.last().map(|entry| entry.position.index).filter(|_| is_held) else {
            return Err(moved_on(&format!("log entry {next}")));
        };
        for entry in entries {
            let EntryPayload::Proposal(body) = entry.payload else { continue };
            let batch: Batch = codec::decode(&body)
                .map_err(|error| refuse::internal("an entry of the log cannot be read", &error))?;
            self.components.extend(activated(&batch));
            self.end.entries += 1;
            self.ready.push_back(Part::entry(entry.position.index, body));
        }
        Ok(Stage::Entries(read + 1))
    }

    async fn read_transitions(&mut self, next: Sequence) -> Result<Stage, Refusal> {
        if next > self.end.sequence {
            return Ok(Stage::Components);
        }
        let mut transitions = self.here.feed.read(next, TRANSITIONS_MAX).await?;
        transitions.retain(|transition| transition.sequence <= self.end.sequence);
        transitions.truncate(fitting(&transitions));
        let Some(last) = transitions.last().map(|transition| transition.sequence) else {
            return Err(moved_on(&format!("transition {next}")));
        };
        self.end.transitions += transitions.len() as u64;
        self.ready.extend(Part::transitions(&transitions));
        Ok(Stage::Transitions(last.next()))
    }

    async fn read_component(&mut self) -> Result<Stage, Refusal> {
        let Some(component) = self.components.pop_first() else { return Ok(Stage::Chunks) };
        let sources = (self.node.sources_of(self.here.id()))();
        let bytes = self.node.components().stored(component, &sources).await?;
        self.end.components += 1;
        self.ready.push_back(Part::component(component, bytes));
        Ok(Stage::Components)
    }

    async fn read_chunk(&mut self) -> Result<Stage, Refusal> {
        let Some(chunk) = self.chunks.pop_front() else { return Ok(Stage::End) };
        let read = self.node.shared().store.archive.chunk(chunk.hash).await;
        let bytes = read.map_err(|error| refuse::store(&error))?.ok_or_else(|| moved_on("the snapshot"))?;
        if !chunk.names(&bytes) {
            let message = format!(
                "chunk {} of the snapshot is damaged on this node: export from another one, or cut a new snapshot first",
                chunk.hash
            );
            return Err(Refusal::new(Code::Internal, message));
        }
        self.end.chunks += 1;
        self.ready.push_back(Part::chunk(chunk.hash, bytes));
        Ok(Stage::Chunks)
    }
}

/// How many of these transitions one part holds: at least one.
fn fitting(transitions: &[Transition]) -> usize {
    let mut bytes = 0;
    let fits = |transition: &&Transition| {
        bytes += codec::encode(*transition).len();
        bytes <= TRANSITIONS_BYTES_MAX
    };
    transitions.iter().take_while(fits).count().max(1)
}

/// The components that a batch's activations ask for, accepted or not.
pub(crate) fn activated(batch: &Batch) -> Vec<Hash> {
    let programs = batch.commands.iter().filter_map(|command| match command {
        Command::Activate(activation) => Some(&activation.program),
        Command::Operation(_) | Command::OpenSession(_) | Command::SetPolicy(_) => None,
    });
    programs.flat_map(ProgramManifest::components).collect()
}

fn moved_on(what: &str) -> Refusal {
    let message = format!("{what} is no longer held here: newer snapshots were cut meanwhile; export again");
    Refusal::new(Code::Busy, message)
}

#[cfg(test)]
mod tests {
    use super::{TRANSITIONS_BYTES_MAX, fitting};
    use althing_core::{
        ids::{Hash, Sequence},
        time::Timestamp,
        transition::{Cause, Outcome, Transition},
    };

    fn transition(bytes: usize) -> Transition {
        Transition {
            sequence: Sequence(1),
            time: Timestamp::new(1, 0),
            cause: Cause::SetPolicy,
            outcome: Outcome::Accepted { result: vec![0; bytes].into() },
            writes: Vec::new(),
            events: Vec::new(),
            timers: Vec::new(),
            fuel: 0,
            digest: Hash::default(),
        }
    }

    #[test]
    fn a_part_holds_few_large_transitions_and_always_one() {
        let third = TRANSITIONS_BYTES_MAX / 3;
        assert_eq!(fitting(&[transition(1), transition(1)]), 2);
        assert_eq!(fitting(&[transition(third), transition(third), transition(third)]), 2);
        assert_eq!(fitting(&[transition(2 * TRANSITIONS_BYTES_MAX), transition(1)]), 1);
    }
}
