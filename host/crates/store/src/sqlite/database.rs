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
         whoever copied the file, has dropped it. This node must not vote with it: started with `althing serve`, it \
         asks the other nodes to take it back under fresh replica ids; with no others left, restore a backup",
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
    /// What was found wrong with the log, if it is the log that cannot be used: the rest of the directory
    /// may be whole then, and is opened by [`super::Remains`]. None for every other reason.
    #[must_use]
    pub fn of_log(&self) -> Option<String> {
        let log = |path: &Path| {
            let is_log = path.file_name()?.to_str()?.starts_with("wal.");
            is_log.then(|| path.display().to_string())
        };
        match self {
            Self::Lost { path, found, marked } => Some(format!(
                "{} has lost what was durable: its last change is {found}, and the mark beside it says {marked}",
                log(path)?
            )),
            Self::Damaged { path, what } => Some(format!("{} is damaged ({what})", log(path)?)),
            Self::Foreign { path } => Some(format!("{} is not the file that was written", log(path)?)),
            Self::Directory { .. } | Self::Locked { .. } | Self::Newer { .. } | Self::Sqlite { .. } => None,
        }
    }

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
    /// What makes each format of the one before, the first one of nothing. SQLite's `user_version` says
    /// how many of them a file has; as many as are here is the newest format known.
    pub(super) schemas: &'static [&'static str],
    /// Bytes of a page, for a new file.
    pub(super) page_bytes: u32,
    /// Pages in SQLite's own WAL after which the writer copies them into the file.
    pub(super) checkpoint_pages: u32,
}

impl Format {
    fn newest(&self) -> i64 {
        i64::try_from(self.schemas.len()).expect("formats can be counted")
    }
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
    /// Opens a file, or creates it with its tables, and checks that it is whole and ours. One that must
    /// have come to change `marked`, if that is not 0, is never created: nothing is written over what is
    /// left of it.
    pub(super) async fn open(
        path: &Path,
        format: &Format,
        readers: u32,
        marked: u64,
    ) -> Result<Self, OpenError> {
        check_header(path)?;
        if marked > 0 && !path.exists() {
            return Err(OpenError::Lost { path: path.to_owned(), found: 0, marked });
        }
        let mut writer = open_writer(path, format).await.map_err(|error| opening(path, error))?;
        if let Err(error) = prepare(&mut writer, path, format, marked).await {
            close_as_found(writer, path).await;
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
                let is_newest = version == format.newest();
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

/// Closes a file that is not to be used, and leaves it as it was found: the last connection to close
/// copies SQLite's WAL into the file and deletes it, whatever is in it, unless it is one that only reads.
pub(super) async fn close_as_found(writer: SqliteConnection, path: &Path) {
    // Why the file is not used was found before; what fails here says less.
    let mut reader = reader_options(path).connect().await.ok();
    if let Some(reader) = &mut reader {
        // It counts from its first look on.
        let _ = sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&mut *reader).await;
    }
    let _ = writer.close().await;
    if let Some(reader) = reader {
        let _ = reader.close().await;
    }
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

async fn prepare(
    writer: &mut SqliteConnection,
    path: &Path,
    format: &Format,
    marked: u64,
) -> Result<(), OpenError> {
    let failed = |error| opening(path, error);
    if is_new(writer).await.map_err(failed)? {
        if marked > 0 {
            return Err(OpenError::Lost { path: path.to_owned(), found: 0, marked });
        }
        return bring_up(writer, format, 0).await.map_err(failed);
    }
    let version = check(writer, path, format).await?;
    match version < format.newest() {
        true => bring_up(writer, format, version).await.map_err(failed),
        false => Ok(()),
    }
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
    if version > format.newest() {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known: format.newest() });
    }
    let found: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(failed)?;
    if found != "ok" {
        return Err(OpenError::Damaged { path: path.to_owned(), what: found });
    }
    Ok(version)
}

/// Makes the newest format of the one that the file has; 0: of nothing.
async fn bring_up(writer: &mut SqliteConnection, format: &Format, found: i64) -> Result<(), sqlx::Error> {
    let (application_id, version) = (format.application_id, format.newest());
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let found = usize::try_from(found).unwrap_or(0);
    for schema in &format.schemas[found..] {
        sqlx::raw_sql(*schema).execute(&mut *transaction).await?;
    }
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
    async fn a_file_of_an_older_format_is_brought_up_and_keeps_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.db");
        let mut format = Format {
            application_id: 1,
            schemas: &["CREATE TABLE t (x); INSERT INTO t VALUES (7)"],
            page_bytes: 8192,
            checkpoint_pages: 77,
        };
        let open = async |format: &Format| Database::open(&path, format, 1, 0).await;
        let first = open(&format).await.unwrap();
        first.readers.close().await;
        first.writer.close().await.unwrap();
        format.schemas = &["CREATE TABLE t (never)", "CREATE TABLE u (y)", "INSERT INTO u SELECT x FROM t"];
        for _ in 0..2 {
            let Database { mut writer, readers } = open(&format).await.unwrap();
            assert_eq!(number(&mut writer, "PRAGMA user_version").await.unwrap(), 3);
            assert_eq!(number(&mut writer, "SELECT sum(y) FROM u").await.unwrap(), 7);
            readers.close().await;
            writer.close().await.unwrap();
        }
        format.schemas = &["CREATE TABLE t (x)"];
        let refused = open(&format).await.err().expect("it is newer than is known");
        assert!(matches!(refused, OpenError::Newer { found: 3, known: 1, .. }), "{refused}");
    }

    #[tokio::test]
    async fn the_writer_syncs_every_commit_and_readers_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let format = Format {
            application_id: 1,
            schemas: &["CREATE TABLE t (x)"],
            page_bytes: 8192,
            checkpoint_pages: 77,
        };
        let Database { mut writer, readers } =
            Database::open(&directory.path().join("t.db"), &format, 1, 0).await.unwrap();
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
