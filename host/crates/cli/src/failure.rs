//! How an error is told: what was wrong and why, its stable code, what to do, and the exit code.

use crate::output::Output;
use althing_client::{CallError, ConnectError, PipelineError, SubmitError, SubscribeError};
use althing_core::refusal::{Code, Retry};
use althing_proto::advice::advice;
use althing_store::sqlite::inspect::InspectError;
use serde::Serialize;
use std::{error::Error, fmt, io, process::ExitCode};

/// How a process that failed ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "u8")]
pub(crate) enum Exit {
    Failed,
    Usage,
    ProgramSaidNo,
    TryLater,
    Unknown,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::ProgramSaidNo => 3,
            Exit::TryLater => 4,
            Exit::Unknown => 5,
        }
    }
}

/// The program rejected or trapped; its answer has been printed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ProgramSaidNo(pub(crate) String);

/// The arguments make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// What is told.
#[derive(Debug, Serialize)]
struct Told {
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    because: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "try")]
    remedy: Option<&'static str>,
    exit: Exit,
}

/// Tells an error on stderr, and how the process is to end.
pub(crate) fn tell(error: &anyhow::Error, output: Output) -> ExitCode {
    if nobody_reads(error) {
        return ExitCode::SUCCESS;
    }
    let told = Told::of(error);
    match output {
        Output::Text => eprint!("{told}"),
        Output::Json => eprintln!("{}", serde_json::json!({ "error": told })),
    }
    ExitCode::from(u8::from(told.exit))
}

/// Whether stdout was closed, as by `head`: then there is nobody to tell.
fn nobody_reads(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}

impl Told {
    fn of(error: &anyhow::Error) -> Self {
        let mut lines: Vec<String> = error.chain().map(ToString::to_string).collect();
        lines.dedup();
        let message = lines.remove(0);
        // A context is an error only to `is`: in the chain it is hidden in a wrapper.
        let misused = error.is::<Usage>().then_some((None, Exit::Usage));
        let (code, exit) = misused.or_else(|| error.chain().find_map(known)).unwrap_or((None, Exit::Failed));
        // What the doctor says tells what to do, and no node is asked.
        let says_itself = error.is::<InspectError>();
        let remedy = code.map(|code| advice(code).remedy).or_else(|| remedy(exit).filter(|_| !says_itself));
        Self { message, because: lines, code: code.map(Code::text), remedy, exit }
    }
}

fn remedy(exit: Exit) -> Option<&'static str> {
    match exit {
        Exit::Usage => Some("`--help` explains."),
        Exit::TryLater => Some("Is the node running? `--server` (or ALTHING_SERVER) says where to look."),
        Exit::Failed | Exit::ProgramSaidNo | Exit::Unknown => None,
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        for cause in &self.because {
            writeln!(f, "  because: {cause}")?;
        }
        if let Some(code) = self.code {
            writeln!(f, "  code: {code}")?;
        }
        if let Some(remedy) = self.remedy {
            writeln!(f, "  try: {remedy}")?;
        }
        Ok(())
    }
}

/// The code and the exit of an error that is known here.
fn known(error: &(dyn Error + 'static)) -> Option<(Option<Code>, Exit)> {
    if error.is::<ProgramSaidNo>() {
        return Some((None, Exit::ProgramSaidNo));
    }
    if error.is::<Usage>() {
        return Some((None, Exit::Usage));
    }
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        let unreachable = matches!(error, ConnectError::Unreachable { .. });
        return Some((None, if unreachable { Exit::TryLater } else { Exit::Usage }));
    }
    if let Some(error) = error.downcast_ref::<InspectError>() {
        let is_in_use = matches!(error, InspectError::InUse { .. });
        return Some((None, if is_in_use { Exit::TryLater } else { Exit::Usage }));
    }
    if let Some(error) = error.downcast_ref::<SubmitError>() {
        let exit = match error {
            SubmitError::Refused(_) => Exit::Failed,
            SubmitError::NotExecuted { .. } => Exit::TryLater,
            SubmitError::Unknown { .. } => Exit::Unknown,
        };
        return Some((error.code(), exit));
    }
    if let Some(error) = error.downcast_ref::<PipelineError>() {
        let refused = error.last.retry() == Retry::Never;
        return Some((error.code(), if refused { Exit::Failed } else { Exit::Unknown }));
    }
    if let Some(SubscribeError::Stopped { last, .. }) = error.downcast_ref::<SubscribeError>() {
        return Some(of_call(last));
    }
    error.downcast_ref::<CallError>().map(of_call)
}

fn of_call(error: &CallError) -> (Option<Code>, Exit) {
    let exit = match error.retry() {
        Retry::Never => Exit::Failed,
        Retry::Safe => Exit::TryLater,
        Retry::Named => Exit::Unknown,
    };
    (error.code(), exit)
}

#[cfg(test)]
mod tests {
    use super::{ProgramSaidNo, Told, Usage};
    use althing_client::{CallError, SubmitError};
    use althing_core::{
        ids::OperationNumber,
        refusal::{Code, Refusal},
    };
    use anyhow::anyhow;
    use serde_json::json;

    fn refused(code: Code) -> CallError {
        CallError::Refused(Refusal::new(code, "what was wrong"))
    }

    #[test]
    fn a_refusal_is_told_with_its_code_and_what_to_do() {
        let told = Told::of(&anyhow::Error::from(refused(Code::NoCommunity)));
        let wanted =
            "error: what was wrong\n  code: no-community\n  try: `althing community list` lists them.\n";
        assert_eq!(told.to_string(), wanted);
    }

    #[test]
    fn json_has_the_same() {
        let last = refused(Code::UnknownOutcome);
        let error = SubmitError::Unknown { number: OperationNumber(4), attempts: 2, last };
        let told = serde_json::to_value(Told::of(&anyhow::Error::from(error))).unwrap();
        assert_eq!(told["code"], json!("unknown-outcome"));
        assert_eq!(told["because"], json!(["what was wrong"]));
        assert_eq!(told["exit"], json!(5));
    }

    #[test]
    fn exit_codes_tell_apart_what_to_do_next() {
        let exit = |error: anyhow::Error| u8::from(Told::of(&error).exit);
        assert_eq!(exit(anyhow!("anything")), 1);
        assert_eq!(exit(refused(Code::NoProgram).into()), 1);
        assert_eq!(exit(ProgramSaidNo("no".into()).into()), 3);
        assert_eq!(exit(refused(Code::NoLeader).into()), 4);
        assert_eq!(exit(anyhow!("no such file").context(Usage("it cannot be read".into()))), 2);
        assert_eq!(exit(refused(Code::TimedOut).into()), 5);
        assert_eq!(exit(anyhow::Error::from(refused(Code::NoLeader)).context("outer")), 4);
    }
}
