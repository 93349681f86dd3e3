//! Taking back: a node whose disk has lost what it had promised comes back as who it was, with replicas
//! that never voted (promise P13).
//!
//! It asks any other node. The directory gives it a fresh replica of the system community in the place of
//! the one that it had, which takes the quorum of the others, and tells it which replicas it has of
//! everything else. Nothing is changed here before that answer; then, in this order, each step durable: it
//! remembers which replicas must never run here again, forgets what the old replica of the system
//! community had, and becomes who it is now. Broken off anywhere, it asks again. The other communities
//! follow when it runs ([`crate::distrust`]).

use crate::{
    community::Hosted,
    directory::{
        record::{DirectoryOperation, NodeRecord},
        view::DirectoryView,
    },
    distrust::{self, Distrust, Distrusted},
    identity::{self, Addresses, Identity},
    node::{self, Node},
    peer::{ask::Peers, method},
    quarantine, refuse,
};
use althing_consensus::{peers::PeerTransport, runtime::Runtime};
use althing_core::{
    ids::{CommunityId, NodeId, ReplicaId, Sequence},
    refusal::{Code, Refusal},
};
use althing_store::port::{Archive, Store, StoreError, Wal};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How long asking may take; then the node ends, and asks again when it is started again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(12);
/// How long to wait between attempts.
const PAUSE: Duration = Duration::from_millis(250);
/// Communities that are named when a node is not taken back.
const NAMED_MAX: usize = 16;

/// A node asks to be taken back: the sender of the message, and nobody else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TakeBack {
    /// The replica of the system community that it cannot be any more.
    pub(crate) replica: ReplicaId,
    pub(crate) peer_address: String,
    pub(crate) api_address: String,
}

/// It is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TakenBack {
    /// Its replica of the system community from now on.
    pub(crate) replica: ReplicaId,
    /// The directory's sequence when that was decided.
    pub(crate) sequence: Sequence,
    /// What the directory has of other communities on the node.
    pub(crate) replicas: Vec<(CommunityId, String, ReplicaId)>,
    /// Whom it will meet.
    pub(crate) nodes: Vec<NodeRecord>,
}

/// What a node has lost.
pub enum Loss<'a> {
    /// The log, and so what each of its replicas had promised.
    Log {
        /// What was found, for people.
        why: &'a str,
    },
    /// What its replica of the system community had promised; everything else is whole.
    System {
        /// What was found, for people.
        why: &'a str,
        /// Where the log of that replica is.
        wal: &'a dyn Wal,
    },
}

/// What a node that asks to be taken back has at hand.
pub struct Stranded<'a> {
    /// What is left of its store.
    pub archive: &'a Arc<dyn Archive>,
    /// Where it listens now.
    pub addresses: &'a Addresses,
    /// Whom to ask besides the nodes that it knew: the peer address of any member.
    pub join: Option<&'a str>,
    /// How it speaks to peers.
    pub transport: &'a Arc<dyn PeerTransport>,
    /// Where time passes.
    pub runtime: &'a Runtime,
}

/// Why a node did not come back. In each case nothing was lost besides what was lost before.
#[derive(Debug, thiserror::Error)]
pub enum StrandedError {
    /// There is nobody to ask.
    #[error(
        "{why}. This node must not vote with that, and it knows no other node that could take it back. Nothing was \
         changed in its data directory, which still has {left}. If the file can be had as it was, put it back; if \
         another node of the cluster lives, name it with --join ADDRESS; else restore a backup"
    )]
    Alone {
        /// What was found.
        why: String,
        /// What is left.
        left: String,
    },
    /// Nobody has taken it back.
    #[error(
        "{why}. This node must not vote with that, and no other node took it back within {} s: most of the nodes \
         that vote in the system community must run. Nothing was changed in its data directory, which still has {left}. \
         Bring the others back and start this one again; if most of them are lost too, restore a backup",
        PATIENCE.as_secs()
    )]
    NotTaken {
        /// What was found.
        why: String,
        /// What is left.
        left: String,
        /// What the last answer was.
        #[source]
        source: Refusal,
    },
    /// Storage failed.
    #[error("what this node must not do any more could not be read or stored")]
    Store(#[source] StoreError),
}

