//! Distrust: the replicas of this node that must never run again, because the disk has lost what they had
//! promised (promise P13), or what they would begin with.
//!
//! Remembered before anything is done about it. A replica that is distrusted is not started; this node
//! asks for a fresh one in its place, as `althing member rebuild` would, again and again until it has
//! one; and the distrust ends when nothing knows the old one any more. So it costs the group a voter for
//! a while, and never more.

use crate::{
    community::Hosted,
    directory::{record::CommunityRecord, view::DirectoryView},
    node::Node,
    presence, refuse, snapshots,
};
use althing_core::{
    codec,
    ids::{CommunityId, ReplicaId, Sequence},
    refusal::Refusal,
};
use althing_store::port::{Archive, Store, StoreError, Wal};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The fact under which it is remembered.
pub(crate) const FACT: &str = "distrusted";
/// How often to look whether a fresh replica can be had.
const EVERY: Duration = Duration::from_secs(1);
/// A directory in which nothing happens for so long has lost its quorum, or this node: every node says that
/// it is there more often.
const QUIET: Duration = presence::EVERY.saturating_mul(2);
/// Communities that are asked about at the same time.
const AT_ONCE: usize = 4;
/// Bytes of a log read at a time when it is looked through.
const READ_BYTES: usize = 4 << 20;

/// What this node must not do any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Distrust {
    /// By community, the newest replica that must not run; no earlier one may either.
    pub(crate) replicas: BTreeMap<CommunityId, Distrusted>,
    /// Where the directory here must be before this node does what it says. A fresh replica of the
    /// system community goes through the whole of its past, in which the distrusted ones were right.
    pub(crate) floor: Sequence,
}

/// A replica of this node that must never run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Distrusted {
    pub(crate) replica: ReplicaId,
    /// The community's name.
    pub(crate) name: String,
    /// For people.
    pub(crate) why: String,
}

impl Distrust {
    /// What is remembered.
    ///
    /// # Errors
    /// When the store cannot be read, or the record is damaged: it is not taken for none.
    pub(crate) async fn remembered(archive: &dyn Archive) -> Result<Self, StoreError> {
        let Some(record) = archive.fact(FACT).await? else { return Ok(Self::default()) };
        codec::decode(&record).map_err(|error| StoreError::Damaged {
            what: format!("the record of the replicas that must not run here again: {error}"),
        })
    }

    /// Remembers it; durable on return.
    pub(crate) async fn remember(&self, archive: &dyn Archive) -> Result<(), StoreError> {
        archive.put_fact(FACT, codec::encode(self).into()).await
    }

    /// From now on a replica must not run, nor any before it.
    pub(crate) fn add(&mut self, community: CommunityId, distrusted: Distrusted) {
        let known = self.replicas.entry(community).or_insert_with(|| distrusted.clone());
        if known.replica < distrusted.replica {
            *known = distrusted;
        }
    }

    /// Why a replica must not run, if it must not.
    pub(crate) fn of(&self, community: CommunityId, replica: ReplicaId) -> Option<&Distrusted> {
        self.replicas.get(&community).filter(|distrusted| replica <= distrusted.replica)
    }
}

/// What is damaged in a log, if anything is. Reads all of it.
async fn damage(wal: &dyn Wal, community: CommunityId) -> Option<String> {
    let found = |error| match error {
        StoreError::Damaged { what } => Some(what),
        StoreError::Io { .. } | StoreError::MissingChunk { .. } | StoreError::Closed => None,
    };
    let (mut next, last) = match wal.state(community).await {
        Ok(state) => state.held?,
        Err(error) => return found(error),
    };
    while next <= last {
        match wal.read(community, next..last + 1, READ_BYTES).await {
            Ok(entries) => next = entries.last()?.index + 1,
            Err(error) => return found(error),
        }
    }
    None
}

/// Why a replica cannot begin with what is here, and nobody could give it what it lacks: its log is damaged, or
/// begins behind every snapshot, as when the archive has lost the last ones.
pub(crate) async fn loss(store: &Store, community: CommunityId) -> Option<String> {
    if let Some(damage) = damage(&*store.wal, community).await {
        return Some(format!("its log is damaged ({damage})"));
    }
    let (purged, _) = store.wal.state(community).await.ok()?.purged?;
    let snapshots = snapshots::stored(&*store.archive, community).await.ok()?;
    let is_reached = snapshots.iter().any(|record| record.log_index >= purged);
    let why = || format!("its log begins after entry {purged}, and no snapshot here reaches up to that");
    (!is_reached).then(why)
}

