//! What a replica begins with after a restart: the newest snapshot, or, where that is damaged, something
//! from which its own log leads to the same state.
//!
//! In this order: the newest snapshot that is whole and that the log reaches down to; the empty state, if
//! the log is held from its first entry on; the newest snapshot once more, with what it lacks fetched from
//! peers. Its own disk comes first because it asks nobody: a replica whose peers are away, or wait for it,
//! starts all the same. What cannot be had any of these ways is a fault that says so, and the replica has
//! to be rebuilt.

use crate::{
    community::{Hosted, Shared},
    execute::Sources,
    refuse,
    snapshots::{NotRestored, restore, storage, stored},
};
use althing_consensus::port::AppliedState;
use althing_core::{ids::CommunityId, machine::Machine, program::Fault, snapshot::Manifest};
use althing_store::port::SnapshotRecord;
use std::time::Duration;

/// How long peers are asked for what a replica cannot start without: they may be starting too.
const MEND_PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before all are asked again.
const MEND_PAUSE: Duration = Duration::from_millis(500);

/// A replica that is to start.
struct Start<'a> {
    shared: &'a Shared,
    id: CommunityId,
    sources: &'a Sources,
    /// Newest first.
    records: Vec<SnapshotRecord>,
    /// The last log entry that is held no more; none: all of the log is held.
    purged: Option<u64>,
}

/// The state that a replica on this node begins with: the one it was founded with, if nothing is stored.
///
/// # Errors
/// A fault when storage fails, or nothing that is stored leads to the state, even with the help of peers;
/// it says what is damaged.
pub(crate) async fn begin(
    shared: &Shared,
    hosted: &Hosted,
    sources: &Sources,
) -> Result<(Machine, AppliedState), Fault> {
    let id = hosted.community;
    let founding = || (Machine::new(id, hosted.founding_policy.clone()), AppliedState::default());
    let records = stored(&*shared.store.archive, id).await.map_err(|error| storage("snapshots", error))?;
    let log = shared.store.wal.state(id).await.map_err(|error| storage("the log", error))?;
    let purged = log.purged.map(|(index, _)| index);
    let start = Start { shared, id, sources, records, purged };
    let damage = match start.on_disk().await? {
        Found::State(state) => return Ok(*state),
        Found::Nothing => {
            return match purged {
                None => Ok(founding()),
                Some(index) => Err(Fault::new(format!(
                    "no snapshot of the community is here, and its log begins behind entry {index}: {REBUILD}"
                ))),
            };
        }
        Found::Damage(damage) => damage,
    };
    if purged.is_none() {
        tracing::error!(community = %id, "no snapshot is whole: the whole log is executed again instead");
        return Ok(founding());
    }
    start.with_peers(damage).await
}

/// What helps when nothing here does.
const REBUILD: &str = "rebuild the replica from the others with `althing member rebuild`";

/// What is on the disk of a replica that is to start.
enum Found {
    State(Box<(Machine, AppliedState)>),
    Nothing,
    /// Nothing that can be used, and what is wrong with the newest snapshot.
    Damage(Fault),
}

impl Start<'_> {
    /// The newest snapshot that is whole and that the log reaches down to.
    async fn on_disk(&self) -> Result<Found, Fault> {
        let mut damage = None;
        for record in &self.records {
            if !self.is_reached(record) {
                break;
            }
            match self.restore(record).await {
                Ok(state) => {
                    if damage.is_some() {
                        tracing::warn!(community = %self.id, sequence = %record.sequence, "fell back to an older snapshot: the log behind it is executed again");
                    }
                    return Ok(Found::State(Box::new(state)));
                }
                Err(NotRestored::Refused(fault)) => return Err(fault),
                Err(NotRestored::Damaged(fault)) => {
                    tracing::error!(community = %self.id, sequence = %record.sequence, fault = refuse::chain(&fault), "a snapshot is damaged");
                    metrics::counter!("althing_snapshots_damaged_total").increment(1);
                    damage.get_or_insert(fault);
                }
            }
        }
        let unreached = || Fault::new("the log begins behind every snapshot that is here");
        Ok(match (damage, self.records.is_empty()) {
            (Some(damage), _) => Found::Damage(damage),
            (None, false) => Found::Damage(unreached()),
            (None, true) => Found::Nothing,
        })
    }

    /// Whether the log holds every entry behind a snapshot.
    fn is_reached(&self, record: &SnapshotRecord) -> bool {
        self.purged.is_none_or(|purged| record.log_index >= purged)
    }

    async fn restore(&self, record: &SnapshotRecord) -> Result<(Machine, AppliedState), NotRestored> {
        let engine = self.shared.components.engine().fingerprint();
        restore(&*self.shared.store.archive, &record.manifest, engine).await
    }

    /// A snapshot that the log reaches down to, with the chunks that it lacks from peers.
    async fn with_peers(&self, damage: Fault) -> Result<(Machine, AppliedState), Fault> {
        let runtime = &self.shared.runtime;
        let began = runtime.monotonic();
        tracing::warn!(community = %self.id, "no snapshot can be used: peers are asked for what is damaged");
        loop {
            for record in self.records.iter().filter(|record| self.is_reached(record)) {
                if !self.complete(record, began).await? {
                    continue;
                }
                match self.restore(record).await {
                    Ok(state) => {
                        tracing::warn!(community = %self.id, sequence = %record.sequence, "the snapshot is whole again, with chunks from peers");
                        return Ok(state);
                    }
                    Err(NotRestored::Refused(fault)) => return Err(fault),
                    Err(NotRestored::Damaged(fault)) => {
                        tracing::error!(community = %self.id, fault = refuse::chain(&fault), "a mended snapshot is damaged");
                    }
                }
            }
            if runtime.monotonic() - began >= MEND_PATIENCE {
                let what = format!(
                    "no snapshot of the community can be used, its log begins behind entry {}, and no peer has \
                     what is damaged: {REBUILD}",
                    self.purged.unwrap_or_default()
                );
                return Err(Fault::because(what, damage));
            }
            runtime.sleep(MEND_PAUSE).await;
        }
    }

    /// Fetches what a snapshot lacks, as long as patience lasts; whether it lacks nothing now.
    async fn complete(&self, record: &SnapshotRecord, began: Duration) -> Result<bool, Fault> {
        let Shared { runtime, mender, .. } = self.shared;
        let Ok(manifest) = Manifest::decode(&record.manifest) else { return Ok(false) };
        let left = MEND_PATIENCE.saturating_sub(runtime.monotonic() - began);
        let sources = (self.sources)();
        match runtime.timeout(left, mender.complete(&manifest, &sources)).await {
            None => Ok(false),
            Some(completed) => completed.map_err(|error| storage("chunks", error)),
        }
    }
}