impl From<StoreError> for StrandedError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Identity {
    /// Why this node's replica of the system community must not run, if it must not: it was
    /// quarantined, it is distrusted, or it has lost what it would begin with.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn why_stranded(&self, store: &Store) -> Result<Option<String>, StoreError> {
        let archive = &*store.archive;
        let quarantined = quarantine::remembered(archive, self).await?;
        let quarantined = quarantined.get(&CommunityId::SYSTEM);
        if let Some(found) = quarantined.filter(|found| found.replica == self.system_replica) {
            return Ok(Some(format!("the replica of the system community here is {}", found.why)));
        }
        if let Some(found) = Distrust::remembered(archive).await?.of(CommunityId::SYSTEM, self.system_replica)
        {
            return Ok(Some(found.why.clone()));
        }
        let loss = distrust::loss(store, CommunityId::SYSTEM).await;
        Ok(loss.map(|what| format!("the replica of the system community here cannot begin: {what}")))
    }

    /// Comes back, as who the node was and with a fresh replica of the system community: who it is now.
    /// Everything that must be known before it runs is durable on return. May be broken off and repeated.
    ///
    /// # Errors
    /// See [`StrandedError`].
    pub async fn come_back(self, loss: Loss<'_>, stranded: &Stranded<'_>) -> Result<Self, StrandedError> {
        let archive = &**stranded.archive;
        let (why, hosted) = match &loss {
            Loss::Log { why } => (*why, node::remembered_hosted(archive).await?),
            Loss::System { why, .. } => (*why, Vec::new()),
        };
        let taken = self.ask(why, stranded).await?;
        tracing::warn!(replica = %self.system_replica, fresh = %taken.replica, "this node is taken back");
        let distrusted =
            |replica, name: &str| Distrusted { replica, name: name.to_owned(), why: why.to_owned() };
        let mut distrust = Distrust::remembered(archive).await?;
        distrust.add(CommunityId::SYSTEM, distrusted(self.system_replica, "system"));
        if let Loss::Log { .. } = loss {
            for Hosted { community, name, replica, .. } in &hosted {
                distrust.add(*community, distrusted(*replica, name));
            }
            // What it began to host just before it was lost, it may not have remembered.
            for (community, name, replica) in &taken.replicas {
                distrust.add(*community, distrusted(*replica, name));
            }
        }
        distrust.floor = distrust.floor.max(taken.sequence);
        distrust.remember(archive).await?;
        if let Loss::System { wal, .. } = loss {
            wal.remove_group(CommunityId::SYSTEM).await?;
        }
        archive.remove_community(CommunityId::SYSTEM).await?;
        identity::remember_nodes(archive, &taken.nodes).await?;
        let fresh = Self { system_replica: taken.replica, ..self };
        fresh.remember(archive).await?;
        Ok(fresh)
    }

    /// Asks one node after the other, as long as patience lasts.
    async fn ask(&self, why: &str, stranded: &Stranded<'_>) -> Result<TakenBack, StrandedError> {
        let Stranded { archive, addresses, join, transport, runtime } = stranded;
        let peers = Peers::new((*transport).clone());
        let known = identity::remembered_nodes(&***archive).await?;
        let others = known.into_iter().filter(|record| record.node != self.node);
        let asked: BTreeSet<String> =
            others.map(|record| record.peer_address).chain(join.map(str::to_owned)).collect();
        let question = TakeBack {
            replica: self.system_replica,
            peer_address: addresses.peer.clone(),
            api_address: addresses.api.clone(),
        };
        tracing::error!(why, asked = ?asked, "this node must not vote with what it has: it asks to be taken back");
        let began = runtime.monotonic();
        loop {
            let mut last = None;
            for address in &asked {
                match peers.ask_address::<TakenBack>(address, method::TAKE_BACK, &question, TIMEOUT).await {
                    Ok(taken) => return Ok(taken),
                    Err(refusal) => {
                        tracing::info!(%address, reason = refuse::chain(&refusal), "not taken back yet");
                        last = Some(refusal);
                    }
                }
            }
            let (why, left) = (why.to_owned(), || left(&***archive));
            let Some(source) = last else {
                return Err(StrandedError::Alone { why, left: left().await? });
            };
            if runtime.monotonic() - began > PATIENCE {
                return Err(StrandedError::NotTaken { why, left: left().await?, source });
            }
            runtime.sleep(PAUSE).await;
        }
    }
}

/// In words, what a data directory still has.
async fn left(archive: &dyn Archive) -> Result<String, StoreError> {
    let hosted = node::remembered_hosted(archive).await?;
    let mut parts = Vec::new();
    for Hosted { community, name, .. } in hosted.iter().take(NAMED_MAX) {
        parts.push(format!("{} of {name}", distrust::newest_snapshot(archive, *community).await));
    }
    if hosted.len() > NAMED_MAX {
        parts.push(format!("more of {} others", hosted.len() - NAMED_MAX));
    }
    match parts.is_empty() {
        true => Ok("no community".to_owned()),
        false => Ok(parts.join(", ")),
    }
}

impl Node {
    /// Takes a node back that cannot be who it was. Asked again, it answers the same.
    ///
    /// # Errors
    /// A refusal: as [`Self::replace_replica`]; [`Code::NoNode`] when the directory does not know it.
    pub(crate) async fn take_back(&self, node: NodeId, question: TakeBack) -> Result<TakenBack, Refusal> {
        let TakeBack { replica, peer_address, api_address } = question;
        if node == self.id() {
            return Err(Refusal::new(Code::BadRequest, "a node cannot take itself back"));
        }
        // First, so that the others find it where it is now.
        self.change_directory(DirectoryOperation::SeeNode { node, peer_address, api_address }).await?;
        let fresh = self.replace_replica(CommunityId::SYSTEM, node, replica).await?;
        let directory = self.directory();
        let view = DirectoryView(&directory);
        let replicas = view.communities().into_iter().filter(|record| record.id != CommunityId::SYSTEM);
        let replicas = replicas.filter_map(|record| Some((record.id, record.replica_on(node)?, record.name)));
        Ok(TakenBack {
            replica: fresh,
            sequence: directory.sequence(),
            replicas: replicas.map(|(community, replica, name)| (community, name, replica)).collect(),
            nodes: view.nodes(),
        })
    }
}
