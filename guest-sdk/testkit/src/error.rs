//! What can go wrong: before a test begins, and within one.

use althing_build::BuildError;
use althing_core::{program::Fault, transition::NotExecuted};
use althing_engine::{EngineError, PrepareError};

/// Why a test cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A crate does not build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The engine does not run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A component is not admitted.
    #[error("the component of {package} is not admitted")]
    Prepare {
        /// The crate's folder.
        package: String,
        /// The cause.
        #[source]
        source: PrepareError,
    },
    /// The host failed.
    #[error("the host failed")]
    Host(#[source] Fault),
    /// The program did not begin.
    #[error("`init` refused")]
    Init(#[source] Refused),
}

/// Why an operation or a query had no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The program said no.
    #[error("{code}: {message}")]
    Rejected {
        /// For programs.
        code: String,
        /// For people.
        message: String,
        /// Who: none for the reducer, else the validator's place.
        validator: Option<u32>,
    },
    /// The program failed.
    #[error("trapped, {code}: {message}")]
    Trapped {
        /// The kind of trap: `out-of-fuel`, `over-quota`, …
        code: &'static str,
        /// For people.
        message: String,
        /// Who: none for the reducer, else the validator's place.
        validator: Option<u32>,
    },
    /// The machine did not ask the program.
    #[error(transparent)]
    NotExecuted(#[from] NotExecuted),
}

impl Refused {
    /// The code of a rejection or a trap; empty when the program was not asked.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Rejected { code, .. } => code,
            Self::Trapped { code, .. } => code,
            Self::NotExecuted(_) => "",
        }
    }
}
