//! Whether a half of the store still works.
//!
//! The first error of a writer is final: after a failed fsync nobody knows what the disk holds, and
//! trying again would only seem to succeed.

use crate::port::StoreError;
use std::sync::Arc;
use tokio::sync::watch;

/// One half's health: well, or failed for good.
#[derive(Clone)]
pub(super) struct Health {
    half: &'static str,
    failure: watch::Sender<Option<Arc<str>>>,
}

/// Why a half failed, as everybody is told who asks later.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(Arc<str>);

impl Health {
    /// A half that is well; `half` names it in errors.
    pub(super) fn new(half: &'static str) -> Self {
        Self { half, failure: watch::Sender::new(None) }
    }

    /// The half failed for good.
    pub(super) fn fail(&self, error: &(dyn std::error::Error + 'static)) {
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            why = format!("{why}: {source}");
            cause = source.source();
        }
        tracing::error!(half = self.half, why, "the store failed and accepts nothing more");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| why.into());
            first
        });
    }

    /// An error if the half has failed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match &*self.failure.borrow() {
            None => Ok(()),
            Some(why) => Err(self.error(why)),
        }
    }

    /// What to tell someone whose request the writer will never answer.
    pub(super) fn refusal(&self) -> StoreError {
        self.check().err().unwrap_or(StoreError::Closed)
    }

    /// Waits until the half has failed.
    pub(super) async fn failed(&self) -> StoreError {
        let mut failure = self.failure.subscribe();
        let why = failure.wait_for(Option::is_some).await;
        let why = why.expect("the sender lives as long as this health").clone().unwrap_or_default();
        self.error(&why)
    }

    fn error(&self, why: &Arc<str>) -> StoreError {
        let what = format!("the {} failed and accepts nothing more", self.half);
        StoreError::Io { what, source: Box::new(Failure(why.clone())) }
    }
}
