//! Taking in what an imported community begins with, on a node that is to vote in it: everything is
//! fetched from the node that has it, verified, and durable, before the answer.

use super::{History, is_of};
use crate::{
    directory::{record::Reservation, view::DirectoryView},
    node::Node,
    refuse, retention, snapshots,
};
use althing_consensus::port::{SnapshotFetch as _, SnapshotHandle};
use althing_core::{
    ids::{CommunityId, Hash, NodeId},
    program::Fault,
    refusal::{Code, Refusal},
    snapshot::Manifest,
    transition::Transition,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// What a community to be begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stage {
    /// Who has the chunks, the pages and the components.
    pub(crate) source: NodeId,
    /// The snapshot's manifest.
    pub(crate) manifest: Bytes,
    /// The transitions before the import.
    pub(crate) history: History,
    /// The import, the last transition in the snapshot.
    pub(crate) imported: Transition,
}

impl Node {
    /// Takes in what a community to be begins with.
    ///
    /// # Errors
    /// It was given up; it is not to live here; another import is under way here; there is no room;
    /// something could not be fetched, or is not what it should be.
    pub(crate) async fn stage(&self, community: CommunityId, stage: Stage) -> Result<(), Refusal> {
        self.shared().space.check()?;
        let _at_work = self.staging().work()?;
        let reservation = self.reservation(community).await?;
        if reservation.record.replica_on(self.id()).is_none() {
            return Err(Refusal::new(Code::BadRequest, format!("community {community} is not to live here")));
        }
        let archive = &*self.shared().store.archive;
        let staged = self.staging().note(archive, community, self.runtime().monotonic()).await;
        staged.map_err(|error| refuse::store(&error))?;
        let manifest = Manifest::decode(&stage.manifest).map_err(|error| {
            let why = refuse::chain(&error);
            Refusal::new(Code::BadRequest, format!("the manifest of an import cannot be read: {why}"))
        })?;
        if !is_of(&manifest, community, &stage.imported) {
            return Err(Refusal::new(Code::BadRequest, "the manifest is not of the state that was imported"));
        }
        self.must_have_room(&manifest, &stage.history).await?;
        self.fetch_staged(&manifest, &stage).await.map_err(|fault| refuse::fault(&fault))?;
        let mender = &self.shared().mender;
        let restored = mender.restore(&manifest, self.engine().fingerprint(), &[stage.source]).await;
        let view = restored.map_err(|why| refuse::fault(&why.into()))?.view();
        self.take_history(community, &stage.history, &stage.imported, stage.source).await?;
        let kept = retention::keep(archive, &manifest, &view.policy().retention).await;
        kept.map_err(|error| refuse::store(&error))?;
        self.hold_program(view.program_manifest(), &[stage.source]).await
    }

    /// Makes the chunks of the state present here.
    async fn fetch_staged(&self, manifest: &Manifest, stage: &Stage) -> Result<(), Fault> {
        let source = stage.source;
        let receiver = self.shared().transfers.receiver(manifest.community, Arc::new(move || vec![source]));
        let offered =
            SnapshotHandle { applied: snapshots::applied(manifest)?, manifest: stage.manifest.clone() };
        receiver.fetch(source, &offered).await
    }

    /// Refuses what is not here yet, if it would take the room that is kept for other things.
    async fn must_have_room(&self, manifest: &Manifest, history: &History) -> Result<(), Refusal> {
        let all = || manifest.chunks.iter().chain(&history.pages);
        let missing = self.missing_chunks(&all().map(|chunk| chunk.hash).collect::<Vec<_>>()).await?;
        let missing: BTreeSet<Hash> = missing.into_iter().collect();
        let bytes = all().filter(|chunk| missing.contains(&chunk.hash)).map(|chunk| chunk.bytes);
        self.shared().space.check_for(bytes.fold(0, u64::saturating_add))
    }

    /// The reservation, once the directory here knows of it.
    async fn reservation(&self, community: CommunityId) -> Result<Reservation, Refusal> {
        let knows = |view: &_, _| DirectoryView(view).has_existed(community);
        if self.wait(self.system(), knows).await.is_none() {
            return Err(refuse::no_leader(CommunityId::SYSTEM));
        }
        let reserved = DirectoryView(&self.directory()).reserved();
        let found = reserved.into_iter().find(|reservation| reservation.record.id == community);
        let given_up = || format!("community {community} was given up before it began: nothing was made");
        found.ok_or_else(|| Refusal::new(Code::NoCommunity, given_up()))
    }
}
