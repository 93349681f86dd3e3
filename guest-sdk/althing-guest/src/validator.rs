//! What the author of a validator implements.

use crate::{
    context::Context,
    data::{self, Data},
    rejection::{Rejected, Rejection},
};
use serde::de::DeserializeOwned;

/// A watch over another's decisions. It reads the state after the operation through the same maps
/// and values as the reducer (`ACCOUNTS.get(…)`), and the state before it by `ACCOUNTS.before()`.
///
/// Write `#[validator]` above the implementation.
pub trait Validator: 'static {
    /// What the community sets when it installs the validator.
    type Config: Data;
    /// The operations it looks at: the reducer's type, or one that reads the same JSON.
    type Operation: Data;
    /// How it says no.
    type Rejection: Rejection;

    /// A short name, at most 64 bytes.
    const NAME: &'static str;
    /// The author's version.
    const VERSION: &'static str;

    /// Looks at an operation that the reducer accepted, and at what it would change.
    ///
    /// # Errors
    /// A rejection undoes the operation.
    fn validate(
        cx: &Context,
        config: &Self::Config,
        operation: &Self::Operation,
        change: &Change,
    ) -> Result<(), Self::Rejection>;

    /// Looks at what a timer would change. Agrees unless written.
    ///
    /// # Errors
    /// A rejection undoes what the timer did.
    fn validate_timer(
        _cx: &Context,
        _config: &Self::Config,
        _change: &Change,
    ) -> Result<(), Self::Rejection> {
        Ok(())
    }
}

/// What an accepted operation would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The result that the client would be told, as JSON; see [`Self::result`].
    pub result: Vec<u8>,
    /// The last write of each key, ascending; `Map::changed` reads them by type.
    pub writes: Vec<Write>,
    /// The events' names and data, in the order of their emission.
    pub events: Vec<(String, Vec<u8>)>,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Vec<u8>,
    /// The new value; none when the key is deleted.
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// The result that the client would be told.
    ///
    /// # Errors
    /// A rejection with the code `invalid-result` when it is no `T`.
    pub fn result<T: DeserializeOwned>(&self) -> Result<T, Rejected> {
        data::decode("result", &self.result)
    }
}
