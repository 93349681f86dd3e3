//! What a client sends to the door: any method with any message, any page with any path. It is answered with a status
//! that says whose mistake it was, and it was not ours.

mod seeds;

pub(super) use seeds::seeds;

use super::{peers::guest, pieces};
use crate::simulated::{COMMUNITY, simulate};
use althing_api::{Believing, Services, services};
use althing_consensus::runtime::Runtime;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body as _, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tonic::codegen::http::{HeaderMap, Request, Response, Version};
use tower::ServiceExt as _;

/// The methods, by their service.
const METHODS: [(&str, &[&str]); 3] = [
    (
        "althing.v1.Communities",
        &["OpenSession", "Submit", "SubmitStream", "Query", "Subscribe", "Scan", "History"],
    ),
    (
        "althing.v1.Admin",
        &[
            "CreateCommunity",
            "ListCommunities",
            "InspectCommunity",
            "DeleteCommunity",
            "UploadComponent",
            "ActivateProgram",
            "InspectProgram",
            "SetPolicy",
            "AddReplica",
            "PromoteReplica",
            "RemoveReplica",
            "RebuildReplica",
            "MoveReplica",
            "SetReplicas",
            "RetireNode",
            "KeepNode",
            "TransferLeadership",
            "CreateSnapshot",
            "ListSnapshots",
            "PinSnapshot",
            "UnpinSnapshot",
            "DeleteSnapshot",
            "VerifySnapshots",
            "Status",
            "ExportCommunity",
            "MissingChunks",
            "UploadChunks",
            "ImportCommunity",
        ],
    ),
    ("grpc.health.v1.Health", &["Check", "Watch"]),
];
/// A method's place and this: it is called with a row of messages.
const ROW: u8 = 128;
/// How long an answer is waited for, in virtual time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most frames that are read of an answer.
const FRAMES_MAX: usize = 16;
/// gRPC's numbers for a fault of the server and for lost data.
const OURS: [&str; 2] = ["13", "15"];

pub(super) fn take(bytes: &[u8]) {
    simulate(1, 1, guest(), async |cluster| {
        let node = cluster.node(1);
        let services = services(node.clone(), Arc::new(Believing)).await.expect("it can be served");
        for piece in pieces::split(bytes) {
            knock(&services, &cluster.runtime, piece).await;
        }
        drop(services);
        node.local_replica(COMMUNITY).await.expect("it still has its replica");
    });
}

/// A piece: which method, or a page, and the message, the row of messages, or the path. The status that gRPC was
/// answered with, if the answer came to its end.
async fn knock(services: &Services, runtime: &Runtime, piece: &[u8]) -> Option<String> {
    let (&which, body) = piece.split_first()?;
    let all: Vec<(&str, &str)> = METHODS
        .iter()
        .flat_map(|(service, methods)| methods.iter().map(|method| (*service, *method)))
        .collect();
    let request = match all.get(usize::from(which % ROW)) {
        Some((service, method)) if which < ROW => call(&format!("/{service}/{method}"), [body]),
        Some((service, method)) => call(&format!("/{service}/{method}"), pieces::split(body)),
        None => page(body),
    }?;
    // Who subscribes waits for news; that is no wrong answer.
    runtime.timeout(PATIENCE, asked(services, request)).await?
}

async fn asked(services: &Services, request: Request<tonic::body::Body>) -> Option<String> {
    let response = services.routes.clone().oneshot(request).await;
    judge(response.unwrap_or_else(|never: Infallible| match never {})).await
}

/// A call: its messages, each in its frame.
fn call<'a>(path: &str, messages: impl IntoIterator<Item = &'a [u8]>) -> Option<Request<tonic::body::Body>> {
    let mut framed = BytesMut::new();
    for message in messages {
        framed.put_u8(0);
        framed.put_u32(message.len() as u32);
        framed.put_slice(message);
    }
    framed_call(path, framed.freeze())
}

/// A call with these bytes, which may be no frames.
fn framed_call(path: &str, framed: Bytes) -> Option<Request<tonic::body::Body>> {
    let request = Request::post(path)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    request.body(tonic::body::Body::new(Once(Some(framed)))).ok()
}

/// A page, of any path that can be one.
fn page(path: &[u8]) -> Option<Request<tonic::body::Body>> {
    let path = format!("/{}", std::str::from_utf8(path).ok()?);
    Request::get(path).body(tonic::body::Body::empty()).ok()
}

async fn judge(response: Response<tonic::body::Body>) -> Option<String> {
    let (head, mut body) = response.into_parts();
    assert!(head.status.as_u16() < 500 || head.status == 503, "{head:?}");
    let mut status = told(&head.headers);
    for _ in 0..FRAMES_MAX {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        match frame {
            Some(Ok(frame)) => status = frame.trailers_ref().and_then(told).or(status),
            Some(Err(status)) => panic!("the answer breaks off: {status}"),
            None => break,
        }
    }
    status
}

/// The status that gRPC is answered with; none of ours.
fn told(headers: &HeaderMap) -> Option<String> {
    let status = headers.get("grpc-status")?.to_str().expect("it is a number");
    assert!(!OURS.contains(&status), "{headers:?}");
    Some(status.to_owned())
}

/// A body of one frame.
struct Once(Option<Bytes>);

impl http_body::Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_conversations_ask_for_is_done() {
        // Who subscribes waits for more; the only snapshot may not be deleted.
        let others = [("operations", 7, None), ("snapshots", 5, Some("9"))];
        for (name, seed) in seeds().into_iter().skip(5) {
            simulate(1, 1, guest(), async |cluster| {
                let services =
                    services(cluster.node(1), Arc::new(Believing)).await.expect("it can be served");
                for (place, piece) in pieces::split(&seed).enumerate() {
                    let status = knock(&services, &cluster.runtime, piece).await;
                    let other = others.iter().find(|(in_, at, _)| *in_ == name && *at == place);
                    let expected = other.map_or(Some("0"), |(_, _, status)| *status);
                    assert_eq!(status.as_deref(), expected, "{name}: {place}");
                }
            });
        }
    }

    #[test]
    fn a_call_without_a_whole_message_is_the_callers_mistake() {
        simulate(1, 1, guest(), async |cluster| {
            let services = services(cluster.node(1), Arc::new(Believing)).await.expect("it can be served");
            // Nothing, half a frame, one that is compressed without saying how, one that is none.
            for framed in [&[][..], &[0, 0, 0, 0, 9, 1], &[1, 0, 0, 0, 0], &[7, 0, 0, 0, 0]] {
                let call = framed_call("/althing.v1.Admin/Status", Bytes::copy_from_slice(framed));
                let status = asked(&services, call.expect("it is a request")).await;
                assert_eq!(status.as_deref(), Some("3"), "{framed:?}");
            }
        });
    }
}
