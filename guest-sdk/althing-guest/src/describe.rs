//! What a program says about itself, read off its types as JSON Schema.

use crate::{
    data::Data,
    reducer::{Reducer, Scope},
    validator::Validator,
};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

/// A reducer's description. Schemas are JSON Schema texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// A short name.
    pub name: String,
    /// The author's version.
    pub version: String,
    /// When memory begins anew.
    pub scope: Scope,
    /// Of the configuration.
    pub config: String,
    /// Of operations.
    pub operations: String,
    /// Of queries.
    pub queries: String,
    /// Of results.
    pub results: String,
    /// Of answers.
    pub answers: String,
    /// Of events: an object with a property for each name.
    pub events: String,
}

/// A reducer's description.
#[must_use]
pub fn reducer<R: Reducer>() -> Description {
    Description {
        name: R::NAME.into(),
        version: R::VERSION.into(),
        scope: R::SCOPE,
        config: schema::<R::Config>().to_string(),
        operations: schema::<R::Operation>().to_string(),
        queries: schema::<R::Query>().to_string(),
        results: schema::<R::Result>().to_string(),
        answers: schema::<R::Answer>().to_string(),
        events: by_name(schema::<R::Event>()).to_string(),
    }
}

/// A validator's description; it has a configuration and nothing else to describe.
#[must_use]
pub fn validator_config<V: Validator>() -> String {
    schema::<V::Config>().to_string()
}

fn schema<T: Data>() -> Value {
    SchemaGenerator::default().into_root_schema_for::<T>().to_value()
}

/// An enum's schema, one alternative for each variant, as an object with a property for each.
fn by_name(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return json!({"type": "object", "properties": {}}) };
    let mut events = Map::new();
    let alternatives = match schema.remove("oneOf") {
        Some(Value::Array(alternatives)) => alternatives,
        // One kind of variant only: the alternative is the schema itself.
        _ => vec![Value::Object(schema.clone())],
    };
    for alternative in alternatives {
        if let Some(Value::Object(properties)) = alternative.get("properties") {
            events.extend(properties.clone());
        }
        let named = alternative
            .get("const")
            .into_iter()
            .chain(alternative.get("enum").and_then(Value::as_array).into_iter().flatten());
        for name in named.filter_map(Value::as_str) {
            events.insert(name.to_owned(), json!({"type": "null"}));
        }
    }
    let mut object = json!({"type": "object", "properties": events});
    for kept in ["$schema", "$defs"] {
        if let Some(value) = schema.remove(kept) {
            object[kept] = value;
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Nothing, event};

    #[event]
    enum Event {
        /// Somebody came.
        Joined {
            person: String,
        },
        Named(String),
        Closed,
        Opened,
    }

    #[event]
    enum Single {
        Joined { person: String },
    }

    #[test]
    fn events_are_described_by_their_names() {
        let schema = by_name(schema::<Event>());
        let properties = schema["properties"].as_object().unwrap();
        let names: Vec<_> = properties.keys().map(String::as_str).collect();
        assert_eq!(names, ["closed", "joined", "named", "opened"]);
        assert_eq!(properties["joined"]["properties"]["person"]["type"], "string");
        assert_eq!(properties["closed"]["type"], "null");
        assert!(by_name(super::schema::<Single>())["properties"]["joined"].is_object());
    }

    #[test]
    fn no_events_are_an_object_without_properties() {
        assert_eq!(by_name(schema::<Nothing>())["properties"], json!({}));
    }
}
