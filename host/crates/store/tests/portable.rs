//! Portable files: what comes out is what went in, or it is refused with what is wrong and where.

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

use althing_store::portable::{PortableError, Reader, Stored, Writer};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use std::{fs, path::Path};
use tempfile::TempDir;

const PARTS: [(&str, &str, &[u8]); 5] = [
    ("header", "", b"who"),
    ("entry", "7", &[1; 3000]),
    ("entry", "9", b"two"),
    ("chunk", "c", &[2; 40_000]),
    ("end", "", b""),
];

async fn write(path: &Path) {
    let mut writer = Writer::create(path).await.unwrap();
    for (kind, name, body) in PARTS {
        writer.add(kind, name, body).await.unwrap();
    }
    writer.finish().await.unwrap();
}

/// Everything in a file, if all of it is what was written.
async fn read(path: &Path) -> Result<Vec<Stored>, PortableError> {
    let mut reader = Reader::open(path).await?;
    reader.check(|_| {}).await?;
    let mut parts = Vec::new();
    for kind in ["header", "entry", "chunk", "end"] {
        let mut after = 0;
        while let Some(part) = reader.next(kind, after).await? {
            after = part.place;
            parts.push(part);
        }
    }
    reader.close().await;
    Ok(parts)
}

fn is_what_was_written(parts: &[Stored]) -> bool {
    let wanted = PARTS.iter().zip(1..).map(|(&(kind, name, body), place)| Stored {
        place,
        kind: kind.to_owned(),
        name: name.to_owned(),
        body: body.into(),
    });
    parts.iter().cloned().eq(wanted)
}

async fn meddle(file: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// How the file that this build writes is sealed: a published format never changes.
#[tokio::test]
async fn a_file_keeps_its_format() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.althing");
    write(&path).await;
    let reader = Reader::open(&path).await.unwrap();
    assert_eq!(reader.parts(), 5);
    assert_eq!(reader.seal().to_string(), "12755da8ba271095ffeab36e40444ba066cc0c303330691e596718c4d41217bc");
    assert!(is_what_was_written(&read(&path).await.unwrap()));
    let head = fs::read(&path).unwrap();
    assert_eq!(head[60..64], 1_u32.to_be_bytes(), "user_version");
    assert_eq!(&head[68..72], b"AlTP", "application_id");
}

#[tokio::test]
async fn a_file_has_its_name_only_when_it_is_whole_and_takes_nobody_elses() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.althing");
    let mut writer = Writer::create(&path).await.unwrap();
    writer.add("header", "", b"who").await.unwrap();
    assert!(!path.exists());
    drop(writer);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    // What a killed export left behind is in nobody's way.
    fs::write(folder.path().join("x.althing.part"), b"half").unwrap();
    write(&path).await;
    let error = Writer::create(&path).await.unwrap_err();
    assert!(matches!(error, PortableError::Exists { .. }), "{error}");
    assert!(is_what_was_written(&read(&path).await.unwrap()));
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_refused_or_changes_nothing_that_is_read() {
    let folder = TempDir::new().unwrap();
    let (path, altered) = (folder.path().join("x.althing"), folder.path().join("y.althing"));
    write(&path).await;
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..200).chain((200..whole.len()).step_by(211)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&altered, &bytes).unwrap();
        match read(&altered).await {
            Ok(parts) => assert!(is_what_was_written(&parts), "byte {at} of {}", whole.len()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100, "{refused} of the flipped bytes were in what counts");
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_refused_wherever() {
    let folder = TempDir::new().unwrap();
    let (path, altered) = (folder.path().join("x.althing"), folder.path().join("y.althing"));
    write(&path).await;
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(1999).chain([whole.len() - 1]) {
        fs::write(&altered, &whole[..length]).unwrap();
        let error = read(&altered).await.expect_err("it is cut off");
        assert!(matches!(error, PortableError::Foreign { .. } | PortableError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_somebody_changed_is_named() {
    for (sql, said) in [
        ("UPDATE parts SET body = x'00' WHERE place = 3", "part 3, entry 9, is not what was written"),
        ("UPDATE parts SET name = '8' WHERE place = 2", "part 2, entry 8, is not"),
        ("DELETE FROM parts WHERE place = 4", "part 4 of 5 is missing"),
        ("DELETE FROM seal", "0 seals"),
        ("UPDATE seal SET parts = 4", "not those that were sealed"),
        ("INSERT INTO parts SELECT 6, kind, name, body, chain FROM parts WHERE place = 5", "6 are there"),
        ("PRAGMA user_version = 2", "has format 2"),
        ("PRAGMA application_id = 7", "is no export"),
    ] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.althing");
        write(&path).await;
        meddle(&path, sql).await;
        let error = read(&path).await.expect_err(sql).to_string();
        assert!(error.contains(said), "{sql}: {error}");
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.althing");
    fs::write(&path, b"what is this?").unwrap();
    assert!(matches!(read(&path).await, Err(PortableError::Foreign { .. })));
    assert!(matches!(read(&folder.path().join("none")).await, Err(PortableError::Io { .. })));
}
