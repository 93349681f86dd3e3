//! From bytes to types and back, for each function of the contract: the same for a component and for
//! a test on the author's machine.

use crate::{
    context::Context,
    data,
    reducer::{Migrate, Reducer},
    rejection::{Rejected, Rejection},
    validator::{Change, Validator},
};

pub use crate::describe::{reducer as describe, validator_config};

/// Begins a community.
///
/// # Errors
/// The reducer's rejection, or `invalid-config`.
pub fn init<R: Reducer>(cx: &Context, config: &[u8]) -> Result<(), Rejected> {
    let config = data::decode("config", config)?;
    R::init(cx, config).map_err(Rejection::into_rejected)
}

/// Decides an operation; its result is JSON.
///
/// # Errors
/// The reducer's rejection, or `invalid-operation`.
pub fn reduce<R: Reducer>(cx: &Context, operation: &[u8]) -> Result<Vec<u8>, Rejected> {
    let operation = data::decode("operation", operation)?;
    R::reduce(cx, operation).map(|result| data::encode(&result)).map_err(Rejection::into_rejected)
}

/// Answers a question; its answer is JSON.
///
/// # Errors
/// The reducer's rejection, or `invalid-query`.
pub fn query<R: Reducer>(cx: &Context, query: &[u8]) -> Result<Vec<u8>, Rejected> {
    let query = data::decode("query", query)?;
    R::query(cx, query).map(|answer| data::encode(&answer)).map_err(Rejection::into_rejected)
}

/// Hears a timer.
///
/// # Errors
/// The reducer's rejection, or `invalid-timer` for one that an earlier version of it has set.
pub fn on_timer<R: Reducer>(cx: &Context, payload: &[u8]) -> Result<(), Rejected> {
    let timer = data::decode("timer", payload)?;
    R::on_timer(cx, timer).map_err(Rejection::into_rejected)
}

/// Takes over from another version.
///
/// # Errors
/// The reducer's rejection, or `invalid-config`.
pub fn migrate<R: Migrate>(cx: &Context, from_version: &str, config: &[u8]) -> Result<(), Rejected> {
    let config = data::decode("config", config)?;
    R::migrate(cx, from_version, config).map_err(Rejection::into_rejected)
}

/// Looks at what an operation, or a timer, would change.
///
/// # Errors
/// The validator's rejection, `invalid-config` or `invalid-operation`.
pub fn validate<V: Validator>(
    cx: &Context,
    config: &[u8],
    operation: &[u8],
    change: &Change,
) -> Result<(), Rejected> {
    let config = data::decode("config", config)?;
    if cx.is_internal() {
        return V::validate_timer(cx, &config, change).map_err(Rejection::into_rejected);
    }
    let operation = data::decode("operation", operation)?;
    V::validate(cx, &config, &operation, change).map_err(Rejection::into_rejected)
}
