//! Refusals as gRPC statuses, no longer than headers may be.

use althing_core::refusal::{Code, Refusal};
use tonic::{Response, Status};

/// The longest message, in bytes: statuses travel in headers, of which clients take 16 KiB, and the
/// message is in them twice, encoded.
const MESSAGE_BYTES_MAX: usize = 2048;
/// The longest value of a refusal's data, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// An answer, or the status of a refusal.
pub(crate) fn answer<T>(answer: Result<T, Refusal>) -> Result<Response<T>, Status> {
    answer.map(Response::new).map_err(refused)
}

/// The status of a refusal.
pub(crate) fn refused(refusal: Refusal) -> Status {
    althing_proto::status::status(&bounded(refusal))
}

/// The refusal, shortened to what may be sent. Faults of the host are logged here, once, since this
/// is where they leave it.
pub(crate) fn bounded(mut refusal: Refusal) -> Refusal {
    if refusal.code == Code::Internal {
        tracing::error!(%refusal, "a request failed by a fault of the host");
    }
    shorten(&mut refusal.message, MESSAGE_BYTES_MAX);
    for value in refusal.data.values_mut() {
        shorten(value, VALUE_BYTES_MAX);
    }
    refusal
}

fn shorten(text: &mut String, bytes_max: usize) {
    const DOTS: &str = " …";
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - DOTS.len()));
        text.push_str(DOTS);
    }
}

#[cfg(test)]
mod tests {
    use super::bounded;
    use althing_core::refusal::{Code, Refusal};

    #[test]
    fn what_does_not_fit_into_headers_is_shortened() {
        let refusal =
            bounded(Refusal::new(Code::BadRequest, "ä".repeat(5000)).with("field", "x".repeat(5000)));
        assert!(refusal.message.len() <= 2048 && refusal.message.ends_with("ä …"), "{}", refusal.message);
        assert_eq!(refusal.data["field"].len(), 256);
    }

    #[test]
    fn what_fits_is_left_alone() {
        let refusal = Refusal::new(Code::NoCommunity, "there is no community").with("community", "x");
        assert_eq!(bounded(refusal.clone()), refusal);
    }
}
