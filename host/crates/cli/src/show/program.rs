//! Programs and components.

use crate::show::{
    blob::Blob,
    table::{row, table},
};
use althing_client::v1;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// A program.
#[derive(Debug, Serialize)]
pub(crate) struct ProgramShown {
    hash: String,
    reducer: Option<ComponentShown>,
    validators: Vec<ValidatorShown>,
    config: Blob,
}

/// A component that was uploaded.
#[derive(Debug, Serialize)]
pub(crate) struct ComponentShown {
    pub(crate) hash: String,
    bytes: u64,
    kind: String,
    name: String,
    version: String,
    scope: String,
    schemas: Schemas,
}

/// JSON Schemas, as the component describes itself; `null` where it says nothing.
#[derive(Debug, Serialize)]
struct Schemas {
    config: Value,
    operation: Value,
    query: Value,
    result: Value,
    answer: Value,
    event: Value,
}

#[derive(Debug, Serialize)]
struct ValidatorShown {
    component: String,
    config: Blob,
}

/// A program with the ones before it.
#[derive(Debug, Serialize)]
pub(crate) struct VersionsShown {
    program: Option<ProgramShown>,
    versions: Vec<VersionShown>,
}

#[derive(Debug, Serialize)]
struct VersionShown {
    sequence: u64,
    hash: String,
}

impl From<v1::ProgramInfo> for ProgramShown {
    fn from(info: v1::ProgramInfo) -> Self {
        let validators = info.validators.into_iter().map(|validator| ValidatorShown {
            component: hex::encode(&validator.component),
            config: Blob(validator.config),
        });
        Self {
            hash: hex::encode(&info.hash),
            reducer: info.reducer.map(Into::into),
            validators: validators.collect(),
            config: Blob(info.config),
        }
    }
}

impl From<v1::ComponentInfo> for ComponentShown {
    fn from(info: v1::ComponentInfo) -> Self {
        let schemas = Schemas {
            config: schema(info.config_schema),
            operation: schema(info.operation_schema),
            query: schema(info.query_schema),
            result: schema(info.result_schema),
            answer: schema(info.answer_schema),
            event: schema(info.event_schema),
        };
        Self {
            hash: hex::encode(&info.hash),
            bytes: info.bytes,
            kind: info.kind,
            name: info.name,
            version: info.version,
            scope: info.scope,
            schemas,
        }
    }
}

fn schema(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(schema) => schema,
        Err(_) if text.is_empty() => Value::Null,
        Err(_) => Value::String(text),
    }
}

impl From<v1::InspectProgramResponse> for VersionsShown {
    fn from(told: v1::InspectProgramResponse) -> Self {
        let versions = told
            .versions
            .into_iter()
            .map(|version| VersionShown { sequence: version.sequence, hash: hex::encode(&version.hash) });
        Self { program: told.program.map(Into::into), versions: versions.collect() }
    }
}

impl fmt::Display for ComponentShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind, self.name, self.version)?;
        if !self.scope.is_empty() {
            write!(f, " ({})", self.scope)?;
        }
        write!(f, ", {} bytes, {}", self.bytes, self.hash)
    }
}

impl fmt::Display for ProgramShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {}", self.hash)?;
        if let Some(reducer) = &self.reducer {
            writeln!(f, "  {reducer}")?;
        }
        for (place, validator) in self.validators.iter().enumerate() {
            writeln!(f, "  validator {place}: {} with {}", validator.component, validator.config)?;
        }
        if !self.config.0.is_empty() {
            writeln!(f, "  config: {}", self.config)?;
        }
        Ok(())
    }
}

impl fmt::Display for VersionsShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(program) = &self.program else {
            return f.write_str("no program yet: `althing program install` gives the community one");
        };
        program.fmt(f)?;
        if let Some(reducer) = &program.reducer {
            let schemas = &reducer.schemas;
            let named = [
                ("config", &schemas.config),
                ("operation", &schemas.operation),
                ("query", &schemas.query),
                ("result", &schemas.result),
                ("answer", &schemas.answer),
                ("event", &schemas.event),
            ];
            for (name, schema) in named.into_iter().filter(|(_, schema)| !schema.is_null()) {
                writeln!(f, "  {name} schema: {schema}")?;
            }
        }
        let mut rows = vec![row(["since", "program"])];
        let versions = self.versions.iter();
        rows.extend(versions.map(|version| row([&format!("#{}", version.sequence), &version.hash])));
        f.write_str(&table(&rows))
    }
}
