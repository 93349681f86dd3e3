//! Every request seen: one span, one id, one line in the metrics.
//!
//! The id is the client's own (`x-request-id`) if it is a sane one, else drawn here; it is in the span
//! and goes back with the answer. The span covers the request until its answer has been read to the
//! end, streams included, since that is when a streaming answer is worked on.

use crate::{
    door::Door,
    undecodable,
    watched::{Seen, Watched},
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use std::sync::Arc;
use tracing::{Instrument as _, field::Empty};

/// The metadata that carries a request's id, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a client, in bytes.
const ID_BYTES_MAX: usize = 64;
/// The most of a path that is logged, in bytes.
const PATH_BYTES_MAX: usize = 96;

/// Sees one request through.
pub(crate) async fn see(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers()).unwrap_or_else(|| drawn(door.node.runtime().random()));
    let path = request.uri().path();
    let path = path[..path.floor_char_boundary(PATH_BYTES_MAX)].to_owned();
    let shown_id = id.to_str().unwrap_or_default();
    let span = tracing::info_span!("api", method = path, id = shown_id, code = Empty);
    let seen = Seen::new(path, span.clone());
    let response = undecodable::mended(next.run(request).instrument(span).await);
    let (mut parts, body) = response.into_parts();
    let body = Watched::new(&parts, body, seen);
    parts.headers.insert(REQUEST_ID, id);
    Response::from_parts(parts, Body::new(body))
}

/// The client's own id, if it is one.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let is_sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(byte);
    let bytes = id.as_bytes();
    ((1..=ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(is_sane)).then(|| id.clone())
}

fn drawn(random: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("{random:016x}")).expect("digits may stand in a header")
}

#[cfg(test)]
mod tests {
    use super::{REQUEST_ID, drawn, request_id};
    use axum::http::{HeaderMap, HeaderValue};

    #[test]
    fn an_id_is_taken_if_it_is_short_and_plain() {
        let taken = |id: &[u8]| {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(id).unwrap())]);
            request_id(&headers).is_some()
        };
        assert!(taken(b"00-4bf92f3577b34da6a3ce929d0e0e4736-01"));
        assert!(!taken(b""));
        assert!(!taken(b"two words"));
        assert!(!taken("härm".as_bytes()));
        assert!(!taken("x".repeat(65).as_bytes()));
        assert!(request_id(&HeaderMap::new()).is_none());
    }

    #[test]
    fn an_id_that_is_drawn_is_always_as_long() {
        assert_eq!(drawn(10), "000000000000000a");
    }
}
