//! Whether a component may be a community's law: size, structure, features, imports, exports.
//!
//! Cheap (one pass of the validator) and deterministic, so it can be asked at upload and again
//! before compilation. It promises that whatever is admitted is understood by `depth` and
//! linked by `host`. It knows nothing of the compiler.

mod bounds;
mod error;
mod survey;
mod world;

pub use error::AdmissionError;
pub(crate) use survey::{FunctionPlan, ModulePlan, Survey};
pub use world::Kind;
pub(crate) use world::{MIGRATION, REDUCTION, VALIDATION};

use crate::depth;
use althing_core::limits::COMPONENT_BYTES_MAX;
use wasmparser::{Encoding, Parser, Payload};

/// A component that may be compiled.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// What it is.
    pub kind: Kind,
    /// The component with the depth limit in every core module: what is compiled.
    pub instrumented: Vec<u8>,
    /// Linear memory its instances begin with, in bytes.
    pub memory_bytes: u64,
    /// What every function may use of the native stack: checked after compilation.
    pub(crate) survey: Survey,
}

/// Checks a component and puts the depth limit into it.
///
/// # Errors
/// The first reason to refuse it.
pub fn admit(bytes: &[u8]) -> Result<Admitted, AdmissionError> {
    let size = bytes.len() as u64;
    if size > COMPONENT_BYTES_MAX {
        return Err(AdmissionError::TooBig { bytes: size, bytes_max: COMPONENT_BYTES_MAX });
    }
    check_encoding(bytes)?;
    let survey = survey::survey(bytes)?;
    let kind = world::kind(&survey)?;
    let instrumented = depth::instrument(bytes, &survey)?;
    Ok(Admitted { kind, instrumented, memory_bytes: survey.memory_bytes, survey })
}

/// A core module is the likeliest mistake, so it has an error of its own.
fn check_encoding(bytes: &[u8]) -> Result<(), AdmissionError> {
    match Parser::new(0).parse_all(bytes).next() {
        Some(Ok(Payload::Version { encoding: Encoding::Component, .. })) => Ok(()),
        Some(Ok(Payload::Version { encoding: Encoding::Module, .. })) => Err(AdmissionError::CoreModule),
        Some(Err(error)) => Err(malformed(&error)),
        Some(Ok(_)) | None => Err(AdmissionError::Malformed { what: "it has no header".into() }),
    }
}

fn malformed(error: &wasmparser::Error) -> AdmissionError {
    AdmissionError::Malformed { what: error.to_string() }
}
