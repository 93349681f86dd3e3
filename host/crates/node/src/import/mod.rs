//! Importing a community: the state that another one came to, and the history that goes with it, become a
//! community here.
//!
//! The state comes to one node, chunk by chunk, by content: what broke off goes on. That node restores it,
//! has the community's id reserved, adds the transition that says where all this comes from, and cuts the
//! snapshot that the group begins with. Every node that is to vote takes that in ([`stage`]), and only then
//! does the directory let the community begin: so nobody ever sees half of one. What was put in place for
//! one that never began is thrown away ([`staging`]).

mod history;
mod stage;
mod staging;
#[cfg(test)]
mod tests;

pub use history::History;
pub(crate) use stage::Stage;
pub(crate) use staging::{Staging, tidy};

use crate::{
    admin::{Placement, unexpected},
    directory::{
        record::{CommunityRecord, DirectoryOperation, DirectoryResult},
        view::DirectoryView,
    },
    node::Node,
    peer::method,
    refuse,
    replica::Captured,
    snapshots::{self, Builder, LastCut, NotRestored},
};
use althing_consensus::{
    founding,
    peers::Lane,
    port::{Member, SnapshotBuilder as _, Timing},
};
use althing_core::{
    batch::ProgramManifest,
    ids::{CommunityId, Hash, NodeId, ReplicaId},
    limits,
    machine::Machine,
    origin::Origin,
    refusal::{Code, Refusal},
    snapshot::{Chunk, ChunkRef, Manifest},
    transition::Transition,
    view::View,
};
use bytes::{Bytes, BytesMut};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How long all nodes may take to have what the community begins with.
const IN_PLACE_PATIENCE: Duration = Duration::from_secs(600);
/// Hashes that the archive is asked about at a time.
const HASHES_AT_ONCE: usize = 4096;

/// What a community is to be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name here.
    pub name: String,
    /// Where it shall live.
    pub placement: Placement,
    /// Its patience.
    pub timing: Timing,
    /// The pieces of the encoded manifest of its state, in order; they and the chunks were uploaded to this
    /// node.
    pub manifest: Vec<Hash>,
    /// Whose state it is.
    pub origin: Origin,
    /// The transitions that it shall tell of.
    pub history: History,
}

impl Node {
    /// Which of these chunks are not on this node. Those that are stay for an hour at least.
    ///
    /// # Errors
    /// Storage fails.
    pub async fn missing_chunks(&self, hashes: &[Hash]) -> Result<Vec<Hash>, Refusal> {
        self.shared().store.archive.missing_chunks(hashes).await.map_err(|error| refuse::store(&error))
    }

    /// Stores chunks on this node, for an import. They stay for an hour at least.
    ///
    /// # Errors
    /// [`Code::BadRequest`] when one is not what its name says; [`Code::NoSpace`]; storage fails.
    pub async fn upload_chunks(&self, chunks: Vec<(Hash, Bytes)>) -> Result<(), Refusal> {
        self.shared().space.check()?;
        for (hash, bytes) in &chunks {
            if Chunk::of(bytes.clone()).hash != *hash {
                return Err(Refusal::new(
                    Code::BadRequest,
                    format!("the bytes sent for chunk {hash} are others"),
                ));
            }
        }
        self.shared().store.archive.put_chunks(chunks).await.map_err(|error| refuse::store(&error))
    }

    /// Makes a community of a state whose chunks and components are on this node, and waits until it has a
    /// leader. Asked again for the same name and the same file, it answers with what was made.
    ///
    /// # Errors
    /// A refusal, and then there is no such community, except that with [`Code::UnknownOutcome`] and
    /// [`Code::NoLeader`] there may be: ask again. [`Code::Busy`] while another import is under way on a
    /// node that is to vote.
    ///
    /// Cancellation: what was put in place is thrown away, or the community has begun.
    pub async fn import_community(&self, import: Import) -> Result<CommunityRecord, Refusal> {
        let record = match self.imported_before(&import).await? {
            Some(record) => record,
            None => self.import_anew(import).await?,
        };
        self.wait_for_leader(&record).await?;
        Ok(record)
    }

    /// Whose history a community goes on with, if it was imported.
    #[must_use]
    pub fn origin(&self, community: CommunityId) -> Option<Origin> {
        DirectoryView(&self.directory()).origin(community)
    }

