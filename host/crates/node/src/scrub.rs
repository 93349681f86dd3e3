//! The scrub: reads what this node stores again, slowly and for ever, and hashes it, so that damage is
//! found while there is still something to mend it with.
//!
//! A damaged chunk is condemned and fetched from a peer. If none has it, a fresh snapshot is cut of the
//! state in memory, which puts everything in place that the state still holds; older snapshots that are
//! damaged go then, unless they are pinned. A damaged component is fetched from a peer. Damaged history is
//! told of: the transitions are with the other replicas. So is what the store cannot read at all, for what it
//! cannot read it cannot replace: it is passed by, in every round. The log is not read here: its hash chain is
//! checked whenever it is opened or read.

use crate::{
    community::Community,
    node::Node,
    refuse,
    reread::{Reread, reread},
    snapshots,
};
use althing_core::{
    ids::{CommunityId, Hash, NodeId, Sequence},
    snapshot::Manifest,
};
use althing_store::port::{Archive, StoreError};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Bytes read and hashed in a second: little beside what a slow disk reads, a few thousandths of a core, and
/// still 360 GB a day.
const BYTES_PER_SECOND: u64 = 4 << 20;
/// Between two rounds: what is small need not be read again and again.
const ROUND_PAUSE: Duration = Duration::from_secs(600);
/// Before the first round: whoever starts has other things to read.
const START_PAUSE: Duration = Duration::from_secs(1);
/// How soon after a vain attempt peers are asked again for the same chunks.
const MEND_PAUSE: Duration = Duration::from_secs(60);
/// How often to look whether a fresh snapshot is there, and how many times.
const CUT_PAUSE: Duration = Duration::from_secs(1);
const CUT_LOOKS: u32 = 60;
/// Names of chunks read at a time.
const PAGE: u32 = 64;
/// Damaged chunks looked after at a time.
const CONDEMNED_MAX: u32 = 4096;
/// Bytes of history read at a time.
const HISTORY_BYTES: usize = 1 << 20;
/// So much is read before there is a pause, at the speed above.
const READ_AT_ONCE: u64 = 128 << 10;

/// What the scrub of a node has done since the node started, and what it cannot mend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// How often everything was read.
    pub rounds: u64,
    /// Bytes hashed.
    pub bytes: u64,
    /// Chunks, components, manifests and runs of history that were found damaged or could not be read, each
    /// time they were.
    pub found: u64,
    /// Chunks and components that are whole again.
    pub mended: u64,
    /// Chunks that are damaged now and that nobody has.
    pub damaged: u64,
}

/// What others know of the scrub, and how they hurry it.
#[derive(Default)]
pub(crate) struct Scrub {
    status: Mutex<ScrubStatus>,
    now: Notify,
}

impl Scrub {
    pub(crate) fn status(&self) -> ScrubStatus {
        *self.lock()
    }

