//! The one task that writes the log: drain, one transaction, one fsync, then the mark, then tell.
//!
//! Whatever all groups have ready while the disk is busy shares the next fsync; that is the whole
//! group commit. A group's entries of one drain become one row (or a few, if they are large),
//! because a row per entry is six times slower. The first error ends it: see [`Health`].

use super::{
    super::{
        database::{id_to_sql, position_from_sql, position_to_sql},
        directory::Directory,
        health::Health,
        mark::Progress,
    },
    Shared,
    mark::Marker,
    plan::{AllRecords, Command, GroupPlan, Plan},
    script::{Script, Segment},
    segment,
};
use crate::port::{StoreError, WalEntry};
use althing_core::ids::{CommunityId, Hash};
use bytes::Bytes;
use sqlx::{Connection as _, SqliteConnection};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::mpsc;

/// Commands in one transaction.
pub(super) const DRAIN_MAX: usize = 4096;
/// A segment is closed when it has this many bytes, so that reading a part is not reading a lot.
const SEGMENT_BYTES: usize = 1 << 20;

/// The writer of the log.
pub(super) struct Writer {
    pub(super) connection: SqliteConnection,
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) records: AllRecords,
    /// The hash of each log's last segment.
    pub(super) tips: BTreeMap<CommunityId, Hash>,
    /// The last change.
    pub(super) progress: Progress,
    pub(super) marker: Marker,
    pub(super) shared: Arc<Shared>,
    pub(super) health: Health,
    pub(super) directory: Arc<Directory>,
}

impl Writer {
    /// Writes until every handle has gone, or the first error.
    pub(super) async fn run(mut self) {
        let mut drained = Vec::new();
        while self.queue.recv_many(&mut drained, DRAIN_MAX).await > 0 {
            let plan = Plan::of(drained.drain(..), &mut self.records);
            if plan.needs_commit {
                let with_records = self.records.are_due();
                if let Err(error) = self.write(&plan.groups, with_records).await {
                    return self.fail(&error, plan).await;
                }
            }
            self.tell(plan).await;
        }
        match self.finish().await {
            Ok(()) => self.close().await,
            Err(error) => self.fail(&error, Plan::default()).await,
        }
    }

