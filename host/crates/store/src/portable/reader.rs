//! Reading a portable file: nothing of it is given out before its hash was checked.

use super::{APPLICATION_ID, PortableError, Stored, VERSION, link};
use althing_core::ids::Hash;
use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// A portable file that is open.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: SqliteConnection,
    parts: u64,
    seal: Hash,
}

impl Reader {
    /// Opens a file and reads its seal; nothing else is checked yet.
    ///
    /// # Errors
    /// It cannot be read, is no portable file, is newer, or has no seal.
    pub async fn open(path: &Path) -> Result<Self, PortableError> {
        must_be_sqlite(path)?;
        let opening = |error| reading(path, "its first page", error);
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            // Nobody writes it: so it can be read where nothing can be written.
            .immutable(true)
            .pragma("mmap_size", "0")
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .disable_statement_logging()
            .connect()
            .await
            .map_err(opening)?;
        let application_id: i64 =
            sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await.map_err(opening)?;
        let version: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.map_err(opening)?;
        if application_id != APPLICATION_ID {
            return Err(PortableError::Foreign { path: path.to_owned() });
        }
        if version > VERSION {
            return Err(PortableError::Newer { path: path.to_owned(), found: version });
        }
        let seals = sqlx::query("SELECT parts, chain FROM seal").fetch_all(&mut connection).await;
        let (parts, seal) = match seals.map_err(|error| reading(path, "its seal", error))?.as_slice() {
            [seal] => sealed(seal).map_err(|error| reading(path, "its seal", error))?,
            seals => {
                let what = format!("it has {} seals, one is wanted: it was never whole", seals.len());
                return Err(PortableError::Damaged { path: path.to_owned(), what });
            }
        };
        Ok(Self { path: path.to_owned(), connection, parts, seal })
    }

    /// How many parts there are, by the seal.
    #[must_use]
    pub const fn parts(&self) -> u64 {
        self.parts
    }

    /// The hash over everything, by the seal: the name of what is in the file.
    #[must_use]
    pub const fn seal(&self) -> Hash {
        self.seal
    }

    /// Checks every part's hash; `seen` is told how many are checked.
    ///
    /// # Errors
    /// Damage: the first part that is not what was written, or is missing.
    pub async fn check(&mut self, mut seen: impl FnMut(u64)) -> Result<(), PortableError> {
        let mut before = Hash::default();
        for place in 1..=self.parts {
            let (part, chain) = self
                .at(place)
                .await?
                .ok_or_else(|| self.damaged(format!("part {place} of {} is missing", self.parts)))?;
            if link(before, &part.kind, &part.name, &part.body) != chain {
                let Stored { kind, name, .. } = part;
                return Err(self.damaged(format!("part {place}, {kind} {name}, is not what was written")));
            }
            before = chain;
            seen(place);
        }
        if before != self.seal {
            return Err(self.damaged("its parts are not those that were sealed".to_owned()));
        }
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM parts")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| reading(&self.path, "its list of parts", error))?;
        if found.cast_unsigned() == self.parts {
            return Ok(());
        }
        Err(self.damaged(format!("{} parts were sealed, {found} are there", self.parts)))
    }

    /// The first part of a kind beyond a place. To be trusted once [`Self::check`] has passed.
    ///
    /// # Errors
    /// Damage.
    pub async fn next(&mut self, kind: &str, after: u64) -> Result<Option<Stored>, PortableError> {
        const SQL: &str = "SELECT place, kind, name, body, chain FROM parts WHERE kind = ? AND place > ? ORDER BY place LIMIT 1";
        let row = sqlx::query(SQL)
            .bind(kind.to_owned())
            .bind(after.cast_signed())
            .fetch_optional(&mut self.connection)
            .await;
        let part = row.and_then(|row| row.map(|row| stored(&row)).transpose());
        let part = part.map_err(|error| reading(&self.path, &format!("a part of kind {kind}"), error))?;
        Ok(part.map(|(part, _)| part))
    }

    async fn at(&mut self, place: u64) -> Result<Option<(Stored, Hash)>, PortableError> {
        let row = sqlx::query("SELECT place, kind, name, body, chain FROM parts WHERE place = ?")
            .bind(place.cast_signed())
            .fetch_optional(&mut self.connection)
            .await;
        let part = row.and_then(|row| row.map(|row| stored(&row)).transpose());
        part.map_err(|error| reading(&self.path, &format!("part {place} of {}", self.parts), error))
    }

    fn damaged(&self, what: String) -> PortableError {
        PortableError::Damaged { path: self.path.clone(), what }
    }

    /// Closes the file.
    pub async fn close(self) {
        // It was only read: there is nothing to lose.
        let _ = self.connection.close().await;
    }
}

/// What SQLite would say of a foreign file is less clear.
fn must_be_sqlite(path: &Path) -> Result<(), PortableError> {
    let failed = |source: std::io::Error| PortableError::Io {
        path: path.to_owned(),
        what: "read",
        source: source.into(),
    };
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(16).read_to_end(&mut head)).map_err(failed)?;
    if head == *b"SQLite format 3\0" { Ok(()) } else { Err(PortableError::Foreign { path: path.to_owned() }) }
}

fn sealed(row: &SqliteRow) -> Result<(u64, Hash), sqlx::Error> {
    let parts: i64 = row.try_get(0)?;
    Ok((parts.cast_unsigned(), hash(&row.try_get::<Vec<u8>, _>(1)?)?))
}

fn stored(row: &SqliteRow) -> Result<(Stored, Hash), sqlx::Error> {
    let place: i64 = row.try_get(0)?;
    let body: Vec<u8> = row.try_get(3)?;
    let part = Stored {
        place: place.cast_unsigned(),
        kind: row.try_get(1)?,
        name: row.try_get(2)?,
        body: body.into(),
    };
    Ok((part, hash(&row.try_get::<Vec<u8>, _>(4)?)?))
}

fn hash(bytes: &[u8]) -> Result<Hash, sqlx::Error> {
    let bytes = bytes.try_into().map_err(|_| sqlx::Error::Decode("a hash has 32 bytes".into()))?;
    Ok(Hash(bytes))
}

/// A file that was whole can always be read: whatever SQLite says is damage, unless the disk failed.
fn reading(path: &Path, what: &str, source: sqlx::Error) -> PortableError {
    match source {
        sqlx::Error::Io(source) => {
            PortableError::Io { path: path.to_owned(), what: "read", source: source.into() }
        }
        source => PortableError::Damaged {
            path: path.to_owned(),
            what: format!("{what} cannot be read ({source})"),
        },
    }
}