    async fn imported_before(&self, import: &Import) -> Result<Option<CommunityRecord>, Refusal> {
        match self.resolve(&import.name).await {
            Ok(id) if self.origin(id).is_some_and(|origin| origin == import.origin) => {
                self.community(&import.name).map(Some)
            }
            Ok(_) => {
                let message = format!("there is a community {:?} already: choose another name", import.name);
                Err(Refusal::new(Code::CommunityExists, message))
            }
            Err(refusal) if refusal.code == Code::NoCommunity => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn import_anew(&self, import: Import) -> Result<CommunityRecord, Refusal> {
        self.shared().space.check()?;
        let _at_work = self.staging().work()?;
        let machine = self.uploaded(&import).await?;
        let nodes = self.place(import.placement)?;
        let operation = DirectoryOperation::Reserve {
            name: import.name,
            nodes,
            timing: import.timing,
            policy: Box::new(machine.policy().clone()),
            by: self.id(),
            origin: import.origin.clone(),
        };
        let record = self.changed_community(operation).await?;
        let community = record.id;
        tracing::info!(%community, name = record.name, sequence = %import.origin.sequence, "importing a community");
        let in_place = self.put_in_place(record, machine, import.origin, &import.history);
        let begun = match self.runtime().timeout(IN_PLACE_PATIENCE, in_place).await {
            Some(Ok(())) => self.changed_community(DirectoryOperation::Begin { community }).await,
            Some(Err(refusal)) => Err(refusal),
            None => {
                Err(Refusal::new(Code::TimedOut, "the nodes took too long to take the community in: retry"))
            }
        };
        if let Err(refusal) = &begun {
            tracing::warn!(%community, %refusal, "a community could not be imported");
            staging::release(self, community).await;
        }
        begun
    }

    /// What was uploaded in pieces.
    async fn pieced(&self, pieces: &[Hash]) -> Result<Bytes, Refusal> {
        let wrong = |what: String| Refusal::new(Code::BadRequest, format!("the import's manifest {what}"));
        let mut whole = BytesMut::new();
        for &piece in pieces {
            let stored = self.shared().store.archive.chunk(piece).await;
            let stored = stored.map_err(|error| refuse::store(&error))?;
            let is_it = |bytes: &Bytes| ChunkRef::of(bytes).hash == piece;
            let Some(bytes) = stored.filter(is_it) else {
                return Err(wrong(format!("is not all on this node: upload its piece {piece}")));
            };
            if whole.len() + bytes.len() > limits::MANIFEST_BYTES_MAX {
                let max = limits::MANIFEST_BYTES_MAX;
                return Err(wrong(format!("has more than {max} bytes, which no state needs")));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    /// The uploaded state, whole and what it says it is.
    async fn uploaded(&self, import: &Import) -> Result<Machine, Refusal> {
        let wrong = |what: &str| Refusal::new(Code::BadRequest, format!("the import's {what}"));
        let manifest = Manifest::decode(&self.pieced(&import.manifest).await?)
            .map_err(|error| wrong(&format!("manifest cannot be read: {}", refuse::chain(&error))))?;
        let origin = &import.origin;
        let wanted = (origin.community, origin.sequence, origin.digest);
        if (manifest.community, manifest.sequence, manifest.digest) != wanted {
            return Err(wrong("manifest is not of the state that its origin names"));
        }
        let engine = self.engine().fingerprint();
        if let Some(other) = manifest.fingerprint.filter(|&made_by| made_by != engine) {
            let what = format!(
                "state was made by the engine {other}, this node has {engine}: use the build that made it"
            );
            return Err(wrong(&what));
        }
        let chunks = manifest.chunks.iter().chain(&import.history.pages).map(|chunk| chunk.hash);
        let mut missing = 0;
        for hashes in chunks.collect::<Vec<_>>().chunks(HASHES_AT_ONCE) {
            missing += self.missing_chunks(hashes).await?.len();
        }
        if missing > 0 {
            return Err(wrong(&format!(
                "chunks are not all on this node: upload the {missing} that are missing"
            )));
        }
        let restored = snapshots::machine(&*self.shared().store.archive, &manifest, engine).await;
        let machine = restored.map_err(|why| match why {
            NotRestored::Damaged(fault) => wrong(&format!(
                "state cannot be restored: {}: upload what is missing, and the manifest that belongs to it",
                refuse::chain(&fault)
            )),
            NotRestored::Refused(fault) => refuse::internal("the uploaded state cannot be restored", &fault),
        })?;
        machine.policy().check().map_err(|bounds| Refusal::new(Code::BadPolicy, bounds.to_string()))?;
        Ok(machine)
    }

    /// Everything that the community begins with, on every node that is to vote.
    async fn put_in_place(
        &self,
        record: CommunityRecord,
        mut machine: Machine,
        origin: Origin,
        history: &History,
    ) -> Result<(), Refusal> {
        let community = record.id;
        let staged =
            self.staging().note(&*self.shared().store.archive, community, self.runtime().monotonic());
        staged.await.map_err(|error| refuse::store(&error))?;
        let imported = machine.import(community, origin);
        let view = machine.view();
        self.take_history(community, history, &imported, self.id()).await?;
        let manifest = self.cut(&record, view.clone()).await?;
        if record.replica_on(self.id()).is_some() {
            self.hold_program(view.program_manifest(), &[]).await?;
        }
        let stage = Stage { source: self.id(), manifest, history: history.clone(), imported };
        let others = record.replicas.values().map(|replica| replica.node).filter(|&node| node != self.id());
        let asked = others.map(|node| self.ask_to_stage(node, community, &stage));
        futures::future::try_join_all(asked).await.map(|_| ())
    }

    /// The snapshot that the group begins with, stored here; its manifest.
    async fn cut(&self, record: &CommunityRecord, view: View) -> Result<Bytes, Refusal> {
        let directory = self.directory();
        let nodes = DirectoryView(&directory);
        let member = |node: NodeId| {
            let address = nodes.node(node).map(|record| record.peer_address).unwrap_or_default();
            Member { node, address }
        };
        let voters: BTreeMap<ReplicaId, Member> =
            record.replicas.iter().map(|(&id, replica)| (id, member(replica.node))).collect();
        let applied = founding(voters).map_err(|error| refuse::internal("the group cannot begin", &error))?;
        let mut builder = Builder {
            captured: Captured { view, applied },
            archive: self.shared().store.archive.clone(),
            fingerprint: Some(self.engine().fingerprint()),
            last_cut: LastCut::default(),
            roots: Arc::default(),
            archived: self.shared().archived.clone(),
            falls_back_to: 0,
        };
        let built = builder.build().await.map_err(|fault| refuse::fault(&fault))?;
        Ok(built.manifest)
    }

    async fn ask_to_stage(&self, node: NodeId, community: CommunityId, stage: &Stage) -> Result<(), Refusal> {
        let asked = self.peers().ask(node, Lane::Bulk, community, method::STAGE, stage, IN_PLACE_PATIENCE);
        asked.await.map_err(|refusal: Refusal| {
            let message = format!("node {node} did not take the community in: {}", refusal.message);
            // Nothing has begun: it may be asked for again, whatever is known of that node.
            let code = if refusal.code == Code::UnknownOutcome { Code::NotHeld } else { refusal.code };
            Refusal { message, code, ..refusal }
        })
    }

    /// Makes a program's components present and compiled here.
    async fn hold_program(
        &self,
        program: Option<&ProgramManifest>,
        sources: &[NodeId],
    ) -> Result<(), Refusal> {
        // Scripts have no components.
        let program = program.filter(|_| cfg!(not(test)));
        for component in program.into_iter().flat_map(ProgramManifest::components) {
            self.components().hold(component, sources).await?;
        }
        Ok(())
    }

    async fn changed_community(&self, operation: DirectoryOperation) -> Result<CommunityRecord, Refusal> {
        match self.change_directory(operation).await? {
            DirectoryResult::Community(record) => Ok(*record),
            other => Err(unexpected(&other)),
        }
    }
}

/// Whether a manifest is of the state right after an import.
fn is_of(manifest: &Manifest, community: CommunityId, imported: &Transition) -> bool {
    (manifest.community, manifest.sequence, manifest.digest)
        == (community, imported.sequence, imported.digest)
}
