//! An answer on its way out: its span is entered while it is worked on, and when it has ended, by
//! itself or because nobody reads it any more, it is counted.

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE, response::Parts},
};
use http_body::{Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};
use tonic::Code;
use tracing::Span;

/// The header, or trailer, that says how a gRPC request went.
const GRPC_STATUS: &str = "grpc-status";
/// The method under which requests for what is not here are counted, so that strangers cannot make
/// up series.
const UNKNOWN: &str = "unknown";

/// A request, from its beginning to its end. Counted when dropped.
pub(crate) struct Seen {
    method: String,
    span: Span,
    began: Instant,
    /// How it went, as far as known.
    code: Option<How>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Grpc(Code),
    Http(StatusCode),
}

impl Seen {
    /// A request has come.
    pub(crate) fn new(method: String, span: Span) -> Self {
        metrics::gauge!("althing_api_requests_open").increment(1.0);
        Self { method, span, began: Instant::now(), code: None }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let how = self.code.unwrap_or(How::Grpc(Code::Cancelled));
        let code = match how {
            How::Grpc(code) => format!("{code:?}"),
            How::Http(status) => status.as_u16().to_string(),
        };
        let is_unknown = matches!(how, How::Grpc(Code::Unimplemented) | How::Http(StatusCode::NOT_FOUND));
        let method = if is_unknown { UNKNOWN.to_owned() } else { std::mem::take(&mut self.method) };
        let seconds = self.began.elapsed().as_secs_f64();
        self.span.record("code", code.as_str());
        tracing::debug!(parent: &self.span, seconds, "answered");
        metrics::gauge!("althing_api_requests_open").decrement(1.0);
        metrics::histogram!("althing_api_request_seconds", "method" => method.clone()).record(seconds);
        metrics::counter!("althing_api_requests_total", "method" => method, "code" => code).increment(1);
    }
}

/// The body of an answer.
pub(crate) struct Watched {
    body: Body,
    span: Span,
    /// None when the answer has ended.
    seen: Option<Seen>,
}

impl Watched {
    /// The answer that begins with `parts`.
    pub(crate) fn new(parts: &Parts, body: Body, mut seen: Seen) -> Self {
        let content = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        seen.code = match content.starts_with(b"application/grpc") {
            true => grpc_status(&parts.headers),
            false => Some(How::Http(parts.status)),
        };
        let span = seen.span.clone();
        let seen = (!body.is_end_stream()).then_some(seen);
        Self { body, span, seen }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, span, seen } = self.get_mut();
        let polled = span.in_scope(|| Pin::new(&mut *body).poll_frame(context));
        let has_ended = match &polled {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(trailers), Some(seen)) = (frame.trailers_ref(), seen.as_mut()) {
                    seen.code = grpc_status(trailers);
                }
                frame.is_trailers() || body.is_end_stream()
            }
            Poll::Ready(Some(Err(_)) | None) => true,
        };
        if has_ended {
            *seen = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<How> {
    headers.get(GRPC_STATUS).map(|status| How::Grpc(Code::from_bytes(status.as_bytes())))
}
