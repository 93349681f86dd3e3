//! A refusal survives the way through a status and through a stream's failure; a status that no node
//! wrote allows no more than is safe.

use althing_core::refusal::{Code, Refusal, Retry};
use althing_proto::{status, v1};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

#[test]
fn every_refusal_comes_back_from_its_status() {
    for &code in Code::ALL {
        let sent = Refusal::new(code, "änything that\nwent wrong").with("bytes", 12).with("bytes_max", 10);
        let status = status::status(&sent);
        assert_eq!(status.code(), status::tonic_code(code));
        assert_eq!(status::refusal(&status), sent);
    }
}

#[test]
fn every_refusal_comes_back_from_a_failure() {
    for &code in Code::ALL {
        let sent = Refusal::new(code, "why").with("number", 3);
        assert_eq!(Refusal::from(v1::Failure::from(sent.clone())), sent);
    }
}

#[test]
fn a_foreign_client_reads_the_code_and_whether_to_retry() {
    let status = status::status(&Refusal::new(Code::UnknownOutcome, "who knows"));
    let info = status.get_details_error_info().expect("the details are there");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("unknown-outcome", "althing"));
    assert_eq!(info.metadata.get("retry").map(String::as_str), Some("named"));
}

#[test]
fn a_status_of_the_transport_is_never_taken_for_not_executed() {
    use tonic::Code::{Cancelled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown};
    for code in [Unavailable, Unknown, Cancelled, ResourceExhausted, DeadlineExceeded, Internal] {
        let refusal = status::refusal(&Status::new(code, "tcp connect error"));
        assert_eq!(refusal.code.retry(), Retry::Named);
    }
    let refusal = status::refusal(&Status::unimplemented(""));
    assert_eq!(refusal.code.retry(), Retry::Never);
    assert!(!refusal.message.is_empty());
}

#[test]
fn a_code_of_a_newer_server_allows_what_it_says() {
    for (said, retry) in [("safe", Retry::Safe), ("named", Retry::Named), ("never", Retry::Never)] {
        let metadata = [("retry".to_owned(), said.to_owned())];
        let details = ErrorDetails::with_error_info("too-new", "althing", metadata);
        let status = Status::with_error_details(tonic::Code::Unavailable, "new", details);
        let refusal = status::refusal(&status);
        assert_eq!(refusal.code.retry(), retry);
        assert_eq!(refusal.data.get("code").map(String::as_str), Some("too-new"));
    }
}
