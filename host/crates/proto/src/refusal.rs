//! [`Refusal`] inside of a stream, where a status would end it: [`v1::Failure`].

use crate::{status::tonic_code, v1};
use althing_core::refusal::{Code, Refusal, Retry};

impl From<Refusal> for v1::Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: tonic_code(refusal.code).into(),
            code: refusal.code.text().to_owned(),
            message: refusal.message,
            retryable: refusal.code.retry() != Retry::Never,
            data: refusal.data.into_iter().collect(),
        }
    }
}

impl From<v1::Failure> for Refusal {
    /// A code of a newer server is taken for the known one that allows the same.
    fn from(failure: v1::Failure) -> Self {
        let v1::Failure { status: _, code, message, retryable, data } = failure;
        let known = Code::from_text(&code);
        let code_data = known.is_none().then_some(("code".to_owned(), code));
        let instead = if retryable { Code::UnknownOutcome } else { Code::BadRequest };
        Self { code: known.unwrap_or(instead), message, data: data.into_iter().chain(code_data).collect() }
    }
}