    /// Somebody has found damage: it is looked after at once.
    pub(crate) fn hurry(&self) {
        self.now.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, ScrubStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scrubs for as long as the node lives.
pub(crate) async fn run(node: Node) {
    node.runtime().sleep(START_PAUSE).await;
    let archive = node.shared().store.archive.clone();
    let mut scrubber = Scrubber {
        node: node.clone(),
        archive,
        owed: 0,
        vain: BTreeSet::new(),
        tried: Duration::ZERO,
        renewed: BTreeSet::new(),
    };
    loop {
        match scrubber.round().await {
            Ok(()) => node.scrub().lock().rounds += 1,
            Err(_closed) => return,
        }
        scrubber.pause().await;
    }
}

struct Scrubber {
    node: Node,
    archive: Arc<dyn Archive>,
    /// Bytes read since the last pause.
    owed: u64,
    /// Chunks that nobody had, and when that was.
    vain: BTreeSet<Hash>,
    tried: Duration,
    /// Damaged snapshots that a fresh one did not help.
    renewed: BTreeSet<(CommunityId, Sequence)>,
}

impl Scrubber {
    /// Waits until it is time for the next round. Meanwhile it mends: at once when somebody has found damage,
    /// now and then while there is some left, for peers come back.
    async fn pause(&mut self) {
        let runtime = self.node.runtime().clone();
        let began = runtime.monotonic();
        loop {
            let left = ROUND_PAUSE.saturating_sub(runtime.monotonic() - began);
            if left.is_zero() {
                return;
            }
            let patience = if self.vain.is_empty() { left } else { left.min(MEND_PAUSE) };
            // Hurried or not, it looks.
            let _ = runtime.timeout(patience, self.node.scrub().now.notified()).await;
            if let Err(error) = self.mend().await {
                tracing::warn!(error = refuse::chain(&error), "what is damaged could not be mended");
            }
        }
    }

    /// Reads everything once. What cannot be read is told of and counted, and the rest is read all the same.
    ///
    /// # Errors
    /// [`StoreError::Closed`], and no other.
    async fn round(&mut self) -> Result<(), StoreError> {
        let mended = self.mend().await;
        self.passed("mending", mended)?;
        let chunks = self.chunks().await;
        self.passed("chunk", chunks)?;
        let components = self.components().await;
        self.passed("component", components)?;
        for community in self.communities() {
            let manifests = self.manifests(community).await;
            self.passed("manifest", manifests)?;
            let history = self.history(community).await;
            self.passed("history", history)?;
        }
        let mended = self.mend().await;
        self.passed("mending", mended)
    }

    /// Counts an error with which a part of the round has ended, and goes on to the next, unless it is the
    /// store that has ended.
    fn passed(&self, kind: &'static str, done: Result<(), StoreError>) -> Result<(), StoreError> {
        match done {
            Err(error) if !matches!(error, StoreError::Closed) => {
                self.found(kind, &refuse::chain(&error));
                Ok(())
            }
            done => done,
        }
    }

    /// Every community that has something here.
    fn communities(&self) -> BTreeSet<CommunityId> {
        self.node.communities().keys().chain(self.node.awaited().keys()).copied().collect()
    }

    async fn chunks(&mut self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.archive.stored_chunks(after, PAGE).await?;
            let Some(&last) = page.last() else { return Ok(()) };
            after = Some(last);
            let mut damaged = Vec::new();
            for hash in page {
                let bytes = match reread(&*self.archive, hash).await? {
                    // It was collected meanwhile, and is not missed.
                    Reread::Missing => continue,
                    Reread::Sound(bytes) => bytes,
                    Reread::Damaged(bytes) => {
                        self.found("chunk", &hash);
                        damaged.push(hash);
                        bytes
                    }
                    Reread::Unreadable(error) => {
                        self.found("chunk", &format_args!("{hash}: {}", refuse::chain(&error)));
                        continue;
                    }
                };
                self.read(bytes).await;
            }
            if !damaged.is_empty() {
                self.archive.condemn_chunks(damaged).await?;
                let mended = self.mend().await;
                self.passed("mending", mended)?;
            }
        }
    }

    async fn components(&mut self) -> Result<(), StoreError> {
        for record in self.archive.components().await? {
            let bytes = match self.archive.component(record.hash).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error) => {
                    self.found("component", &format_args!("{}: {}", record.hash, refuse::chain(&error)));
                    continue;
                }
            };
            if Hash::of_component(&bytes) != record.hash {
                self.found("component", &record.hash);
                let sources = self.sources(&BTreeSet::from([CommunityId::SYSTEM]));
                match self.node.components().mend(record.hash, &sources).await {
                    Ok(()) => {
                        self.node.scrub().lock().mended += 1;
                        tracing::warn!(component = %record.hash, "a component that was damaged is whole again");
                    }
                    Err(refusal) => {
                        tracing::error!(component = %record.hash, %refusal, "a damaged component is not mended");
                    }
                }
            }
            self.read(bytes.len() as u64).await;
        }
        Ok(())
    }

    async fn manifests(&mut self, community: CommunityId) -> Result<(), StoreError> {
        let records = self.archive.snapshots(community).await?;
        let mut is_damaged = false;
        for record in records {
            if Manifest::decode(&record.manifest).is_err() || snapshots::is_another(&record, community) {
                self.found("manifest", &format_args!("{} of community {community}", record.sequence));
                is_damaged = true;
            }
            self.read(record.manifest.len() as u64).await;
        }
        match is_damaged {
            true => self.renew(community).await,
            false => Ok(()),
        }
    }

    /// The archive checks what it reads.
    async fn history(&mut self, community: CommunityId) -> Result<(), StoreError> {
        let mut from = Sequence(0);
        loop {
            let records = match self.archive.history(community, from, HISTORY_BYTES).await {
                Ok(records) => records,
                Err(StoreError::Damaged { what }) => {
                    self.found("history", &what);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            let Some(last) = records.last() else { return Ok(()) };
            from = last.last.next();
            self.read(records.iter().map(|record| record.body.len() as u64).sum()).await;
        }
    }

    /// Fetches what is damaged from peers; where they do not help, from the state in memory.
    async fn mend(&mut self) -> Result<(), StoreError> {
        let condemned = self.archive.condemned_chunks(CONDEMNED_MAX).await?;
        let now = self.node.runtime().monotonic();
        let is_late = now - self.tried >= MEND_PAUSE;
        if condemned.iter().any(|hash| is_late || !self.vain.contains(hash)) {
            self.tried = now;
            let wounded = self.wounded().await?;
            let sources = self.sources(&wounded);
            let mender = &self.node.shared().mender;
            let left = mender.mend(CommunityId::SYSTEM, condemned.clone(), &sources).await?;
            if !left.is_empty() {
                for community in wounded {
                    self.renew(community).await?;
                }
            }
        }
        let left = self.archive.condemned_chunks(CONDEMNED_MAX).await?;
        let mut mended = 0;
        for &hash in condemned.iter().filter(|hash| !left.contains(hash)) {
            // Some may have gone with the last snapshot that named them.
            mended += u64::from(self.archive.chunk(hash).await?.is_some());
        }
        let mut status = self.node.scrub().lock();
        status.mended += mended;
        status.damaged = left.len() as u64;
        self.vain = left.into_iter().collect();
        Ok(())
    }

    /// The communities whose snapshots lack something.
    async fn wounded(&self) -> Result<BTreeSet<CommunityId>, StoreError> {
        let mut wounded = BTreeSet::new();
        for community in self.communities() {
            if !self.archive.damaged_snapshots(community).await?.is_empty() {
                wounded.insert(community);
            }
        }
        Ok(wounded)
    }

    /// Who may have what these communities' replicas have.
    fn sources(&self, communities: &BTreeSet<CommunityId>) -> Vec<NodeId> {
        let mut sources = Vec::new();
        for node in communities.iter().flat_map(|&community| self.node.sources(community)) {
            if node != self.node.id() && !sources.contains(&node) {
                sources.push(node);
            }
        }
        sources
    }

    /// Cuts a fresh snapshot of a community, unless the newest is whole and of the state as it is, and then
    /// drops those that are damaged; the pinned ones stay. A replica that does not run is left as it is.
    async fn renew(&mut self, community: CommunityId) -> Result<(), StoreError> {
        let pinned = self.archive.pinned_snapshots(community).await?;
        let damaged = self.damaged(community).await?;
        let is_news = |sequence: &Sequence| {
            !pinned.contains_key(sequence) || !self.renewed.contains(&(community, *sequence))
        };
        if !damaged.iter().any(is_news) {
            return Ok(());
        }
        let Some(here) = self.node.hosted(community).filter(|here| here.must_run().is_ok()) else {
            return Ok(());
        };
        if !self.is_cut(&here).await? {
            tracing::error!(%community, "a fresh snapshot in place of a damaged one could not be cut yet");
            return Ok(());
        }
        let damaged = self.damaged(community).await?;
        let dropped = self.archive.drop_snapshots(community, damaged.iter().copied().collect()).await?;
        for sequence in dropped {
            tracing::error!(%community, %sequence, "a damaged snapshot is dropped: nobody has what it lacks, and a newer one is whole");
        }
        self.renewed.extend(damaged.into_iter().map(|sequence| (community, sequence)));
        Ok(())
    }

    /// The snapshots of a community that lack chunks, or whose manifest cannot be read.
    async fn damaged(&self, community: CommunityId) -> Result<BTreeSet<Sequence>, StoreError> {
        let lacking = self.archive.damaged_snapshots(community).await?.into_keys();
        let records = self.archive.snapshots(community).await?;
        let unreadable = records.iter().filter(|record| Manifest::decode(&record.manifest).is_err());
        Ok(lacking.chain(unreadable.map(|record| record.sequence)).collect())
    }

    /// Whether there is a whole snapshot of the state as it is now, or a later one; one is cut if need be.
    async fn is_cut(&self, here: &Community) -> Result<bool, StoreError> {
        let wanted = here.view().sequence();
        for _ in 0..CUT_LOOKS {
            let newest = snapshots::newest(&*self.archive, here.id()).await?;
            if newest.is_some_and(|(record, _)| record.sequence >= wanted) {
                return Ok(true);
            }
            // One that is being cut may be of an earlier state.
            if here.group.snapshot().await.is_err() {
                return Ok(false);
            }
            self.node.runtime().sleep(CUT_PAUSE).await;
        }
        Ok(false)
    }

    fn found(&self, kind: &'static str, which: &dyn std::fmt::Display) {
        self.node.scrub().lock().found += 1;
        metrics::counter!("althing_scrub_damage_total", "kind" => kind).increment(1);
        tracing::error!(kind, %which, "what is stored is not what was written");
    }

    /// Counts what was read, and waits as long as it may take.
    async fn read(&mut self, bytes: u64) {
        self.node.scrub().lock().bytes += bytes;
        metrics::counter!("althing_scrub_bytes_total").increment(bytes);
        self.owed += bytes;
        if self.owed >= READ_AT_ONCE {
            let micros = self.owed * 1_000_000 / BYTES_PER_SECOND;
            self.owed = 0;
            self.node.runtime().sleep(Duration::from_micros(micros)).await;
        }
    }
}

#[cfg(test)]
mod tests;
