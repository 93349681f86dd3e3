//! What an author implements.

use crate::{
    context::{Context, Timestamp},
    data::{self, Data},
    host,
    rejection::Rejection,
};

/// When a guest's memory begins anew. State belongs in the state under both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A fresh instance for each operation.
    PerOperation,
    /// One instance for the operations of one batch: about twenty times cheaper. Keep nothing in
    /// statics; the test kit finds out.
    PerBatch,
}

/// A community's law: decides operations, answers queries, hears timers.
///
/// Write `#[reducer]` above the implementation: it reads the types off the functions, so that only
/// `type Event` is ever needed, and exports the component. All functions but `reduce` may be left
/// out. Whatever a call wrote, emitted or scheduled is undone when it rejects or panics.
pub trait Reducer: 'static {
    /// What the community sets when it installs the program.
    type Config: Data;
    /// What clients submit.
    type Operation: Data;
    /// What they are told when it is accepted.
    type Result: Data;
    /// What clients ask.
    type Query: Data;
    /// What they are told.
    type Answer: Data;
    /// What subscribers are told: an `#[event]` enum.
    type Event: Data;
    /// What timers carry.
    type Timer: Data;
    /// How this reducer says no.
    type Rejection: Rejection;

    /// A short name, at most 64 bytes.
    const NAME: &'static str;
    /// The author's version of the program.
    const VERSION: &'static str;
    /// When memory begins anew.
    const SCOPE: Scope;

    /// Begins a community: called once, when its first program is activated.
    ///
    /// # Errors
    /// A rejection keeps the program from becoming the community's law.
    fn init(_cx: &Context, _config: Self::Config) -> Result<(), Self::Rejection> {
        Ok(())
    }

    /// Decides one operation.
    ///
    /// # Errors
    /// A rejection undoes everything the call did.
    fn reduce(cx: &Context, operation: Self::Operation) -> Result<Self::Result, Self::Rejection>;

    /// Answers a question from the state. Writing here traps.
    ///
    /// # Errors
    /// A rejection is what the client is told instead.
    fn query(_cx: &Context, _query: Self::Query) -> Result<Self::Answer, Self::Rejection> {
        unreachable!("without a `fn query` there are no queries")
    }

    /// A timer has fired.
    ///
    /// # Errors
    /// A rejection undoes what this call did; the timer is consumed.
    fn on_timer(_cx: &Context, _timer: Self::Timer) -> Result<(), Self::Rejection> {
        unreachable!("without a `fn on_timer` there are no timers")
    }

    /// Tells subscribers something. They hear it if, and only if, the operation is accepted.
    fn emit(event: Self::Event) {
        let (name, data) = split_event(data::encode(&event));
        host::emit(&name, &data);
    }

    /// Sets the timer `id` (1 to 256 bytes) to call [`Self::on_timer`] at the first batch whose time
    /// is not before `at`, in place of the one of that id, if it is set.
    fn schedule(id: impl AsRef<[u8]>, at: Timestamp, timer: Self::Timer) {
        host::schedule(id.as_ref(), at, &data::encode(&timer));
    }

    /// Takes a timer back; false when none of that id is set.
    #[must_use = "false says that the timer was not set"]
    fn cancel(id: impl AsRef<[u8]>) -> bool {
        host::cancel(id.as_ref())
    }
}

/// A reducer that can take over from an earlier version of itself, or from another program.
///
/// Write `fn migrate` among the functions of `#[reducer] impl Reducer for …`; the macro makes this
/// implementation of it.
pub trait Migrate: Reducer {
    /// Runs once, over the live state, when this program replaces the one of `from_version`.
    ///
    /// # Errors
    /// A rejection, or a panic, keeps the old program and the old state.
    fn migrate(cx: &Context, from_version: &str, config: Self::Config) -> Result<(), Self::Rejection>;
}

/// Splits an event's JSON, `"name"` or `{"name":data}`, into name and data.
///
/// It is ours: serde writes enums so, without blanks, and names of Rust's need no escapes.
fn split_event(json: Vec<u8>) -> (String, Vec<u8>) {
    let json = String::from_utf8(json).expect("JSON is UTF-8");
    let split = match json.strip_prefix("{\"").and_then(|rest| rest.strip_suffix('}')) {
        Some(pair) => pair.split_once("\":"),
        None => json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(|name| (name, "null")),
    };
    let (name, data) =
        split.unwrap_or_else(|| panic!("{json} is no event: events are an enum made by #[event]"));
    (name.to_owned(), data.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(json: &str) -> (String, String) {
        let (name, data) = split_event(json.as_bytes().to_vec());
        (name, String::from_utf8(data).unwrap())
    }

    #[test]
    fn an_event_is_its_name_and_its_data() {
        assert_eq!(split(r#"{"moved":{"to":"a\":b}"}}"#), ("moved".into(), r#"{"to":"a\":b}"}"#.into()));
        assert_eq!(split(r#""closed""#), ("closed".into(), "null".into()));
        assert_eq!(split(r#"{"named":"x"}"#), ("named".into(), r#""x""#.into()));
    }

    #[test]
    #[should_panic(expected = "is no event")]
    fn a_number_is_no_event() {
        split("1");
    }
}
