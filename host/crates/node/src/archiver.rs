//! The archiver: history goes from this node to files that are kept for ever, and only what is in a durable file is
//! dropped from what the node itself holds.
//!
//! One task for a node, beside everything else: nothing waits for it but the dropping of old history. When files
//! cannot be written it says so, tries again, and history stays. The system community is not archived: it is the
//! cluster's own directory.

mod course;
mod source;
mod status;

pub use status::{ArchiveStatus, Archived};

use crate::{community::Community, guests::GuestThreads, node::Node};
use althing_core::{
    ids::{CommunityId, Sequence},
    program::Fault,
    segment::Rule,
};
use althing_store::segments::Files;
use course::{Course, Trouble};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often to look for something to archive.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long to wait after the first failure; twice as long after each further one, up to the second.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Segments of one community that are written before the next one has its turn.
const SEGMENTS_AT_ONCE: u32 = 8;
/// How long the rest of a community that leaves this node may take.
const REST_PATIENCE: Duration = Duration::from_secs(10);

/// Transitions in a segment when nobody says otherwise.
pub const SEGMENT_TRANSITIONS: u64 = 10_000;
/// The community's time in a segment when nobody says otherwise.
pub const SEGMENT_SPAN: Duration = Duration::from_secs(3600);

/// Where history is archived, and how it is cut.
#[derive(Clone)]
pub struct ArchiveOptions {
    /// The files.
    pub files: Arc<dyn Files>,
    /// What they are called in messages: the folder.
    pub place: String,
    /// Bytes that are left free on their disk, which may be the one that the node's own data are on.
    pub reserve: u64,
    /// When segments end.
    pub rule: Rule,
}

/// What the node knows of its archive.
pub(crate) struct Archiver {
    options: Option<ArchiveOptions>,
    threads: GuestThreads,
    marks: Marks,
    /// How far each community is. One is archived at a time, so that memory holds one segment at most.
    courses: tokio::sync::Mutex<BTreeMap<CommunityId, Course>>,
    status: Mutex<BTreeMap<CommunityId, Archived>>,
}

/// How far history may be dropped; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Marks(Option<Arc<Mutex<BTreeMap<CommunityId, Mark>>>>);

/// One community's.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// The last sequence in a durable segment.
    archived: Sequence,
    /// From where on the retention keeps history.
    wanted: Sequence,
}

impl Mark {
    fn keep_from(self) -> Sequence {
        self.wanted.min(self.archived.next())
    }
}

impl Marks {
    /// Those of a node that archives, or that does not.
    pub(crate) fn new(is_archiving: bool) -> Self {
        Self(is_archiving.then(Arc::default))
    }

    /// The retention keeps a community's history from `wanted` on: from where on it is really kept.
    pub(crate) fn keep_from(&self, community: CommunityId, wanted: Sequence) -> Sequence {
        if community == CommunityId::SYSTEM {
            return wanted;
        }
        let Some(marks) = &self.0 else { return wanted };
        let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.entry(community).or_default();
        mark.wanted = mark.wanted.max(wanted);
        mark.keep_from()
    }

    /// A community is archived up to `archived`: from where on its history is kept now.
    fn archived(&self, community: CommunityId, archived: Sequence) -> Sequence {
        let Some(marks) = &self.0 else { return Sequence(0) };
        let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.entry(community).or_default();
        mark.archived = archived;
        mark.keep_from()
    }

    fn forget(&self, community: CommunityId) {
        if let Some(marks) = &self.0 {
            marks.lock().unwrap_or_else(PoisonError::into_inner).remove(&community);
        }
    }
}

impl Archiver {
    pub(crate) fn new(
        options: Option<ArchiveOptions>,
        marks: Marks,
        is_simulated: bool,
    ) -> Result<Self, Fault> {
        let threads = match is_simulated || options.is_none() {
            true => GuestThreads::in_place(),
            false => GuestThreads::pool("archive", 1)?,
        };
        Ok(Self { options, threads, marks, courses: tokio::sync::Mutex::default(), status: Mutex::default() })
    }

