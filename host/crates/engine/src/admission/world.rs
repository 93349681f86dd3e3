//! Which world of `althing:reducer@0.1.0` a component was built for.
//!
//! Told by what it exports; what it imports must be on that world's list. Signatures are checked
//! when it is linked, names here, because a missing name is the mistake that people make.

use super::{AdmissionError, Survey};

/// What a component can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// Worlds `reducer` and `migrating-reducer`.
    Reducer {
        /// Whether it exports `migration`.
        migrates: bool,
    },
    /// World `validator`.
    Validator,
}

pub(crate) const REDUCTION: &str = "althing:reducer/reduction@0.1.0";
pub(crate) const MIGRATION: &str = "althing:reducer/migration@0.1.0";
pub(crate) const VALIDATION: &str = "althing:reducer/validation@0.1.0";

const REDUCER_IMPORTS: [&str; 5] = ["types", "state", "events", "timers", "log"];
const VALIDATOR_IMPORTS: [&str; 4] = ["types", "state", "before", "log"];
const REDUCTION_FUNCTIONS: [&str; 5] = ["describe", "init", "reduce", "on-timer", "query"];

/// The kind, once every import is allowed and every export there.
pub(super) fn kind(survey: &Survey) -> Result<Kind, AdmissionError> {
    let exports = |interface: &str| survey.exports.contains_key(interface);
    let kind = match (exports(REDUCTION), exports(VALIDATION)) {
        (true, true) => return Err(AdmissionError::TwoWorlds),
        (true, false) => Kind::Reducer { migrates: exports(MIGRATION) },
        (false, true) => Kind::Validator,
        (false, false) => {
            check_imports(survey, &["types", "state", "before", "events", "timers", "log"])?;
            return Err(AdmissionError::WrongWorld { missing: REDUCTION.into() });
        }
    };
    match kind {
        Kind::Reducer { migrates } => {
            check_imports(survey, &REDUCER_IMPORTS)?;
            check_functions(survey, REDUCTION, &REDUCTION_FUNCTIONS)?;
            if migrates {
                check_functions(survey, MIGRATION, &["migrate"])?;
            }
        }
        Kind::Validator => {
            check_imports(survey, &VALIDATOR_IMPORTS)?;
            check_functions(survey, VALIDATION, &["describe", "validate"])?;
        }
    }
    Ok(kind)
}

fn check_imports(survey: &Survey, interfaces: &[&str]) -> Result<(), AdmissionError> {
    let allowed: Vec<String> =
        interfaces.iter().map(|name| format!("althing:reducer/{name}@0.1.0")).collect();
    match survey.imports.iter().find(|import| !allowed.contains(import)) {
        None => Ok(()),
        Some(import) => {
            Err(AdmissionError::ForbiddenImport { import: import.clone(), allowed: allowed.join(", ") })
        }
    }
}

fn check_functions(survey: &Survey, interface: &str, functions: &[&str]) -> Result<(), AdmissionError> {
    let exported = survey.exports.get(interface).map_or(&[][..], Vec::as_slice);
    match functions.iter().find(|function| !exported.iter().any(|name| name == *function)) {
        None => Ok(()),
        Some(function) => Err(AdmissionError::WrongWorld { missing: format!("{interface}#{function}") }),
    }
}
