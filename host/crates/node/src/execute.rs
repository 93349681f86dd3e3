//! The executor: committed entries become state, on every replica, in order.
//!
//! One for each replica, owned by its consensus group. It makes sure that the components an entry
//! names are here (waiting for them if it must), runs the entries on a guest thread, hands the
//! transitions to the feed, and publishes the new state to readers in one step.

use crate::{
    archiver::Marks,
    components::Components,
    digests::Digests,
    feed::Feed,
    guests::GuestThreads,
    mend::Mender,
    refuse,
    replica::{Decoded, Executed, Loader, Replica},
    retention,
    roots::Roots,
    shown::Shown,
    snapshots::{self, Builder, LastCut},
};
use althing_consensus::port::{
    AppliedState, CommittedEntry, Replies, SnapshotBuilder, SnapshotHandle, StateMachine,
};
use althing_core::{
    batch::ProgramManifest,
    ids::{CommunityId, NodeId},
    program::Fault,
    snapshot::Manifest,
    view::View,
};
use althing_store::port::Archive;
use async_trait::async_trait;
use std::sync::{Arc, PoisonError};
use tokio::sync::Notify;

/// What readers see: a state, and how far in the log it is.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) view: View,
    pub(crate) applied_index: u64,
}

/// Tells where a component or a chunk may be had: the nodes that know of the community.
pub(crate) type Sources = Arc<dyn Fn() -> Vec<NodeId> + Send + Sync>;

/// Executes one community on this node.
pub(crate) struct Executor {
    pub(crate) community: CommunityId,
    /// None only while it is out on a guest thread, or after a panic there.
    pub(crate) replica: Option<Replica>,
    pub(crate) loader: Loader,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) components: Components,
    pub(crate) guests: GuestThreads,
    pub(crate) feed: Arc<Feed>,
    pub(crate) digests: Arc<Digests>,
    pub(crate) published: Shown<Published>,
    pub(crate) snapshot_due: Arc<Notify>,
    pub(crate) last_cut: LastCut,
    pub(crate) roots: Arc<Roots>,
    pub(crate) sources: Sources,
    pub(crate) mender: Mender,
    pub(crate) archived: Marks,
    #[cfg(test)]
    pub(crate) tamper: crate::quarantine::tests::Tamper,
}

#[async_trait]
impl StateMachine for Executor {
    async fn applied(&mut self) -> Result<AppliedState, Fault> {
        Ok(self.replica()?.applied().clone())
    }

    #[tracing::instrument(name = "execute", level = "debug", skip_all, fields(community = %self.community, entries = entries.len()))]
    async fn apply(&mut self, entries: Vec<CommittedEntry>) -> Result<Vec<Replies>, Fault> {
        let entries = entries.into_iter().map(Decoded::new).collect::<Result<Vec<_>, _>>()?;
        let programs = self.programs(&entries)?;
        hold(&self.components, &self.sources, programs).await?;
        let mut replica = self.replica.take().ok_or_else(lost)?;
        #[cfg(test)]
        self.tamper.touch(self.community, &mut replica);
        let guests = self.guests.clone();
        let (replica, executed) = guests
            .run_and_clear(move || {
                let executed = replica.execute(entries);
                let leftovers = replica.release();
                ((replica, executed), leftovers)
            })
            .await?;
        let published = publishable(&replica);
        let is_due = replica.is_due();
        self.replica = Some(replica);
        let Executed { replies, transitions } = executed?;
        self.count(&transitions);
        self.digests
            .push(transitions.iter().flatten().map(|transition| (transition.sequence, transition.digest)));
        self.feed
            .push(transitions)
            .await
            .map_err(|error| Fault::because("the history could not be kept", error))?;
        self.published.set(published);
        if is_due {
            self.snapshot_due.notify_one();
        }
        Ok(replies)
    }

    async fn capture(&mut self) -> Result<Box<dyn SnapshotBuilder>, Fault> {
        let fingerprint = match self.loader {
            Loader::Native => None,
            #[cfg(test)]
            Loader::Scripted => None,
            Loader::Wasm(_) => Some(self.components.engine().fingerprint()),
        };
        Ok(Box::new(Builder {
            captured: self.replica.as_mut().ok_or_else(lost)?.capture(),
            archive: self.archive.clone(),
            fingerprint,
            last_cut: self.last_cut.clone(),
            falls_back_to: 0,
            roots: self.roots.clone(),
            archived: self.archived.clone(),
        }))
    }

