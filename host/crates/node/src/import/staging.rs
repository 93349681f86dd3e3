//! What is stored here for communities that have not begun: remembered across restarts, thrown away when
//! they were given up.
//!
//! One import at a time works on a node. What it left, by an end of its process or of its caller, is found
//! by whoever reserved the community, who then gives it up; if that node is gone for good, the others do,
//! after a while. The directory's order decides between giving up and beginning.

use crate::{
    directory::{record::DirectoryOperation, view::DirectoryView},
    node::Node,
    refuse,
};
use althing_core::{
    codec,
    ids::CommunityId,
    refusal::{Code, Refusal},
};
use althing_store::port::{Archive, StoreError};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The fact under which the communities to be are remembered.
const FACT: &str = "staged";
/// After so long, counted from the node's start, it is given up whoever reserved it.
const LEFT_AFTER: Duration = Duration::from_secs(60 * 60);
/// How long giving up may hold other things up; it is tried again.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// The communities to be that this node stores something for.
pub(crate) struct Staging {
    work: tokio::sync::Mutex<()>,
    /// With the time when this was first known, on the runtime's clock.
    staged: Mutex<BTreeMap<CommunityId, Duration>>,
}

impl Staging {
    /// What was staged when the node last ran.
    pub(crate) async fn remembered(archive: &dyn Archive, now: Duration) -> Result<Self, StoreError> {
        let record = archive.fact(FACT).await?;
        let ids: Vec<CommunityId> = match record {
            None => Vec::new(),
            Some(record) => codec::decode(&record).map_err(|error| StoreError::Damaged {
                what: format!(
                    "the fact {FACT:?} cannot be read ({error}): what imports left cannot be found"
                ),
            })?,
        };
        let staged = ids.into_iter().map(|id| (id, now)).collect();
        Ok(Self { work: tokio::sync::Mutex::default(), staged: Mutex::new(staged) })
    }

    /// The right to work on an import here, until it is dropped.
    ///
    /// # Errors
    /// [`Code::Busy`].
    pub(super) fn work(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Refusal> {
        let busy =
            |_| Refusal::new(Code::Busy, "another import is under way on this node: retry when it is done");
        self.work.try_lock().map_err(busy)
    }

    /// Remembers, durably, that something will be stored for a community to be.
    pub(super) async fn note(
        &self,
        archive: &dyn Archive,
        community: CommunityId,
        now: Duration,
    ) -> Result<(), StoreError> {
        self.staged().entry(community).or_insert(now);
        self.remember(archive).await
    }

    async fn forget(&self, archive: &dyn Archive, community: CommunityId) -> Result<(), StoreError> {
        self.staged().remove(&community);
        self.remember(archive).await
    }

    async fn remember(&self, archive: &dyn Archive) -> Result<(), StoreError> {
        let ids: Vec<CommunityId> = self.staged().keys().copied().collect();
        archive.put_fact(FACT, codec::encode(&ids).into()).await
    }

    fn staged(&self) -> MutexGuard<'_, BTreeMap<CommunityId, Duration>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a community to be up, so that it never begins; if that is not heard now, [`tidy`] tries again.
pub(super) async fn release(node: &Node, community: CommunityId) {
    let released = node.change_directory(DirectoryOperation::Release { community });
    match node.runtime().timeout(RELEASE_PATIENCE, released).await {
        Some(Ok(_)) => tracing::info!(%community, "an import was given up"),
        Some(Err(refusal)) => tracing::debug!(%community, %refusal, "an import could not be given up yet"),
        None => tracing::debug!(%community, "an import could not be given up yet"),
    }
}

/// What became of a community to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    /// It is here, or its replica will be.
    Ours,
    /// It lives elsewhere, or never will.
    Nothing,
    /// Nobody knows yet.
    Open,
}

/// Gives up what nobody works on any more, and throws away what was stored for it.
pub(crate) async fn tidy(node: &Node) {
    // Whoever works on an import has the right to it; what it does next is in the directory it reads.
    let Ok(_at_work) = node.staging().work() else { return };
    let directory = node.directory();
    let view = DirectoryView(&directory);
    for reservation in view.reserved() {
        let id = reservation.record.id;
        let since = node.staging().staged().get(&id).copied();
        let is_left = since.is_some_and(|since| node.runtime().monotonic() - since > LEFT_AFTER);
        if reservation.by == node.id() || is_left {
            release(node, id).await;
        }
    }
    let staged: Vec<CommunityId> = node.staging().staged().keys().copied().collect();
    for id in staged {
        let done = match became(node, &view, id) {
            Became::Open => continue,
            Became::Ours => Ok(()),
            Became::Nothing => node.shared().store.archive.remove_community(id).await,
        };
        let archive = &*node.shared().store.archive;
        let forgotten = match done {
            Ok(()) => node.staging().forget(archive, id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            tracing::error!(community = %id, error = refuse::chain(&error), "what an import left could not be removed");
        }
    }
}

/// By the directory as it is known here, which may lag: then nothing is known yet.
fn became(node: &Node, view: &DirectoryView<'_>, id: CommunityId) -> Became {
    let is_here = || node.hosted(id).is_some() || node.awaited().contains_key(&id);
    match view.community(id) {
        _ if is_here() => Became::Ours,
        Some(record) if record.replica_on(node.id()).is_some() => Became::Open,
        Some(_) => Became::Nothing,
        None if view.is_over(id) => Became::Nothing,
        None => Became::Open,
    }
}
