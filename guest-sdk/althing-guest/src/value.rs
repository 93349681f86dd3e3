//! One value of the state, by type.

use crate::{
    data::{Data, encode},
    host,
    source::{Before, Marker, Now, Source},
};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// One value: `const OWNER: Value<String> = Value::new("owner");`.
///
/// Its key in the state is its name, its bytes are JSON: readable in `althing state`, by programs in
/// other languages and by the next version of this one.
#[derive(Debug)]
pub struct Value<T, S = Now> {
    name: &'static str,
    marker: Marker<(T, S)>,
}

impl<T> Value<T> {
    /// The value of this name: lower-case letters, digits and `-`, with no other of the name.
    ///
    /// # Panics
    /// On another name, when the author compiles.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        check_name(name);
        Self { name, marker: PhantomData }
    }

    /// The same value as it was before the operation. For validators.
    #[must_use]
    pub const fn before(&self) -> Value<T, Before> {
        Value { name: self.name, marker: PhantomData }
    }

    /// Sets it.
    pub fn set(&self, value: &T)
    where
        T: Data,
    {
        host::set(self.name.as_bytes(), &encode(value));
    }

    /// Takes it away; nothing happens when there is none.
    pub fn delete(&self) {
        host::delete(self.name.as_bytes());
    }

    /// Sets what `change` makes of it, and gives that back.
    pub fn update(&self, change: impl FnOnce(Option<T>) -> T) -> T
    where
        T: Data,
    {
        let value = change(self.get());
        self.set(&value);
        value
    }
}

impl<T: DeserializeOwned, S: Source> Value<T, S> {
    /// The value, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<T> {
        S::get(self.name.as_bytes()).map(|bytes| stored(self.name, &bytes))
    }

    /// The value; when there is none, its type's default.
    #[must_use]
    pub fn get_or_default(&self) -> T
    where
        T: Default,
    {
        self.get().unwrap_or_default()
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        S::get(self.name.as_bytes()).is_some()
    }
}

/// Refuses, at compile time, a name that could be taken for part of another's keys.
pub(crate) const fn check_name(name: &str) {
    let bytes = name.as_bytes();
    assert!(!bytes.is_empty() && bytes.len() <= 64, "a name in the state has 1 to 64 bytes");
    let mut index = 0;
    while index < bytes.len() {
        let byte = bytes[index];
        assert!(
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-',
            "a name in the state is made of a-z, 0-9 and `-`"
        );
        index += 1;
    }
}

/// A value that this program, or an earlier version, has stored.
pub(crate) fn stored<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> T {
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        panic!(
            "what the state holds under {name:?} is no {} ({error}): has its type changed without a migration?",
            std::any::type_name::<T>()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    #[should_panic(expected = "made of a-z")]
    fn a_name_with_a_slash_is_refused() {
        check_name("a/b");
    }

    #[test]
    #[should_panic(expected = "1 to 64")]
    fn an_empty_name_is_refused() {
        check_name("");
    }
}
