//! What crosses the border of a guest: any type that has JSON and a JSON Schema.

use crate::rejection::Rejected;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::Value;
use std::borrow::Cow;

/// Data with JSON and a schema. Never implemented by hand: `#[operation]`, `#[query]`, `#[event]`,
/// `#[config]` and `#[data]` derive what it takes, and so does plain serde with schemars.
pub trait Data: Serialize + DeserializeOwned + JsonSchema {}

impl<T: Serialize + DeserializeOwned + JsonSchema> Data for T {}

/// What there is none of: the events of a reducer that emits none, the queries of one that answers
/// none. It has no value, and its schema admits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {}

impl Serialize for Nothing {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("this reducer knows none"))
    }
}

impl JsonSchema for Nothing {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Nothing".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(false)
    }
}

/// JSON of a value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| {
        panic!("{} has no JSON ({error}): maps need keys that are texts", std::any::type_name::<T>())
    })
}

/// The value of a JSON text that came from outside; `what` it should be names the rejection.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, Rejected> {
    // No bytes at all stand for nothing said.
    let json = if json.is_empty() { b"null" } else { json };
    serde_json::from_slice(json).map_err(|error| {
        let place = culprit::<T>(json, &error).map(|key| format!("in `{key}`: ")).unwrap_or_default();
        Rejected::new(&format!("invalid-{what}"), format!("this is no valid {what}: {place}{error}"))
    })
}

/// Most keys that are tried: who sends more has other troubles.
const CULPRIT_KEYS_MAX: usize = 32;

/// The key of a JSON object whose value does not fit, when the error does not say.
///
/// An enum that is told by a key within it is read in two steps, and serde forgets in between where it
/// was: "invalid type: string, expected i64". So each value is replaced in turn, in the order in which
/// they are read. The first value that does not fit ends the reading: no replacement after it makes a
/// difference, and its own does. The last that makes a difference is the culprit.
fn culprit<T: DeserializeOwned>(json: &[u8], error: &serde_json::Error) -> Option<String> {
    if !error.to_string().starts_with("invalid ") {
        return None;
    }
    let object: Object = serde_json::from_slice(json).ok()?;
    if object.len() > CULPRIT_KEYS_MAX {
        return None;
    }
    let first = complaint::<T>(&object);
    let differs = |key: &&String| {
        let mut replaced = object.clone();
        let value = &mut replaced[*key];
        *value = if value.is_null() { Value::Array(Vec::new()) } else { Value::Null };
        let complaint = complaint::<T>(&replaced);
        // The key that tells the variant is read before all others, wherever it stands.
        complaint != first && !complaint.is_some_and(|complaint| complaint.ends_with("variant identifier"))
    };
    object.keys().rfind(differs).cloned()
}

type Object = serde_json::Map<String, Value>;

/// What is wrong with an object, without the place in the text.
fn complaint<T: DeserializeOwned>(object: &Object) -> Option<String> {
    let error = serde_json::from_slice::<T>(&encode(object)).err()?.to_string();
    Some(error.split(" at line ").next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, operation};

    #[operation]
    enum Operation {
        Add { name: String, amount: i64, times: Option<u8> },
    }

    #[config]
    struct Config {
        name: String,
        limit: u64,
    }

    fn message<T: DeserializeOwned>(json: &str) -> String {
        decode::<T>("operation", json.as_bytes()).err().expect(json).message
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        for (json, expected) in [
            (
                r#"{"op":"add","name":"a","amount":"1"}"#,
                "in `amount`: invalid type: string \"1\", expected i64",
            ),
            (r#"{"amount":1.5,"op":"add","name":"a"}"#, "in `amount`: invalid type: floating point"),
            (
                r#"{"op":"add","name":7,"amount":1}"#,
                "in `name`: invalid type: integer `7`, expected a string",
            ),
            (r#"{"op":"add","name":"a","amount":1,"times":256}"#, "in `times`: invalid value: integer `256`"),
            (r#"{"op":"add","name":null,"amount":1}"#, "in `name`: invalid type: null, expected a string"),
        ] {
            assert!(message::<Operation>(json).contains(expected), "{json}: {}", message::<Operation>(json));
        }
        let limit = message::<Config>(r#"{"name":"a","limit":-1}"#);
        assert!(limit.contains("in `limit`: invalid value: integer `-1`, expected u64"), "{limit}");
    }

    #[test]
    fn what_names_itself_is_left_as_it_is() {
        let missing = message::<Operation>(r#"{"op":"add","name":"a"}"#);
        assert!(missing.contains("operation: missing field `amount`"), "{missing}");
        let unknown = message::<Operation>(r#"{"op":"sub"}"#);
        assert!(unknown.contains("operation: unknown variant `sub`, expected `add`"), "{unknown}");
        assert!(message::<Operation>("[]").contains("operation: "));
    }
}
