//! Bytes that are usually JSON or text: payloads, results, values, keys.

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::value::RawValue;
use std::{fmt, str};

/// Bytes in a program's own words. In JSON: themselves if they are JSON, else `{"text": …}`, else
/// `{"hex": …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Bytes);

/// A key. In JSON always a string: its text if it is printable, else `0x` and hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) Bytes);

impl Blob {
    fn text(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok()
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return serializer.serialize_none();
        }
        let Some(text) = self.text() else {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("hex", &hex::encode(&self.0))?;
            return map.end();
        };
        // A number or an order of fields is the program's own: nothing is parsed and written anew.
        if let Ok(json) = serde_json::from_str::<&RawValue>(text) {
            return json.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("text", text)?;
        map.end()
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => write!(f, "0x{}", hex::encode(&self.0)),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match str::from_utf8(&self.0) {
            Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => f.write_str(text),
            _ => write!(f, "0x{}", hex::encode(&self.0)),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Blob, Bytes, Key};

    fn json(bytes: &'static [u8]) -> String {
        serde_json::to_string(&Blob(Bytes::from_static(bytes))).unwrap()
    }

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        assert_eq!(json(br#"{"b":1,"a":18446744073709551617}"#), r#"{"b":1,"a":18446744073709551617}"#);
        assert_eq!(json(b"7"), "7");
        assert_eq!(json(b"hello"), r#"{"text":"hello"}"#);
        assert_eq!(json(b"\xff\x00"), r#"{"hex":"ff00"}"#);
        assert_eq!(json(b""), "null");
    }

    #[test]
    fn keys_are_always_strings() {
        assert_eq!(Key(Bytes::from_static(b"team/infra")).to_string(), "team/infra");
        assert_eq!(Key(Bytes::from_static(b"a\0b")).to_string(), "0x610062");
        assert_eq!(serde_json::to_string(&Key(Bytes::from_static(b"\xfe"))).unwrap(), r#""0xfe""#);
    }
}
