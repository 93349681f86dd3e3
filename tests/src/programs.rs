//! What the reducers of the repository understand, in the words of the wire.

use bytes::Bytes;
use serde_json::{Value, json};

/// Adds to a counter.
#[must_use]
pub fn add(name: &str, amount: i64) -> Bytes {
    payload(&json!({ "op": "add", "name": name, "amount": amount }))
}

/// Asks for a counter's total.
#[must_use]
pub fn total(name: &str) -> Bytes {
    payload(&json!({ "query": "total", "name": name }))
}

/// Takes a lock.
#[must_use]
pub fn acquire(lock: &str, ttl_millis: u64) -> Bytes {
    payload(&json!({ "op": "acquire", "lock": lock, "ttl_millis": ttl_millis }))
}

/// One of the verbs of `hostile`.
#[must_use]
pub fn hostile(verb: &str) -> Bytes {
    payload(&json!({ "op": verb }))
}

/// JSON as bytes.
#[must_use]
pub fn payload(value: &Value) -> Bytes {
    value.to_string().into()
}
