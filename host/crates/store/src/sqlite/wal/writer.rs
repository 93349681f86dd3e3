//! The one task that writes the log: drain, one transaction, one fsync, then tell.
//!
//! Whatever all groups have ready while the disk is busy shares the next fsync; that is the whole
//! group commit. A group's entries of one drain become one row (or a few, if they are large),
//! because a row per entry is six times slower. The first error ends it: see [`Health`].

use super::{
    super::{
        database::{id_to_sql, position_to_sql, rows_sql},
        directory::Directory,
        health::Health,
    },
    Shared,
    plan::{AllRecords, Command, GroupPlan, Plan},
    segment,
};
use crate::port::{StoreError, WalEntry};
use althing_core::ids::CommunityId;
use bytes::Bytes;
use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, Encode, Sqlite, SqliteConnection, Type,
    sqlite::SqliteArguments,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::mpsc;

/// Commands in one transaction.
pub(super) const DRAIN_MAX: usize = 4096;
/// A segment is closed when it has this many bytes, so that reading a part is not reading a lot.
const SEGMENT_BYTES: usize = 1 << 20;
/// Rows in one statement.
const ROWS_MAX: usize = 32;

/// The writer of the log.
pub(super) struct Writer {
    pub(super) connection: SqliteConnection,
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) records: AllRecords,
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
            self.tell(plan);
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
        let mut segments = Vec::new();
        for (group, plan) in groups {
            segments.extend(self.left_of_a_cut(*group, plan).await?);
            segments.extend(Segment::of(*group, &plan.entries));
        }
        let mut script = Script::default();
        for (group, plan) in groups {
            script.cut(*group, plan);
        }
        script.insert(segments);
        if with_records {
            script.save_records(&self.records);
        }
        script.run(&mut self.connection).await?;
        if with_records {
            self.records.wrote();
        }
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// What a plan's truncation leaves of the segment that has entries on both sides of it. Nobody else
    /// writes, so it is read before the transaction.
    async fn left_of_a_cut(
        &mut self,
        group: CommunityId,
        plan: &GroupPlan,
    ) -> Result<Vec<Segment>, StoreError> {
        let Some(from) = plan.truncate_from.filter(|_| !plan.remove) else { return Ok(Vec::new()) };
        let mut left = straddling(&mut self.connection, group, from).await?;
        left.retain(|segment| plan.purge_upto.is_none_or(|upto| segment.last > upto));
        Ok(left)
    }

    fn tell(&self, plan: Plan) {
        {
            let mut logs = self.shared.logs();
            for (group, plan) in &plan.groups {
                logs.wrote(*group, plan.epoch, &plan.entries);
            }
        }
        plan.waiters.into_iter().for_each(|waiter| waiter.tell(Ok(())));
    }

    /// Writes the committed records that wait.
    async fn finish(&mut self) -> Result<(), StoreError> {
        if self.records.unwritten.is_empty() { Ok(()) } else { self.write(&BTreeMap::new(), true).await }
    }

    /// Closes the file; as its last connection this makes a checkpoint.
    async fn close(self) {
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

/// A row of `segments`.
struct Segment {
    group: CommunityId,
    first: u64,
    last: u64,
    body: Vec<u8>,
}

impl Segment {
    /// The rows that entries become.
    fn of(group: CommunityId, mut entries: &[WalEntry]) -> Vec<Self> {
        let mut segments = Vec::new();
        while let (Some(first), false) = (entries.first(), entries.is_empty()) {
            let mut bytes = 0;
            let full = entries.iter().position(|entry| {
                bytes += entry.body.len();
                bytes >= SEGMENT_BYTES
            });
            let (run, rest) = entries.split_at(full.map_or(entries.len(), |at| at + 1));
            let (first, last) = (first.index, first.index + run.len() as u64 - 1);
            segments.push(Self { group, first, last, body: segment::encode(group, run) });
            entries = rest;
        }
        segments
    }
}

/// The part before `from` of the segment that has entries on both sides of it.
async fn straddling(
    connection: &mut SqliteConnection,
    group: CommunityId,
    from: u64,
) -> Result<Vec<Segment>, StoreError> {
    let sql = "SELECT first, last, body FROM segments WHERE community = ? AND last >= ? AND first < ?";
    let row: Option<(i64, i64, Vec<u8>)> = sqlx::query_as(sql)
        .bind(id_to_sql(group))
        .bind(position_to_sql(from))
        .bind(position_to_sql(from))
        .fetch_optional(connection)
        .await
        .map_err(|source| StoreError::Io {
            what: format!("entries of group {group} cannot be read from wal.db"),
            source: Box::new(source),
        })?;
    let Some((first, last, body)) = row else { return Ok(Vec::new()) };
    let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
    let mut entries = segment::decode(group, first, last, Bytes::from(body))?;
    entries.retain(|entry| entry.index < from);
    Ok(Segment::of(group, &entries))
}

/// Statements that run as one transaction, and the values of their parameters in order. SQLite's
/// thread is asked once for all of them, since every statement that it is asked for costs two hops.
#[derive(Default)]
struct Script {
    statements: Vec<String>,
    values: SqliteArguments,
}

impl Script {
    fn add(&mut self, statement: impl Into<String>) {
        self.statements.push(statement.into());
    }

    fn bind<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) {
        self.values.add(value).expect("numbers and bytes are always encoded");
    }

    /// Removes what a plan removes from the file.
    fn cut(&mut self, group: CommunityId, plan: &GroupPlan) {
        if plan.remove {
            for statement in
                ["DELETE FROM segments WHERE community = ?", "DELETE FROM groups WHERE community = ?"]
            {
                self.add(statement);
                self.bind(id_to_sql(group));
            }
        }
        let ends = [
            ("DELETE FROM segments WHERE community = ? AND last >= ?", plan.truncate_from),
            ("DELETE FROM segments WHERE community = ? AND last <= ?", plan.purge_upto),
        ];
        for (statement, end) in ends {
            if let Some(end) = end {
                self.add(statement);
                self.bind(id_to_sql(group));
                self.bind(position_to_sql(end));
            }
        }
    }

    fn insert(&mut self, mut segments: Vec<Segment>) {
        while !segments.is_empty() {
            let rows: Vec<Segment> = segments.drain(..segments.len().min(ROWS_MAX)).collect();
            let head = "INSERT INTO segments (community, first, last, body) VALUES";
            self.add(rows_sql(head, "(?, ?, ?, ?)", rows.len()));
            for Segment { group, first, last, body } in rows {
                self.bind(id_to_sql(group));
                self.bind(position_to_sql(first));
                self.bind(position_to_sql(last));
                self.bind(body);
            }
        }
    }

    fn save_records(&mut self, records: &AllRecords) {
        let unwritten: Vec<CommunityId> = records.unwritten.iter().copied().collect();
        for groups in unwritten.chunks(ROWS_MAX) {
            let head =
                "INSERT OR REPLACE INTO groups (community, vote, committed, purged, purged_record) VALUES";
            self.add(rows_sql(head, "(?, ?, ?, ?, ?)", groups.len()));
            for group in groups {
                let records = records.groups.get(group).cloned().unwrap_or_default();
                let (purged, purged_record) = records.purged.unzip();
                self.bind(id_to_sql(*group));
                self.bind(records.vote.map(Vec::from));
                self.bind(records.committed.map(Vec::from));
                self.bind(purged.map(position_to_sql));
                self.bind(purged_record.map(Vec::from));
            }
        }
    }

    /// Runs all of it. After an error nobody knows what is written: the connection is of no more use.
    async fn run(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let sql = match &self.statements[..] {
            // A statement is a transaction, and tells one result instead of three.
            [alone] => alone.clone(),
            many => format!("BEGIN IMMEDIATE; {}; COMMIT", many.join("; ")),
        };
        let done = sqlx::query_with(AssertSqlSafe(sql), self.values).execute(connection).await;
        done.map(drop).map_err(|source| StoreError::Io {
            what: "the log cannot be written to wal.db".to_owned(),
            source: Box::new(source),
        })
    }
}