    async fn install(&mut self, snapshot: SnapshotHandle) -> Result<(), Fault> {
        let engine = self.components.engine().fingerprint();
        let manifest = Manifest::decode(&snapshot.manifest)
            .map_err(|error| Fault::because("a snapshot's manifest cannot be read", error))?;
        if manifest.community != self.community {
            return Err(Fault::new(format!("a snapshot of community {} was offered", manifest.community)));
        }
        // What was here already was not fetched, and the disk may have changed it since.
        let machine = self.mender.restore(&manifest, engine, &(self.sources)()).await?;
        let applied = snapshots::applied(&manifest)?;
        // What was cut before has nothing in common with the state to come, and its chunks may go now.
        *self.last_cut.lock().unwrap_or_else(PoisonError::into_inner) = None;
        retention::keep(&*self.archive, &manifest, &machine.policy().retention)
            .await
            .map_err(|error| Fault::because("a snapshot that was installed could not be kept", error))?;
        tracing::info!(community = %self.community, sequence = %manifest.sequence, "a snapshot was installed");
        let replica = Replica::new(machine, self.loader.clone(), applied);
        self.feed.jump(replica.view().sequence());
        self.digests.jump(replica.view().sequence(), replica.view().digest());
        self.roots.forget();
        self.published.set(publishable(&replica));
        self.replica = Some(replica);
        Ok(())
    }

    async fn snapshot(&mut self) -> Result<Option<SnapshotHandle>, Fault> {
        let newest = snapshots::newest(&*self.archive, self.community)
            .await
            .map_err(|error| Fault::because("the snapshots could not be read", error))?;
        let Some((newest, manifest)) = newest else { return Ok(None) };
        let applied = snapshots::applied(&manifest)?;
        Ok(Some(SnapshotHandle { applied, manifest: newest.manifest }))
    }
}

impl Executor {
    fn replica(&self) -> Result<&Replica, Fault> {
        self.replica.as_ref().ok_or_else(lost)
    }

    /// The programs that these entries may run: the one in force, and those that they activate.
    fn programs(&self, entries: &[Decoded]) -> Result<Vec<ProgramManifest>, Fault> {
        if !matches!(self.loader, Loader::Wasm(_)) {
            return Ok(Vec::new());
        }
        let in_force = self.replica()?.program();
        Ok(in_force.into_iter().chain(entries.iter().flat_map(Decoded::activated)).cloned().collect())
    }

    /// Tells metrics and log what was done.
    fn count(&self, batches: &[Vec<althing_core::transition::Transition>]) {
        let transitions: usize = batches.iter().map(Vec::len).sum();
        metrics::counter!("althing_batches_total").increment(batches.len() as u64);
        metrics::counter!("althing_transitions_total").increment(transitions as u64);
        let fuel: u64 = batches.iter().flatten().map(|transition| transition.fuel).sum();
        metrics::counter!("althing_fuel_total").increment(fuel);
        if tracing::enabled!(tracing::Level::DEBUG) {
            for transition in batches.iter().flatten() {
                let operation = transition.operation().map(tracing::field::display);
                tracing::debug!(operation, sequence = %transition.sequence, "executed");
            }
        }
    }
}

/// Makes sure of every component of these programs. What is not here is fetched, and waited for.
async fn hold(
    components: &Components,
    sources: &Sources,
    programs: Vec<ProgramManifest>,
) -> Result<(), Fault> {
    for component in programs.iter().flat_map(ProgramManifest::components) {
        components.hold_at_last(component, &**sources).await?;
    }
    Ok(())
}

/// What readers are shown of a replica.
pub(crate) fn publishable(replica: &Replica) -> Published {
    let applied_index = replica.applied().position.as_ref().map_or(0, |position| position.index);
    Published { view: replica.view(), applied_index }
}

fn lost() -> Fault {
    Fault::new(format!("the replica was lost to an earlier fault: {}", refuse::RESTART))
}
