//! Writing a portable file: under a temporary name until it is whole.

use super::{APPLICATION_ID, PortableError, SCHEMA, VERSION, link};
use althing_core::ids::Hash;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// A portable file on its way. It gets its name in [`Self::finish`]; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    temporary: Temporary,
    /// None only once it is finished.
    connection: Option<SqliteConnection>,
    parts: i64,
    chain: Hash,
}

/// The file under its temporary name, removed when this is dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the renaming there is none.
        let _ = fs::remove_file(&self.0);
    }
}

impl Writer {
    /// Begins a file that shall be called `path`; until it is whole, `.part` is added.
    ///
    /// # Errors
    /// The file is there already, or its folder cannot be written.
    pub async fn create(path: &Path) -> Result<Self, PortableError> {
        if path.exists() {
            return Err(PortableError::Exists { path: path.to_owned() });
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let temporary = PathBuf::from(name);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(path, error)),
            // What is there was left by an export that was killed.
            _ => {}
        }
        let temporary = Temporary(temporary);
        let connection = begin(&temporary.0).await.map_err(|error| failed(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            temporary,
            connection: Some(connection),
            parts: 0,
            chain: Hash::default(),
        })
    }

    /// Adds the next part.
    ///
    /// Cancellation: drop the writer afterwards.
    ///
    /// # Errors
    /// The disk fails, or is full.
    pub async fn add(&mut self, kind: &str, name: &str, body: &[u8]) -> Result<(), PortableError> {
        let chain = link(self.chain, kind, name, body);
        let place = self.parts + 1;
        let added = sqlx::query("INSERT INTO parts (place, kind, name, body, chain) VALUES (?, ?, ?, ?, ?)")
            .bind(place)
            .bind(kind.to_owned())
            .bind(name.to_owned())
            .bind(body.to_owned())
            .bind(chain.0.to_vec())
            .execute(self.connection.as_mut().expect("only finishing takes it"))
            .await;
        added.map_err(|error| failed(&self.path, error))?;
        (self.parts, self.chain) = (place, chain);
        Ok(())
    }

    /// Seals the file, makes it durable, and gives it its name; its seal.
    ///
    /// # Errors
    /// The disk fails, or something of that name is there by now.
    pub async fn finish(mut self) -> Result<Hash, PortableError> {
        let failed = |error: sqlx::Error| failed(&self.path, error);
        let mut connection = self.connection.take().expect("only finishing takes it");
        sqlx::query("INSERT INTO seal (parts, chain) VALUES (?, ?)")
            .bind(self.parts)
            .bind(self.chain.0.to_vec())
            .execute(&mut connection)
            .await
            .map_err(failed)?;
        sqlx::raw_sql("COMMIT").execute(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        if self.path.exists() {
            return Err(PortableError::Exists { path: self.path.clone() });
        }
        name(&self.temporary.0, &self.path).map_err(|error| self::failed(&self.path, error))?;
        Ok(self.chain)
    }
}

/// One transaction without a journal: a file that is not whole is thrown away anyway.
async fn begin(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(16 << 10)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("mmap_size", "0")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
        .connect()
        .await?;
    let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}");
    sqlx::raw_sql(AssertSqlSafe(stamp)).execute(&mut connection).await?;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    Ok(connection)
}

/// Durable first, then under its name, then the name durable.
fn name(temporary: &Path, path: &Path) -> io::Result<()> {
    File::open(temporary)?.sync_all()?;
    fs::rename(temporary, path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PortableError {
    PortableError::Io { path: path.to_owned(), what: "written", source: source.into() }
}
