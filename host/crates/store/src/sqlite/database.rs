//! One SQLite file: how it is opened, what is checked then, and which errors a user may see.
//!
//! Every pragma is written out here, for writers and readers, and nowhere else.

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory, or its lock file, cannot be created or used.
    #[error("the data directory {} cannot be used", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "another process (pid {holder}) has the data directory {}: stop it, or choose another directory",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other's process id, as far as known.
        holder: String,
    },
    /// A file is something else.
    #[error("{} is not a file of an Althing store: choose another data directory, or move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file was written by a later version.
    #[error(
        "{} has format {found}, this version of althing knows formats up to {known}: start the newer \
         version that wrote it, or restore a backup made before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// A file is not what was written.
    #[error(
        "{} is damaged ({what}): move the data directory away, and let this node come back as a new \
         replica from the others, or restore a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The log ends before what was promised.
    #[error(
        "{} has lost what was durable: its last change is {found}, and the mark beside it says {marked}. The disk, or \
         whoever copied the file, has dropped it. This node must not vote with it: move the data directory away, \
         and let the node come back as a new one from the others (`--join`); with no others left, restore a backup",
        path.display()
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// The number of its last change.
        found: u64,
        /// The number of the last change that somebody was told of.
        marked: u64,
    },
    /// SQLite failed for another reason: permissions, disk full, …
    #[error("{} cannot be opened", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
}

impl OpenError {
    /// The same said of another path: what was found in a copy is true of the file it was made of.
    pub(super) fn about(mut self, original: &Path) -> Self {
        match &mut self {
            Self::Directory { path, .. }
            | Self::Locked { path, .. }
            | Self::Foreign { path }
            | Self::Newer { path, .. }
            | Self::Damaged { path, .. }
            | Self::Lost { path, .. }
            | Self::Sqlite { path, .. } => original.clone_into(path),
        }
        self
    }
}

/// What a file is to be.
pub(super) struct Format {
    /// SQLite's `application_id`.
    pub(super) application_id: i64,
    /// SQLite's `user_version`: the format written here, and the newest that is known.
    pub(super) version: i64,
    /// The tables of that version.
    pub(super) schema: &'static str,
    /// Bytes of a page, for a new file.
    pub(super) page_bytes: u32,
    /// Pages in SQLite's own WAL after which the writer copies them into the file.
    pub(super) checkpoint_pages: u32,
}

/// A file that was opened and checked.
pub(super) struct Database {
    /// The only connection that writes and makes checkpoints.
    pub(super) writer: SqliteConnection,
    /// Connections that only read.
    pub(super) readers: SqlitePool,
}

/// SQLite's own WAL is cut to this after a large transaction.
const JOURNAL_BYTES_MAX: u32 = 64 << 20;

impl Database {
    /// Opens a file, or creates it with its tables, and checks that it is whole and ours.
    pub(super) async fn open(path: &Path, format: &Format, readers: u32) -> Result<Self, OpenError> {
        check_header(path)?;
        let mut writer = open_writer(path, format).await.map_err(|error| opening(path, error))?;
        if let Err(error) = prepare(&mut writer, path, format).await {
            // The first error says more than one while closing could.
            let _ = writer.close().await;
            return Err(error);
        }
        Ok(Self { writer, readers: pool(reader_options(path), readers) })
    }

    /// Connections to a file that is only looked at: nothing is written, locked or created, not even
    /// SQLite's own files beside it. The file must be there, and nobody may write it meanwhile; what
    /// SQLite's WAL beside it holds is not seen. It is checked as [`Self::open`] does; none if that would
    /// change it: make it a file of a store, or bring it up to the newest format.
    pub(super) async fn look(
        path: &Path,
        format: &Format,
        readers: u32,
    ) -> Result<Option<SqlitePool>, OpenError> {
        check_header(path)?;
        let failed = |error| opening(path, error);
        let options = reader_options(path).immutable(true);
        let mut connection = options.clone().connect().await.map_err(failed)?;
        let checked = match is_new(&mut connection).await.map_err(failed) {
            Ok(true) => Ok(None),
            Ok(false) => check(&mut connection, path, format).await.map(|version| {
                let is_newest = version == format.version;
                is_newest.then(|| pool(options, readers))
            }),
            Err(error) => Err(error),
        };
        // It was only read: there is nothing to lose.
        let _ = connection.close().await;
        checked
    }
}

fn pool(options: SqliteConnectOptions, connections: u32) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

async fn open_writer(path: &Path, format: &Format) -> Result<SqliteConnection, sqlx::Error> {
    options(path)
        .create_if_missing(true)
        .page_size(format.page_bytes)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", format.checkpoint_pages.to_string())
        .pragma("journal_size_limit", JOURNAL_BYTES_MAX.to_string())
        .statement_cache_capacity(256)
        .connect()
        .await
}

/// Never checkpoints: it never commits, and being read-only it cannot when it is closed either.
fn reader_options(path: &Path) -> SqliteConnectOptions {
    options(path).read_only(true)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("mmap_size", "0")
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .thread_name(|id| format!("sqlite-{id}"))
        .disable_statement_logging()
}

