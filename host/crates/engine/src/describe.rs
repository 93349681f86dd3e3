//! What a component says about itself, and whether it says it properly.

use crate::bindings::{reduction, validation};
use serde::{Deserialize, Serialize};

/// Longest name and longest version, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Largest schema, in bytes.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// When a guest's memory begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// A fresh instance for each operation.
    #[default]
    PerOperation,
    /// One instance for the operations of one batch, until one of them traps. An operation that is
    /// rejected keeps the instance: what it left in guest memory stays.
    PerBatch,
}

/// What a component says about itself. Schemas are JSON Schema texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// A short name.
    pub name: String,
    /// The author's version.
    pub version: String,
    /// When memory begins anew; always per operation for validators.
    pub scope: Scope,
    /// Schema of the configuration.
    pub config: String,
    /// What only reducers have.
    pub reducer: Option<ReducerSchemas>,
}

/// The schemas of a reducer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReducerSchemas {
    /// Of operations.
    pub operations: String,
    /// Of queries.
    pub queries: String,
    /// Of the results of operations.
    pub results: String,
    /// Of the answers to queries.
    pub answers: String,
    /// Of events: an object with one property for each event name.
    pub events: String,
}

/// A description that is not as `wit/program.wit` asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDescription {
    /// No name or version, or too long.
    #[error("`describe` gives a {field} of {bytes} bytes, it must have 1 to {NAME_BYTES_MAX}")]
    Length {
        /// Which.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A schema that is larger than any may be.
    #[error(
        "`describe` gives a schema of {field} with {bytes} bytes, at most {SCHEMA_BYTES_MAX} are allowed"
    )]
    Large {
        /// Of what.
        field: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// A schema that is no JSON.
    #[error("`describe` gives a schema of {field} that is no JSON: {what}")]
    NotJson {
        /// Of what.
        field: &'static str,
        /// Where and why.
        what: String,
    },
}

impl Description {
    /// From what a reducer says.
    pub(crate) fn of_reducer(said: reduction::Description) -> Self {
        Self {
            name: said.name,
            version: said.version,
            scope: match said.scope {
                reduction::InstanceScope::PerOperation => Scope::PerOperation,
                reduction::InstanceScope::PerBatch => Scope::PerBatch,
            },
            config: said.config,
            reducer: Some(ReducerSchemas {
                operations: said.operations,
                queries: said.queries,
                results: said.results,
                answers: said.answers,
                events: said.events,
            }),
        }
    }

    /// From what a validator says.
    pub(crate) fn of_validator(said: validation::Description) -> Self {
        Self {
            name: said.name,
            version: said.version,
            scope: Scope::PerOperation,
            config: said.config,
            reducer: None,
        }
    }

    /// Checks lengths, and that schemas are JSON.
    pub(crate) fn check(&self) -> Result<(), BadDescription> {
        for (field, text) in [("name", &self.name), ("version", &self.version)] {
            if text.is_empty() || text.len() > NAME_BYTES_MAX {
                return Err(BadDescription::Length { field, bytes: text.len() });
            }
        }
        check_schema("the configuration", &self.config)?;
        let Some(schemas) = &self.reducer else { return Ok(()) };
        check_schema("operations", &schemas.operations)?;
        check_schema("queries", &schemas.queries)?;
        check_schema("results", &schemas.results)?;
        check_schema("answers", &schemas.answers)?;
        check_schema("events", &schemas.events)
    }
}

fn check_schema(field: &'static str, schema: &str) -> Result<(), BadDescription> {
    if schema.len() > SCHEMA_BYTES_MAX {
        return Err(BadDescription::Large { field, bytes: schema.len() });
    }
    serde_json::from_str::<serde::de::IgnoredAny>(schema)
        .map(|_| ())
        .map_err(|error| BadDescription::NotJson { field, what: error.to_string() })
}
