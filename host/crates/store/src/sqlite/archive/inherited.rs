//! Facts and pins of a file of an earlier format, which held them itself: read, moved out, and gone.
//!
//! A new file has the tables too, empty, so that there is one way.

use super::super::{
    database::{id_from_sql, position_from_sql},
    facts::Facts,
};
use althing_core::ids::Sequence;
use bytes::Bytes;
use sqlx::{Connection as _, SqliteConnection};

/// What a file still holds; none once it was moved out.
pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Option<Facts>, sqlx::Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'inherited_facts')";
    let is_there: bool = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
    if !is_there {
        return Ok(None);
    }
    let values: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT name, value FROM inherited_facts").fetch_all(&mut *connection).await?;
    let pins: Vec<(i64, i64, String)> =
        sqlx::query_as("SELECT community, sequence, note FROM inherited_pins").fetch_all(connection).await?;
    let pin =
        |(community, sequence, note)| ((id_from_sql(community), Sequence(position_from_sql(sequence))), note);
    Ok(Some(Facts {
        values: values.into_iter().map(|(name, value)| (name, Bytes::from(value))).collect(),
        pins: pins.into_iter().map(pin).collect(),
    }))
}

/// Drops what was moved out.
pub(super) async fn drop(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let sql = "DROP TABLE IF EXISTS inherited_facts; DROP TABLE IF EXISTS inherited_pins";
    sqlx::raw_sql(sql).execute(&mut *transaction).await?;
    transaction.commit().await
}