    /// Writes a drain's changes, and the records if they are to go along, in one transaction.
    async fn write(
        &mut self,
        groups: &BTreeMap<CommunityId, GroupPlan>,
        with_records: bool,
    ) -> Result<(), StoreError> {
        // A mark that failed has failed the log.
        self.health.check()?;
        let mut script = Script::default();
        let mut segments = Vec::new();
        for (group, plan) in groups {
            let left = self.left_of_a_cut(*group, plan).await?;
            script.cut(*group, plan);
            for entries in [&left, &plan.entries] {
                self.chain(*group, entries, &mut segments);
            }
        }
        if with_records {
            script.save_records(&self.records);
        }
        // Segments alone number themselves, so that the usual drain is one statement.
        let is_more = !script.is_empty() || segments.is_empty();
        script.insert(segments);
        if is_more {
            self.progress = self.progress.next();
            script.save_progress(self.progress);
        }
        script.run(&mut self.connection).await?;
        if with_records {
            self.records.wrote();
        }
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Puts entries at the end of a group's chain, as segments.
    fn chain(&mut self, group: CommunityId, entries: &[WalEntry], segments: &mut Vec<Segment>) {
        let tip = self.tips.entry(group).or_default();
        for run in runs(entries) {
            let (first, last) = (run[0].index, run[0].index + run.len() as u64 - 1);
            let (body, hash) = segment::encode(group, *tip, run);
            *tip = hash;
            self.progress = Progress { number: self.progress.number + 1, hash };
            segments.push(Segment { number: self.progress.number, group, first, last, body });
        }
    }

    /// Takes the end of a group's chain back to before a plan's cut; what is left of the segment that has
    /// entries on both sides of it. Nobody else writes, so it is read before the transaction.
    async fn left_of_a_cut(
        &mut self,
        group: CommunityId,
        plan: &GroupPlan,
    ) -> Result<Vec<WalEntry>, StoreError> {
        if plan.remove {
            self.tips.remove(&group);
            return Ok(Vec::new());
        }
        let Some(from) = plan.truncate_from else { return Ok(Vec::new()) };
        let (tip, mut left) = before(&mut self.connection, group, from).await?;
        left.retain(|_| plan.purge_upto.is_none_or(|upto| upto + 1 < from));
        self.tips.insert(group, tip);
        Ok(left)
    }

    /// Has a drain marked, and whoever waits for it told.
    async fn tell(&self, plan: Plan) {
        {
            let mut logs = self.shared.logs();
            for (group, plan) in &plan.groups {
                logs.wrote(*group, plan.epoch, &plan.entries);
            }
        }
        if plan.needs_commit {
            self.marker.mark(self.progress, plan.waiters).await;
        }
    }

    /// Writes the committed records that wait.
    async fn finish(&mut self) -> Result<(), StoreError> {
        if !self.records.unwritten.is_empty() {
            self.write(&BTreeMap::new(), true).await?;
            self.marker.mark(self.progress, Vec::new()).await;
        }
        Ok(())
    }

    /// Closes the file; as its last connection this makes a checkpoint.
    async fn close(self) {
        self.marker.finish().await;
        if let Err(error) = self.connection.close().await {
            // What was promised is durable in SQLite's own WAL, which the next start takes up.
            tracing::warn!(%error, "wal.db was not closed cleanly");
        }
        drop(self.directory);
    }

    /// Tells everybody, now and later.
    async fn fail(mut self, error: &StoreError, plan: Plan) {
        self.health.fail(error);
        let refuse = |plan: Plan| {
            plan.waiters.into_iter().for_each(|waiter| waiter.tell(Err(self.health.refusal())));
        };
        refuse(plan);
        self.queue.close();
        while let Some(command) = self.queue.recv().await {
            command.waiter.tell(Err(self.health.refusal()));
        }
        // Closing would make a checkpoint, that is, write on where a write has failed. The directory
        // stays locked with it until the process ends.
        std::mem::forget((self.connection, self.directory));
    }
}

/// The runs of entries that become a segment each.
fn runs(mut entries: &[WalEntry]) -> Vec<&[WalEntry]> {
    let mut runs = Vec::new();
    while !entries.is_empty() {
        let mut bytes = 0;
        let full = entries.iter().position(|entry| {
            bytes += entry.body.len();
            bytes >= SEGMENT_BYTES
        });
        let (run, rest) = entries.split_at(full.map_or(entries.len(), |at| at + 1));
        runs.push(run);
        entries = rest;
    }
    runs
}

/// The end of a group's chain before `from`: the hash that what is written there next follows, and the
/// entries to be written again because their segment goes on beyond it.
async fn before(
    connection: &mut SqliteConnection,
    group: CommunityId,
    from: u64,
) -> Result<(Hash, Vec<WalEntry>), StoreError> {
    let sql = "SELECT first, last, body FROM segments WHERE community = ? AND first < ? \
               ORDER BY last DESC LIMIT 1";
    let row: Option<(i64, i64, Vec<u8>)> = sqlx::query_as(sql)
        .bind(id_to_sql(group))
        .bind(position_to_sql(from))
        .fetch_optional(connection)
        .await
        .map_err(|source| StoreError::Io {
            what: format!("entries of group {group} cannot be read from wal.db"),
            source: Box::new(source),
        })?;
    let Some((first, last, body)) = row else { return Ok((Hash::default(), Vec::new())) };
    let (first, last) = (position_from_sql(first), position_from_sql(last));
    let link = segment::link(&body);
    let mut entries = segment::decode(group, first, last, Bytes::from(body))?;
    let link = link.expect("it was decoded");
    if last < from {
        return Ok((link.hash, Vec::new()));
    }
    entries.retain(|entry| entry.index < from);
    Ok((link.before, entries))
}