/// A replica that cannot go on because of what it has lost cannot mend itself either: it is distrusted. Says
/// why, if so.
pub(crate) async fn begin_if_lost(node: &Node, hosted: &Hosted) -> Option<String> {
    let (community, replica) = (hosted.community, hosted.replica);
    let why = loss(&node.shared().store, community).await?;
    tracing::error!(%community, %replica, why, "a replica cannot go on: a fresh one is to take its place");
    if let Err(refusal) = node.begin_distrust(hosted, why.clone()).await {
        tracing::error!(%community, %refusal, "a distrust could not be remembered");
    }
    Some(why)
}

/// Asks for fresh replicas as long as there are some to be had. Runs as long as the node.
pub(crate) async fn run(node: Node) {
    let mut looked_at = BTreeSet::new();
    let mut news = (Sequence(0), node.runtime().monotonic());
    loop {
        node.runtime().sleep(EVERY).await;
        let (known, now) = (node.directory().sequence(), node.runtime().monotonic());
        let is_quiet = known == news.0 && now - news.1 > QUIET;
        if known != news.0 || is_quiet {
            news = (known, now);
        }
        notice_replaced(&node, is_quiet).await;
        notice_loss(&node, &mut looked_at).await;
        let distrusted = node.distrust().replicas.clone();
        if distrusted.is_empty() || !node.may_follow_directory() {
            continue;
        }
        futures::stream::iter(distrusted)
            .for_each_concurrent(AT_ONCE, |(community, distrusted)| settle(&node, community, distrusted))
            .await;
    }
}

/// A decision to take this node back may have been made without its hearing of it, and its log be whole
/// after all: then its replica of the system community is out, and whatever it knows grows old. The
/// directory may have said so before; else, where it is `quiet`, others are asked.
async fn notice_replaced(node: &Node, is_quiet: bool) {
    let (system, own) = (node.system(), node.identity().system_replica);
    if system.must_run().is_err() {
        return;
    }
    let record = DirectoryView(&node.directory()).community(CommunityId::SYSTEM);
    let mut is_replaced = record.and_then(|record| record.replica_on(node.id())) > Some(own);
    if !is_replaced && is_quiet {
        let leader = node.leader_status(CommunityId::SYSTEM).await;
        let mut members = leader.into_iter().flat_map(|leader| leader.members);
        is_replaced = members.any(|member| member.node == node.id() && member.replica > own);
    }
    if !is_replaced {
        return;
    }
    let why = format!("replica {own} of the system community was replaced, as this node once asked");
    tracing::error!(why, "this node knows nothing new any more: start it again, and it comes back");
    if let Err(refusal) = node.begin_distrust(&system.hosted, why.clone()).await {
        tracing::error!(%refusal, "a distrust could not be remembered");
    }
    system.set_quarantined(format!("{why}: start the node again, and it comes back"));
}

/// Looks, once for each, at what is stored of replicas that ran and have stopped by a fault.
async fn notice_loss(node: &Node, looked_at: &mut BTreeSet<(CommunityId, ReplicaId)>) {
    let running: Vec<_> = node.communities().values().cloned().collect();
    let stopped = running.iter().filter(|here| !here.is_quarantined() && here.status().fault.is_some());
    for here in stopped {
        if looked_at.insert((here.id(), here.hosted.replica)) {
            begin_if_lost(node, &here.hosted).await;
        }
    }
}

/// Does the next thing about a distrusted replica: ask for a fresh one, or forget it.
async fn settle(node: &Node, community: CommunityId, distrusted: Distrusted) {
    let record = DirectoryView(&node.directory()).community(community);
    let here = record.as_ref().and_then(|record| Some((record, record.replica_on(node.id())?)));
    if community == CommunityId::SYSTEM && node.identity().system_replica <= distrusted.replica {
        // Nothing can be done about it while the node runs.
        return;
    }
    if let Some((record, here)) = here.filter(|(_, here)| *here <= distrusted.replica) {
        return replace(node, record, here, &distrusted).await;
    }
    // While something of it is left here, reconciling has yet to remove that.
    let awaited = node.awaited().get(&community).map(|left| left.hosted.replica);
    let left = awaited.or_else(|| node.hosted(community).map(|left| left.hosted.replica));
    if left.is_none_or(|left| left > distrusted.replica) {
        node.end_distrust(community).await;
    }
}

