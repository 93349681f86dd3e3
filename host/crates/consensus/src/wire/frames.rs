//! Frames to questions and answers, and back.

use super::{PROTOCOL_VERSION, identity::Identity};
use crate::peers::{ClusterId, PeerError, PeerRequest};
use althing_core::ids::{CommunityId, NodeId};
use althing_proto::peer::v1::{Frame, Refusal};
use bytes::Bytes;
use tonic::Status;

/// Whatever a node says before it belongs to a cluster must not reach a group.
const METHODS_FOR_MEMBERS: &str = crate::Consensus::METHODS;

/// A frame that asks.
pub(super) fn question(identity: &Identity, request: PeerRequest) -> Frame {
    let cluster = identity.cluster().map(|cluster| Bytes::copy_from_slice(&cluster.0));
    Frame {
        version: PROTOCOL_VERSION,
        cluster: cluster.unwrap_or_default(),
        from: identity.node().0,
        community: request.community.0,
        method: request.method.to_owned(),
        body: request.body,
        refusal: None,
    }
}

/// A later frame of a stream, or an answer.
pub(super) fn plain(body: Bytes) -> Frame {
    Frame { body, ..Frame::default() }
}

/// An answer, whichever it is.
pub(super) fn answer(answer: Result<Bytes, PeerError>) -> Frame {
    match answer {
        Ok(body) => plain(body),
        Err(error) => Frame { refusal: Some(refusal(error)), ..Frame::default() },
    }
}

fn refusal(error: PeerError) -> Refusal {
    match error {
        PeerError::Refused { code, message, .. } => Refusal { code, message },
        other => Refusal { code: "failed".into(), message: other.to_string() },
    }
}

/// What a node answered.
pub(super) fn read_answer(node: NodeId, frame: Frame) -> Result<Bytes, PeerError> {
    match frame.refusal {
        None => Ok(frame.body),
        Some(Refusal { code, message }) => Err(PeerError::Refused { node, code, message }),
    }
}

/// gRPC's own complaint: the question may or may not have got there.
pub(super) fn broken(node: NodeId, status: &Status) -> PeerError {
    let why = format!("{}: {}", status.code(), status.message());
    if never_left(status) {
        PeerError::NotConnected { node, why }
    } else {
        PeerError::Unreachable { node, why }
    }
}

/// Whether no connection was made at all, so that the request cannot have arrived.
fn never_left(status: &Status) -> bool {
    let causes = std::iter::successors(std::error::Error::source(status), |cause| cause.source());
    causes.into_iter().any(|cause| cause.is::<tonic::ConnectError>())
}

/// A question that this node may answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) from: NodeId,
    pub(super) community: CommunityId,
    pub(super) method: String,
    pub(super) body: Bytes,
}

/// Reads a question and checks that it is for this cluster.
pub(super) fn read_question(identity: &Identity, frame: Frame) -> Result<Question, PeerError> {
    let refuse = |code: &str, message: String| {
        Err(PeerError::Refused { node: identity.node(), code: code.into(), message })
    };
    if frame.version != PROTOCOL_VERSION {
        let found = frame.version;
        return refuse("wrong-version", format!("frame version {found} is not {PROTOCOL_VERSION}"));
    }
    let Some(own) = identity.cluster() else {
        return refuse("not-joined", "this node has not joined a cluster yet".into());
    };
    let is_for_members = frame.method.starts_with(METHODS_FOR_MEMBERS);
    match <[u8; 16]>::try_from(&frame.cluster[..]).map(ClusterId) {
        Ok(cluster) if cluster != own => {
            let message = format!("the frame is of cluster {cluster}, this node is of cluster {own}");
            return refuse("wrong-cluster", message);
        }
        Ok(_) => {}
        Err(_) if frame.cluster.is_empty() && !is_for_members => {}
        Err(_) => return refuse("wrong-cluster", "the frame names no cluster".into()),
    }
    let (from, community) = (NodeId(frame.from), CommunityId(frame.community));
    Ok(Question { from, community, method: frame.method, body: frame.body })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: ClusterId = ClusterId([7; 16]);

    fn ask(identity: &Identity, method: &'static str) -> Frame {
        question(identity, PeerRequest { community: CommunityId(3), method, body: "abc".into() })
    }

    fn code(read: Result<Question, PeerError>) -> String {
        match read {
            Err(PeerError::Refused { code, .. }) => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_question_of_the_same_cluster_is_read_as_it_was_asked() {
        let asker = Identity::known(OURS, NodeId(1));
        let read = read_question(&Identity::known(OURS, NodeId(2)), ask(&asker, "raft/vote"));
        let Question { from, community, method, body } = read.expect("it is of the same cluster");
        assert_eq!((from, community), (NodeId(1), CommunityId(3)));
        assert_eq!((&method[..], &body[..]), ("raft/vote", &b"abc"[..]));
    }

    #[test]
    fn frames_that_are_not_for_this_cluster_are_refused() {
        let own = Identity::known(OURS, NodeId(2));
        let stranger = Identity::known(ClusterId([8; 16]), NodeId(1));
        assert_eq!(code(read_question(&own, ask(&stranger, "node/join"))), "wrong-cluster");
        let newcomer = Identity::unknown();
        assert_eq!(code(read_question(&own, ask(&newcomer, "raft/vote"))), "wrong-cluster");
        assert!(read_question(&own, ask(&newcomer, "node/join")).is_ok());
        assert_eq!(code(read_question(&newcomer, ask(&own, "node/join"))), "not-joined");
        let newer = Frame { version: 2, ..ask(&own, "node/join") };
        assert_eq!(code(read_question(&own, newer)), "wrong-version");
    }
}
