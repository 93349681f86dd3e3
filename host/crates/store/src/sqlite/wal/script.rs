//! What a drain comes to in SQL: one transaction, asked for once.

use super::{
    super::{
        database::{id_to_sql, position_to_sql, rows_sql},
        mark::Progress,
    },
    plan::{AllRecords, GroupPlan},
};
use crate::port::StoreError;
use althing_core::ids::CommunityId;
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Sqlite, SqliteConnection, Type, sqlite::SqliteArguments};

/// Rows in one statement.
const ROWS_MAX: usize = 32;

/// A row of `segments`.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) group: CommunityId,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) body: Vec<u8>,
}

/// Statements that run as one transaction, and the values of their parameters in order. SQLite's
/// thread is asked once for all of them, since every statement that it is asked for costs two hops.
#[derive(Default)]
pub(super) struct Script {
    statements: Vec<String>,
    values: SqliteArguments,
}

impl Script {
    /// Whether it does nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    fn add(&mut self, statement: impl Into<String>) {
        self.statements.push(statement.into());
    }

    fn bind<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) {
        self.values.add(value).expect("numbers and bytes are always encoded");
    }

    /// Removes what a plan removes from the file.
    pub(super) fn cut(&mut self, group: CommunityId, plan: &GroupPlan) {
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

    /// Adds segments.
    pub(super) fn insert(&mut self, mut segments: Vec<Segment>) {
        while !segments.is_empty() {
            let rows: Vec<Segment> = segments.drain(..segments.len().min(ROWS_MAX)).collect();
            let head = "INSERT INTO segments (number, community, first, last, body) VALUES";
            self.add(rows_sql(head, "(?, ?, ?, ?, ?)", rows.len()));
            for Segment { number, group, first, last, body } in rows {
                self.bind(position_to_sql(number));
                self.bind(id_to_sql(group));
                self.bind(position_to_sql(first));
                self.bind(position_to_sql(last));
                self.bind(body);
            }
        }
    }

    /// Writes every record that the file does not have.
    pub(super) fn save_records(&mut self, records: &AllRecords) {
        let unwritten: Vec<CommunityId> = records.unwritten.iter().copied().collect();
        for groups in unwritten.chunks(ROWS_MAX) {
            let head = "INSERT OR REPLACE INTO groups (community, vote, committed, purged, purged_record, hash) VALUES";
            self.add(rows_sql(head, "(?, ?, ?, ?, ?, ?)", groups.len()));
            for group in groups {
                let records = records.groups.get(group).cloned().unwrap_or_default();
                let hash = records.hash(*group);
                let (purged, purged_record) = records.purged.unzip();
                self.bind(id_to_sql(*group));
                self.bind(records.vote.map(Vec::from));
                self.bind(records.committed.map(Vec::from));
                self.bind(purged.map(position_to_sql));
                self.bind(purged_record.map(Vec::from));
                self.bind(hash.0.to_vec());
            }
        }
    }

    /// Notes a change that is not, or not only, a segment.
    pub(super) fn save_progress(&mut self, progress: Progress) {
        self.add("INSERT OR REPLACE INTO progress (id, number, hash) VALUES (1, ?, ?)");
        self.bind(position_to_sql(progress.number));
        self.bind(progress.hash.0.to_vec());
    }

    /// Runs all of it. After an error nobody knows what is written: the connection is of no more use.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
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
