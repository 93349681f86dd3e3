//! A message that cannot be decoded, or is missing, is its sender's mistake: gRPC's library calls it an error of the
//! server.

use crate::refused;
use althing_core::refusal::{Code, Refusal};
use axum::{body::Body, response::Response};
use tonic::Status;

/// How the library's status begins: of what is no message, no frame of one, half a frame, or nothing.
const SAYS: [&str; 4] = [
    "failed to decode Protobuf message",
    "protocol error: received message with ",
    "Unexpected EOF decoding stream",
    "Missing request message",
];

/// What to say instead, of a status that says so.
pub(crate) fn refusal(status: &Status) -> Option<Refusal> {
    let is_it = status.code() == tonic::Code::Internal
        && SAYS.iter().any(|begins| status.message().starts_with(begins));
    let refusal = || {
        let message = format!("the message is none of this method's: {}", status.message());
        Refusal::new(Code::BadRequest, message)
    };
    is_it.then(refusal)
}

/// The status, or the better one in its place.
pub(crate) fn said(status: Status) -> Status {
    refusal(&status).map_or(status, refused::refused)
}

/// The answer, or the better one in its place. Such an answer has nothing but headers.
pub(crate) fn mended(response: Response) -> Response {
    let told = Status::from_header_map(response.headers()).as_ref().and_then(refusal);
    told.map_or(response, |refusal| refused::refused(refusal).into_http::<Body>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_not_be_decoded_is_the_senders_mistake() {
        for says in SAYS {
            let refusal = refusal(&Status::internal(format!("{says} here"))).unwrap();
            assert_eq!(refusal.code, Code::BadRequest);
            assert!(refusal.message.contains(says), "{}", refusal.message);
            assert_eq!(super::refusal(&Status::unknown(says)), None);
        }
        assert_eq!(super::refusal(&Status::internal("the disk failed")), None);
        let undecodable = Status::internal("failed to decode Protobuf message: invalid varint");
        let refusal = refusal(&undecodable).unwrap();
        let answer = mended(undecodable.into_http());
        let told = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(told.code(), tonic::Code::InvalidArgument);
        assert_eq!(althing_proto::status::refusal(&told), refusal);
    }
}