async fn replace(node: &Node, record: &CommunityRecord, here: ReplicaId, distrusted: &Distrusted) {
    let Distrusted { name, why, .. } = distrusted;
    let others_vote = record.replicas.values().any(|replica| replica.voter && replica.node != node.id());
    let state = if others_vote {
        match node.replace_replica(record.id, node.id(), here).await {
            Ok(fresh) => format!("{why}; replica {fresh} takes its place"),
            Err(refusal) => format!("{why}; not replaced yet: {}", refuse::chain(&refusal)),
        }
    } else {
        let left = newest_snapshot(&*node.shared().store.archive, record.id).await;
        format!(
            "{why}; nobody else votes in {name}, so nobody can bring back what its log held. Still here is {left}: keep \
             the data directory, and restore the community from a backup"
        )
    };
    tell(node, record.id, state);
}

/// Says how it stands with a replica that does not run, where it is new.
fn tell(node: &Node, community: CommunityId, state: String) {
    if let Some(awaited) = node.awaited().get_mut(&community)
        && awaited.failed.as_ref() != Some(&state)
    {
        tracing::warn!(%community, name = awaited.hosted.name, replica = %awaited.hosted.replica, state, "a replica does not run");
        awaited.failed = Some(state);
    }
}

/// In words, what a data directory has of a community apart from its log.
pub(crate) async fn newest_snapshot(archive: &dyn Archive, community: CommunityId) -> String {
    match archive.snapshots(community).await {
        Ok(snapshots) => match snapshots.first() {
            Some(newest) => format!("a snapshot at sequence {}", newest.sequence),
            None => "no snapshot".to_owned(),
        },
        Err(error) => format!("nothing that can be read ({error})"),
    }
}

impl Node {
    /// Why a replica must not be started, if it must not.
    pub(crate) fn is_distrusted(&self, community: CommunityId, replica: ReplicaId) -> Option<String> {
        self.distrust().of(community, replica).map(|distrusted| distrusted.why.clone())
    }

    /// Whether the directory here is as new as this node has known it: below that it hosts, leaves and
    /// changes nothing.
    pub(crate) fn may_follow_directory(&self) -> bool {
        let floor = self.distrust().floor;
        self.directory().sequence() >= floor
    }

    /// A replica of this node turns out to have lost what it promised.
    pub(crate) async fn begin_distrust(&self, hosted: &Hosted, why: String) -> Result<(), Refusal> {
        let distrusted = Distrusted { replica: hosted.replica, name: hosted.name.clone(), why };
        self.change_distrust(|distrust| distrust.add(hosted.community, distrusted)).await
    }

    /// Nothing is left of what was distrusted, neither here nor in the directory as it is here now.
    pub(crate) async fn end_distrust(&self, community: CommunityId) {
        if !self.distrust().replicas.contains_key(&community) {
            return;
        }
        let known = self.directory().sequence();
        let ended = self.change_distrust(|distrust| {
            distrust.replicas.remove(&community);
            // After a restart an older directory must not bring it back.
            distrust.floor = distrust.floor.max(known);
        });
        match ended.await {
            Ok(()) => tracing::info!(%community, "nothing is left of a replica that must not run"),
            // It is remembered as before, which does no harm.
            Err(refusal) => {
                tracing::error!(%community, %refusal, "the end of a distrust could not be remembered")
            }
        }
    }

    async fn change_distrust(&self, change: impl FnOnce(&mut Distrust)) -> Result<(), Refusal> {
        let changed = {
            let mut distrust = self.distrust();
            change(&mut distrust);
            distrust.clone()
        };
        changed.remember(&*self.shared().store.archive).await.map_err(|error| refuse::store(&error))
    }
}

#[cfg(test)]
mod tests;
