//! What a client sends to the door: any method with any message, any page with any path. It is answered with a status
//! that says whose mistake it was, and it was not ours.

use super::{peers::counter, pieces};
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
use tonic::codegen::http::{Request, Response, Version};
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
/// How long an answer is waited for, in virtual time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most frames that are read of an answer.
const FRAMES_MAX: usize = 16;
/// gRPC's numbers for a fault of the server and for lost data.
const OURS: [&str; 2] = ["13", "15"];

pub(super) fn take(bytes: &[u8]) {
    simulate(1, 1, counter(), async |cluster| {
        let node = cluster.node(1);
        let services = services(node.clone(), Arc::new(Believing)).await.expect("it can be served");
        for piece in pieces::split(bytes) {
            knock(&services, &cluster.runtime, piece).await;
        }
        drop(services);
        node.local_replica(COMMUNITY).await.expect("it still has its replica");
    });
}

/// A piece: which method, or a page, and the body or the path.
async fn knock(services: &Services, runtime: &Runtime, piece: &[u8]) {
    let Some((&which, body)) = piece.split_first() else { return };
    let all: Vec<(&str, &str)> = METHODS
        .iter()
        .flat_map(|(service, methods)| methods.iter().map(|method| (*service, *method)))
        .collect();
    let asked = match all.get(usize::from(which)) {
        Some((service, method)) => message(&format!("/{service}/{method}"), body),
        None => page(body),
    };
    let Some(request) = asked else { return };
    let answered = async {
        let response = services.routes.clone().oneshot(request).await;
        judge(response.unwrap_or_else(|never: Infallible| match never {})).await;
    };
    // Who subscribes waits for news; that is no wrong answer.
    let _ = runtime.timeout(PATIENCE, answered).await;
}

/// A call: the message in its frame.
fn message(path: &str, message: &[u8]) -> Option<Request<tonic::body::Body>> {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    let request = Request::post(path)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    request.body(tonic::body::Body::new(Once(Some(framed.freeze())))).ok()
}

/// A page, of any path that can be one.
fn page(path: &[u8]) -> Option<Request<tonic::body::Body>> {
    let path = format!("/{}", std::str::from_utf8(path).ok()?);
    Request::get(path).body(tonic::body::Body::empty()).ok()
}

async fn judge(response: Response<tonic::body::Body>) {
    let (head, mut body) = response.into_parts();
    assert!(head.status.as_u16() < 500 || head.status == 503, "{head:?}");
    let told = |headers: &tonic::codegen::http::HeaderMap| {
        let status = headers.get("grpc-status").and_then(|status| status.to_str().ok());
        assert!(status.is_none_or(|status| !OURS.contains(&status)), "{headers:?}");
    };
    told(&head.headers);
    for _ in 0..FRAMES_MAX {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        match frame {
            Some(Ok(frame)) => frame.trailers_ref().map_or((), told),
            Some(Err(status)) => panic!("the answer breaks off: {status}"),
            None => return,
        }
    }
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

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    // Field 1, of length 1: the name of a community, in most messages.
    let named = [0x0a, 1, b'c'];
    let count = METHODS.iter().map(|(_, methods)| methods.len()).sum::<usize>() as u8;
    let each = |body: &[u8]| (0..count).map(|which| [&[which][..], body].concat()).collect::<Vec<_>>();
    let (first, second) = (each(&named), each(b""));
    let pages = ["metrics", "healthz", "readyz", "", "no/such/page?x=%ff"];
    let pages = pages.map(|path| [&[255][..], path.as_bytes()].concat());
    vec![
        ("named-a", pieces::join(&first[..20])),
        ("named-b", pieces::join(&first[20..])),
        ("empty-a", pieces::join(&second[..20])),
        ("empty-b", pieces::join(&second[20..])),
        ("pages", pieces::join(&pages)),
    ]
}