    /// How the archive is; none when there is none.
    pub(crate) fn status(&self) -> Option<ArchiveStatus> {
        let options = self.options.as_ref()?;
        Some(ArchiveStatus {
            place: options.place.clone(),
            communities: self.seen().values().cloned().collect(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<CommunityId, Archived>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Archives for as long as the node lives.
pub(crate) async fn run(node: Node) {
    if node.archiver().options.is_none() {
        return;
    }
    loop {
        node.runtime().sleep(LOOK_EVERY).await;
        let here: Vec<Arc<Community>> = node.communities().values().cloned().collect();
        forget_others(&node, &here).await;
        for community in here.iter().filter(|here| here.id() != CommunityId::SYSTEM) {
            node.archive_turn(community).await;
        }
    }
}

/// What is not here any more has no course.
async fn forget_others(node: &Node, here: &[Arc<Community>]) {
    let is_here = |id: &CommunityId| here.iter().any(|community| community.id() == *id);
    let archiver = node.archiver();
    let mut courses = archiver.courses.lock().await;
    let gone: Vec<CommunityId> = courses.keys().filter(|id| !is_here(id)).copied().collect();
    for id in gone {
        courses.remove(&id);
        archiver.seen().remove(&id);
        archiver.marks.forget(id);
    }
}

impl Node {
    /// How this node's archive is; none if it has none.
    #[must_use]
    pub fn archive(&self) -> Option<ArchiveStatus> {
        let mut status = self.archiver().status()?;
        for archived in &mut status.communities {
            let newest = self.hosted(archived.community).map(|here| here.view().sequence());
            archived.lag = newest.unwrap_or_default().0.saturating_sub(archived.archived.0);
        }
        Some(status)
    }

    /// Archives what is due of a community, unless it is to be left alone for a while.
    async fn archive_turn(&self, here: &Arc<Community>) {
        let archiver = self.archiver();
        let Some(options) = &archiver.options else { return };
        let mut courses = archiver.courses.lock().await;
        let course = courses.entry(here.id()).or_insert_with(|| Course::new(self, options, here));
        // A replica that differs, or has stopped, may have executed anything.
        if here.must_run().is_err() || course.rests(self.runtime().monotonic()) {
            return;
        }
        for _ in 0..SEGMENTS_AT_ONCE {
            match course.segment(self, here, &archiver.threads, false).await {
                Ok(false) => break,
                Ok(true) => self.drop_archived(here, course).await,
                Err(trouble) => {
                    course.fail(&trouble, self.runtime().monotonic());
                    break;
                }
            }
        }
        let archived = course.status();
        archiver.seen().insert(here.id(), archived);
    }

    /// Archives the rest of a community whose replica is about to leave this node, as far as that is possible now.
    pub(crate) async fn archive_rest(&self, here: &Arc<Community>) {
        let archiver = self.archiver();
        let Some(options) = &archiver.options else { return };
        if here.id() == CommunityId::SYSTEM || here.must_run().is_err() {
            return;
        }
        let rest = async {
            let mut courses = archiver.courses.lock().await;
            let course = courses.entry(here.id()).or_insert_with(|| Course::new(self, options, here));
            while course.segment(self, here, &archiver.threads, true).await? {}
            Ok(())
        };
        match self.runtime().timeout(REST_PATIENCE, rest).await {
            Some(Ok(())) => {}
            Some(Err::<_, Trouble>(trouble)) => {
                tracing::error!(community = %here.id(), %trouble, "the rest of a community's history is not archived here");
            }
            None => {
                tracing::error!(community = %here.id(), "archiving the rest of a community's history took too long")
            }
        }
    }

    /// What was kept for the archive alone can go now.
    async fn drop_archived(&self, here: &Community, course: &mut Course) {
        let keep_from = self.archiver().marks.archived(here.id(), course.archived());
        if let Err(error) = self.shared().store.archive.prune_history(here.id(), keep_from).await {
            course.fail(&Trouble::store(&error), self.runtime().monotonic());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