/// Refuses a file that is no SQLite database. What SQLite would say is less clear, and comes after it
/// has written to it.
pub(super) fn check_header(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Directory { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut header = Vec::new();
    file.by_ref().take(16).read_to_end(&mut header).map_err(failed)?;
    if header.is_empty() || header == *b"SQLite format 3\0" {
        return Ok(());
    }
    Err(OpenError::Foreign { path: path.to_owned() })
}

async fn prepare(writer: &mut SqliteConnection, path: &Path, format: &Format) -> Result<(), OpenError> {
    let failed = |error| opening(path, error);
    if is_new(writer).await.map_err(failed)? {
        return create(writer, format).await.map_err(failed);
    }
    check(writer, path, format).await.map(drop)
}

/// Whether nobody has made anything of a file.
async fn is_new(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let application_id = number(connection, "PRAGMA application_id").await?;
    let version = number(connection, "PRAGMA user_version").await?;
    let tables = number(connection, "SELECT count(*) FROM sqlite_schema").await?;
    Ok((application_id, version, tables) == (0, 0, 0))
}

/// Checks that a file is whole and ours; its format.
async fn check(connection: &mut SqliteConnection, path: &Path, format: &Format) -> Result<i64, OpenError> {
    let failed = |error| opening(path, error);
    let application_id = number(connection, "PRAGMA application_id").await.map_err(failed)?;
    let version = number(connection, "PRAGMA user_version").await.map_err(failed)?;
    if application_id != format.application_id {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if version > format.version {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known: format.version });
    }
    let found: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(failed)?;
    if found != "ok" {
        return Err(OpenError::Damaged { path: path.to_owned(), what: found });
    }
    Ok(version)
}

async fn create(writer: &mut SqliteConnection, format: &Format) -> Result<(), sqlx::Error> {
    let Format { application_id, version, schema, .. } = format;
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(*schema).execute(&mut *transaction).await?;
    let stamp = format!("PRAGMA application_id = {application_id}; PRAGMA user_version = {version}");
    sqlx::raw_sql(AssertSqlSafe(stamp)).execute(&mut *transaction).await?;
    transaction.commit().await
}

async fn number(writer: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_one(writer).await
}

/// Tells damage from other failures while a file is opened.
pub(super) fn opening(path: &Path, source: sqlx::Error) -> OpenError {
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    let code = source.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(CORRUPT | NOT_A_DATABASE) => {
            OpenError::Damaged { path: path.to_owned(), what: source.to_string() }
        }
        _ => OpenError::Sqlite { path: path.to_owned(), source },
    }
}

/// `rows` times `(?, …)`, after `head`: one statement for many rows, since each statement costs a
/// hop to the connection's thread.
pub(super) fn rows_sql(head: &'static str, row: &'static str, rows: usize) -> String {
    format!("{head} {}", vec![row; rows].join(", "))
}

/// SQLite's integers are signed: ids keep their bits.
pub(super) fn id_to_sql(id: althing_core::ids::CommunityId) -> i64 {
    id.0.cast_signed()
}

/// The id that [`id_to_sql`] wrote.
pub(super) fn id_from_sql(id: i64) -> althing_core::ids::CommunityId {
    althing_core::ids::CommunityId(id.cast_unsigned())
}

/// SQLite's integers are signed: positions, which are compared, end at `i64::MAX`. Counting to it
/// takes longer than anything lasts, so it also stands for every bound above.
pub(super) fn position_to_sql(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// The position that [`position_to_sql`] wrote.
pub(super) fn position_from_sql(position: i64) -> u64 {
    position.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before 3.51.3, SQLite could lose what was committed when its WAL was reset.
    #[tokio::test]
    async fn sqlite_is_the_bundled_one_and_new_enough() {
        let mut connection = SqliteConnectOptions::new().connect().await.unwrap();
        let version: String =
            sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await.unwrap();
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(parts >= vec![3, 51, 3] && parts != [3, 52, 0], "{version}");
    }

    #[tokio::test]
    async fn the_writer_syncs_every_commit_and_readers_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let format = Format {
            application_id: 1,
            version: 1,
            schema: "CREATE TABLE t (x)",
            page_bytes: 8192,
            checkpoint_pages: 77,
        };
        let Database { mut writer, readers } =
            Database::open(&directory.path().join("t.db"), &format, 1).await.unwrap();
        let expected = [
            ("PRAGMA synchronous", 2),
            ("PRAGMA page_size", 8192),
            ("PRAGMA wal_autocheckpoint", 77),
            ("PRAGMA foreign_keys", 1),
            ("PRAGMA trusted_schema", 0),
            ("PRAGMA cell_size_check", 1),
            ("PRAGMA mmap_size", 0),
        ];
        for (pragma, value) in expected {
            assert_eq!(number(&mut writer, pragma).await.unwrap(), value, "{pragma}");
        }
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut writer).await.unwrap();
        assert_eq!(mode, "wal");
        sqlx::query("INSERT INTO t VALUES (1)").execute(&readers).await.unwrap_err();
        readers.close().await;
        writer.close().await.unwrap();
    }
}
