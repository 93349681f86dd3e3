//! [`Refusal`] as a gRPC status, and back. The one table of codes is here ([`tonic_code`]); what it
//! says for people is in `docs/reference/errors.md`, which a test keeps in step.
//!
//! The refusal travels in `google.rpc.ErrorInfo`: `reason` is the code, `metadata` the data and one
//! more entry, `retry`, for foreign clients.

use althing_core::refusal::{Code, Refusal, Retry};
use std::collections::{BTreeMap, HashMap};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

/// The `domain` of the `ErrorInfo`.
pub const DOMAIN: &str = "althing";

/// The name of the metadata entry that says whether the request may be sent again.
const RETRY: &str = "retry";

/// The gRPC code of each of ours: what a client without our table should do.
#[must_use]
pub const fn tonic_code(code: Code) -> tonic::Code {
    use tonic::Code as Grpc;
    match code {
        Code::BadRequest
        | Code::TooLarge
        | Code::BadPolicy
        | Code::BadComponent
        | Code::BadConfig
        | Code::BadMembers => Grpc::InvalidArgument,
        Code::NoCommunity | Code::NoNode | Code::NoReplica | Code::NoComponent | Code::NoSnapshot => {
            Grpc::NotFound
        }
        Code::CommunityExists => Grpc::AlreadyExists,
        Code::NoProgram | Code::NoSession | Code::Acknowledged | Code::Mismatch | Code::SnapshotNeeded => {
            Grpc::FailedPrecondition
        }
        Code::HistoryGone => Grpc::OutOfRange,
        Code::ReplicaStopped | Code::NoLeader | Code::ShuttingDown | Code::NotReached | Code::NotHeld => {
            Grpc::Unavailable
        }
        Code::Busy | Code::NoSpace | Code::WindowFull | Code::BatchFull | Code::TooManySessions => {
            Grpc::ResourceExhausted
        }
        Code::OutOfOrder | Code::TooSlow | Code::MembersChanging => Grpc::Aborted,
        Code::TimedOut => Grpc::DeadlineExceeded,
        Code::UnknownOutcome => Grpc::Unknown,
        Code::Internal => Grpc::Internal,
    }
}

/// How [`Retry`] is written.
#[must_use]
pub const fn retry_text(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Safe => "safe",
        Retry::Named => "named",
    }
}

/// The status that tells of `refusal`.
#[must_use]
pub fn status(refusal: &Refusal) -> Status {
    let mut metadata = refusal.data.clone();
    metadata.insert(RETRY.to_owned(), retry_text(refusal.code.retry()).to_owned());
    let metadata: HashMap<_, _> = metadata.into_iter().collect();
    let details = ErrorDetails::with_error_info(refusal.code.text(), DOMAIN, metadata);
    Status::with_error_details(tonic_code(refusal.code), refusal.message.clone(), details)
}

/// The refusal that a status tells of. One that a node did not write (it comes from the transport,
/// or from something in between) becomes the nearest that allows no more than is safe.
#[must_use]
pub fn refusal(status: &Status) -> Refusal {
    told(status).unwrap_or_else(|| {
        let name = format!("{:?}", status.code());
        let message = match status.message() {
            "" => format!("the connection or the server failed ({})", status.code().description()),
            message => message.to_owned(),
        };
        Refusal::new(foreign(status.code()), message).with("grpc", name)
    })
}

/// What one of our nodes told.
fn told(status: &Status) -> Option<Refusal> {
    let info = status.get_details_error_info()?;
    if info.domain != DOMAIN {
        return None;
    }
    let mut data: BTreeMap<_, _> = info.metadata.into_iter().collect();
    let retry = data.remove(RETRY);
    let code = Code::from_text(&info.reason).unwrap_or_else(|| {
        data.insert("code".to_owned(), info.reason);
        newer(retry.as_deref())
    });
    Some(Refusal { code, message: status.message().to_owned(), data })
}

/// Stands for a code of a newer server: the known one that allows the same.
fn newer(retry: Option<&str>) -> Code {
    match retry {
        Some("safe") => Code::Busy,
        Some("named") => Code::UnknownOutcome,
        _ => Code::BadRequest,
    }
}

/// Stands for a status without our details.
const fn foreign(code: tonic::Code) -> Code {
    use tonic::Code as Grpc;
    match code {
        Grpc::DeadlineExceeded => Code::TimedOut,
        Grpc::OutOfRange => Code::TooLarge,
        // A connection that broke says nothing about what became of the request.
        Grpc::Ok
        | Grpc::Cancelled
        | Grpc::Unknown
        | Grpc::Unavailable
        | Grpc::ResourceExhausted
        | Grpc::Aborted => Code::UnknownOutcome,
        Grpc::Internal | Grpc::DataLoss => Code::Internal,
        Grpc::InvalidArgument
        | Grpc::NotFound
        | Grpc::AlreadyExists
        | Grpc::PermissionDenied
        | Grpc::Unauthenticated
        | Grpc::FailedPrecondition
        | Grpc::Unimplemented => Code::BadRequest,
    }
}
