//! What another node, or something that says it is one, asks: any method, any body, of any community. A node answers
//! or refuses; it stays what it was.

use super::{pieces, values};
use crate::simulated::{COMMUNITY, simulate};
use althing_consensus::peers::PeerError;
use althing_core::{
    codec,
    ids::{CommunityId, NodeId, Sequence},
};
use althing_node::Node;
use bytes::Bytes;
use futures::StreamExt as _;
use std::{sync::OnceLock, time::Duration};

/// What peers can be asked, and that nobody can be asked.
const METHODS: [&str; 26] = [
    "raft/vote",
    "raft/pre-vote",
    "raft/append",
    "raft/append-stream",
    "raft/transfer",
    "raft/snapshot",
    "node/submit",
    "node/barrier",
    "node/query",
    "node/scan",
    "node/history",
    "node/chunk",
    "node/component",
    "node/hold",
    "node/join",
    "node/take-back",
    "node/transfer",
    "node/found",
    "node/has-left",
    "node/status",
    "node/digests",
    "node/stage",
    "node/roots",
    "node/manifest",
    "node/no-such-method",
    "raft/no-such-method",
];
/// How long an answer is waited for, in virtual time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most items that are read of a stream.
const ITEMS_MAX: usize = 8;

pub(super) fn take(bytes: &[u8]) {
    simulate(1, 1, guest(), async |cluster| {
        let node = cluster.node(1);
        for piece in pieces::split(bytes) {
            ask(&node, piece).await;
        }
        node.local_replica(COMMUNITY).await.expect("it still has its replica");
    });
}

/// What the community runs: the guest that does as it is told.
pub(super) fn guest() -> &'static Bytes {
    static GUEST: OnceLock<Bytes> = OnceLock::new();
    GUEST.get_or_init(|| values::component().into())
}

/// A piece: which method, about which community, from which node, and the body.
async fn ask(node: &Node, piece: &[u8]) {
    let Some((&[method, community, from], body)) = piece.split_first_chunk::<3>() else { return };
    let is_stream = method >= 128;
    let method = METHODS[usize::from(method % 128) % METHODS.len()];
    let (community, from) = (CommunityId(community.into()), NodeId(u64::from(from)));
    let handler = if method.starts_with("raft/") { node.consensus_handler() } else { node.peer_handler() };
    let body = Bytes::copy_from_slice(body);
    let answered = async {
        if is_stream {
            let input = futures::stream::iter([Ok::<_, PeerError>(body.clone())]).boxed();
            if let Ok(answers) = handler.stream(from, community, method, body, input).await {
                answers.take(ITEMS_MAX).for_each(|_| async {}).await;
            }
        } else {
            drop(handler.call(from, community, method, body).await);
        }
    };
    // A long answer is no wrong one: a subscriber waits for news.
    let _ = node.runtime().timeout(PATIENCE, answered).await;
}

/// A piece as [`ask`] reads it.
fn piece(method: &str, community: u8, body: &[u8]) -> Vec<u8> {
    let method = METHODS.iter().position(|known| *known == method).expect("it is one of them");
    [&[method as u8, community, 2][..], body].concat()
}

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let nothing = codec::encode(&());
    let numbers = codec::encode(&(1_u64, 2_u64, 3_u64));
    let each = METHODS.iter().map(|method| piece(method, 1, &nothing)).collect::<Vec<_>>();
    let read = codec::encode(&(Sequence(1), 10_u32, false));
    let join = codec::encode(&([7_u8; 16], "memory:9", "api:9"));
    // To replica 1: the vote (term 900, replica 9, not committed), nothing in its log, no transfer.
    let vote = codec::encode(&(1_u64, ((900_u64, 9_u64, false), None::<u64>, false)));
    // The same as a leader: nothing before, no entries, nothing committed.
    let append =
        codec::encode(&(1_u64, ((900_u64, 9_u64, true), None::<u64>, Vec::<u64>::new(), None::<u64>)));
    // What no leader says: before it leads, in the last term, with a gap, with what it cannot have.
    let claims = [
        codec::encode(&(1_u64, ((901_u64, 9_u64, false), None::<u64>, Vec::<u64>::new(), None::<u64>))),
        codec::encode(&(1_u64, ((u64::MAX, 9_u64, true), None::<u64>, Vec::<u64>::new(), None::<u64>))),
        codec::encode(&(
            1_u64,
            ((901_u64, 9_u64, true), None::<u64>, vec![((901_u64, 9_u64, 5_u64), 0_u8)], 0_u8),
        )),
        codec::encode(&(1_u64, ((901_u64, 9_u64, true), Some((902_u64, 9_u64, u64::MAX)), 0_u8, 0_u8))),
    ];
    let claims = claims.map(|claim| piece("raft/append", 1, &claim));
    vec![
        ("nonsense", pieces::join(&claims)),
        ("each", pieces::join(&each)),
        ("history", pieces::join(&[piece("node/history", 1, &read), piece("node/scan", 1, &numbers)])),
        ("join", pieces::join(&[piece("node/join", 0, &join)])),
        ("vote", pieces::join(&[piece("raft/pre-vote", 1, &vote), piece("raft/vote", 1, &vote)])),
        ("append", pieces::join(&[piece("raft/append", 1, &append), piece("node/barrier", 1, &nothing)])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first piece of a seed is answered with.
    fn answered(name: &str) -> Result<Bytes, PeerError> {
        let (_, seed) = seeds().into_iter().find(|(seed, _)| *seed == name).expect("there is such a seed");
        let piece = pieces::split(&seed).next().expect("it has pieces").to_vec();
        let body = Bytes::copy_from_slice(&piece[3..]);
        let method = METHODS[usize::from(piece[0])];
        simulate(1, 1, guest(), async |cluster| {
            let handler = cluster.node(1).consensus_handler();
            handler.call(NodeId(2), CommunityId(1), method, body).await
        })
    }

    #[test]
    fn the_seeds_speak_to_a_replica_that_is_there() {
        assert!(answered("vote").is_ok());
        assert!(answered("append").is_ok());
        let refused = answered("nonsense").expect_err("no leader says so").to_string();
        assert!(refused.contains("only leaders"), "{refused}");
    }
}
