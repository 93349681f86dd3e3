//! Who a node is: minted once by `--bootstrap`, given once by `--join`, remembered in its store.

use crate::{
    directory::record::{JoinToken, NodeRecord},
    peer::{Join, Joined, ask::Peers, method},
    refuse,
};
use althing_consensus::{
    peers::{ClusterId, PeerTransport},
    runtime::Runtime,
};
use althing_core::{
    codec,
    ids::{NodeId, ReplicaId},
    refusal::Refusal,
};
use althing_store::port::{Archive, StoreError};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// The fact under which it is remembered.
pub(crate) const FACT: &str = "identity";
/// The fact under which a node that wants to join remembers its token.
const TOKEN_FACT: &str = "join token";
/// How long joining may take.
const JOIN_PATIENCE: Duration = Duration::from_secs(30);
/// How long one attempt may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(12);
/// How long to wait between attempts.
const JOIN_PAUSE: Duration = Duration::from_millis(250);

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Its replica of the system community.
    pub system_replica: ReplicaId,
}

/// How a node that is nobody yet becomes somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Birth {
    /// It must have been somebody before.
    Restart,
    /// It mints a cluster.
    Bootstrap,
    /// It asks whoever listens there to be taken in.
    Join {
        /// The peer address of any member.
        address: String,
    },
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For peers.
    pub peer: String,
    /// For clients.
    pub api: String,
}

/// Why a node is nobody.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Nothing is stored and nothing was asked for.
    #[error(
        "this data directory belongs to no cluster yet: start the first node of a new cluster with --bootstrap, \
         any other with --join ADDRESS"
    )]
    Nobody,
    /// The stored identity cannot be read.
    #[error("the identity in the data directory cannot be read")]
    Unreadable(#[source] codec::DecodeError),
    /// Storage failed.
    #[error("the identity could not be read or stored")]
    Store(#[source] StoreError),
    /// Nobody took it in.
    #[error("no node at {address} took this one in within {} s", JOIN_PATIENCE.as_secs())]
    NotTaken {
        /// Where it asked.
        address: String,
        /// What the last answer was.
        #[source]
        source: Refusal,
    },
}

impl Identity {
    /// Remembers who this node is, or becomes somebody as `birth` says. A node that is somebody
    /// already stays so, whatever `birth` says.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn settle(
        birth: Birth,
        addresses: &Addresses,
        archive: &Arc<dyn Archive>,
        transport: &Arc<dyn PeerTransport>,
        runtime: &Runtime,
    ) -> Result<Self, IdentityError> {
        if let Some(identity) = Self::remembered(archive).await? {
            return Ok(identity);
        }
        let (identity, nodes) = match birth {
            Birth::Restart => return Err(IdentityError::Nobody),
            Birth::Bootstrap => (Self::mint(runtime), Vec::new()),
            Birth::Join { address } => {
                let token = token(&**archive, runtime).await.map_err(IdentityError::Store)?;
                let joined = join(token, &address, addresses, transport, runtime).await?;
                let identity =
                    Self { cluster: joined.cluster, node: joined.node, system_replica: joined.replica };
                (identity, joined.nodes)
            }
        };
        remember_nodes(&**archive, &nodes).await.map_err(IdentityError::Store)?;
        identity.remember(&**archive).await.map_err(IdentityError::Store)?;
        Ok(identity)
    }

    /// Who this node was when it last ran; none if it never was anybody.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn remembered(archive: &Arc<dyn Archive>) -> Result<Option<Self>, IdentityError> {
        let record = archive.fact(FACT).await.map_err(IdentityError::Store)?;
        record.map(|record| codec::decode(&record)).transpose().map_err(IdentityError::Unreadable)
    }

    /// Remembers it; durable on return.
    pub(crate) async fn remember(&self, archive: &dyn Archive) -> Result<(), StoreError> {
        archive.put_fact(FACT, codec::encode(self).into()).await
    }

    fn mint(runtime: &Runtime) -> Self {
        let cluster = ClusterId(random(runtime));
        Self { cluster, node: NodeId(1), system_replica: ReplicaId(1) }
    }

    /// Whether this node minted the cluster, and is to found it unless it has. One that came back under
    /// another replica id founds nothing.
    pub(crate) fn is_founder(&self) -> bool {
        self.node == NodeId(1) && self.system_replica == ReplicaId(1)
    }
}

fn random(runtime: &Runtime) -> [u8; 16] {
    let (high, low) = (runtime.random(), runtime.random());
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// The token under which this data directory asks to be taken in: the same after a restart, so that
/// a lost answer leaves no node behind that nobody is.
async fn token(archive: &dyn Archive, runtime: &Runtime) -> Result<JoinToken, StoreError> {
    let known = archive.fact(TOKEN_FACT).await?;
    if let Some(token) = known.and_then(|record| codec::decode(&record).ok()) {
        return Ok(token);
    }
    let token = JoinToken(random(runtime));
    archive.put_fact(TOKEN_FACT, codec::encode(&token).into()).await?;
    Ok(token)
}

async fn join(
    token: JoinToken,
    address: &str,
    mine: &Addresses,
    transport: &Arc<dyn PeerTransport>,
    runtime: &Runtime,
) -> Result<Joined, IdentityError> {
    let peers = Peers::new(transport.clone());
    let question = Join { token, peer_address: mine.peer.clone(), api_address: mine.api.clone() };
    let began = runtime.monotonic();
    loop {
        match peers.ask_address(address, method::JOIN, &question, JOIN_TIMEOUT).await {
            Ok(joined) => return Ok(joined),
            Err(refusal) if runtime.monotonic() - began < JOIN_PATIENCE => {
                tracing::info!(%address, reason = refuse::chain(&refusal), "not taken in yet");
                runtime.sleep(JOIN_PAUSE).await;
            }
            Err(source) => return Err(IdentityError::NotTaken { address: address.to_owned(), source }),
        }
    }
}

/// The fact under which the nodes' addresses are remembered, so that a node finds its peers before
/// it has read the directory.
pub(crate) const NODES_FACT: &str = "nodes";

/// Remembers where nodes listen.
pub(crate) async fn remember_nodes(archive: &dyn Archive, nodes: &[NodeRecord]) -> Result<(), StoreError> {
    archive.put_fact(NODES_FACT, codec::encode(nodes).into()).await
}

/// Where nodes listened when they were last remembered.
pub(crate) async fn remembered_nodes(archive: &dyn Archive) -> Result<Vec<NodeRecord>, StoreError> {
    let record = archive.fact(NODES_FACT).await?;
    // What cannot be read is learned again from the directory.
    Ok(record.and_then(|record| codec::decode(&record).ok()).unwrap_or_default())
}
