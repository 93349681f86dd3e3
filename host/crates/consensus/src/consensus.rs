//! The groups that run on one node.

use crate::{
    peers::{PeerError, PeerHandler, PeerStream, PeerTransport},
    port::{GroupConfig, GroupHandle, Role, SnapshotFetch, StartError, StateMachine},
    raft::{self, GroupParts, Running},
    runtime::Runtime,
};
use althing_core::ids::{CommunityId, NodeId};
use althing_store::port::{StoreError, Wal};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, RwLock},
};

/// What consensus needs of its node.
#[derive(Clone)]
pub struct ConsensusOptions {
    /// The node.
    pub node: NodeId,
    /// Where the logs of all groups are.
    pub wal: Arc<dyn Wal>,
    /// How peers are reached.
    pub transport: Arc<dyn PeerTransport>,
    /// Where tasks run.
    pub runtime: Runtime,
}

/// The groups that run on one node. Cheap to clone.
#[derive(Clone)]
pub struct Consensus(Arc<Inner>);

struct Inner {
    options: ConsensusOptions,
    groups: RwLock<Groups>,
    /// One turn for each community, so that starting and stopping the same one never overlap and
    /// different ones never wait for each other.
    turns: Mutex<BTreeMap<CommunityId, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Default)]
struct Groups {
    running: BTreeMap<CommunityId, Arc<dyn Running>>,
    is_shut_down: bool,
}

impl Consensus {
    /// Runs nothing yet.
    #[must_use]
    pub fn new(options: ConsensusOptions) -> Self {
        Self(Arc::new(Inner { options, groups: RwLock::default(), turns: Mutex::default() }))
    }

    /// Starts a group; one that runs is returned as it is, one that stopped by a fault is started
    /// again. Before it joins its peers it executes what its log says is committed, so this may take
    /// long. Cancel safe: a start that was broken off can be repeated.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        &self,
        config: GroupConfig,
        machine: Box<dyn StateMachine>,
        fetch: Arc<dyn SnapshotFetch>,
    ) -> Result<GroupHandle, StartError> {
        let community = config.community;
        let turn = self.turn(community);
        let _turn = turn.lock().await;
        if let Some(running) = self.running(community) {
            if running.status().borrow().role != Role::Stopped {
                return Ok(running);
            }
            running.shutdown().await;
        }
        let ConsensusOptions { node, wal, transport, runtime } = self.0.options.clone();
        let parts = GroupParts { config, node, wal, transport, runtime, machine, fetch };
        let group = raft::start(parts).await?;
        if self.register(community, &group) {
            Ok(group)
        } else {
            group.shutdown().await;
            Err(StartError::Shutdown)
        }
    }

    /// A group that runs here.
    #[must_use]
    pub fn group(&self, community: CommunityId) -> Option<GroupHandle> {
        self.running(community).map(|group| group as GroupHandle)
    }

    /// The groups that run here, by community.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupHandle> {
        let groups = self.0.groups.read().expect("nothing panics while it holds the groups");
        groups.running.values().map(|group| Arc::clone(group) as GroupHandle).collect()
    }

    /// Stops a group in order; its log stays. Does nothing if it does not run.
    pub async fn stop(&self, community: CommunityId) {
        let turn = self.turn(community);
        let _turn = turn.lock().await;
        self.halt(community).await;
    }

    /// Stops a group and forgets its log, vote and all: this replica's life is over.
    ///
    /// # Errors
    /// When the log cannot be removed.
    pub async fn remove(&self, community: CommunityId) -> Result<(), StoreError> {
        let turn = self.turn(community);
        let _turn = turn.lock().await;
        self.halt(community).await;
        self.0.options.wal.remove_group(community).await
    }

    /// Stops every group; none can be started again.
    pub async fn shutdown(&self) {
        let running = {
            let mut groups = self.0.groups.write().expect("nothing panics while it holds the groups");
            groups.is_shut_down = true;
            std::mem::take(&mut groups.running)
        };
        futures::future::join_all(running.values().map(|group| group.shutdown())).await;
    }

    /// Serves what peers ask of the groups: the methods that begin with `raft/`.
    #[must_use]
    pub fn handler(&self) -> Arc<dyn PeerHandler> {
        Arc::new(self.clone())
    }

    /// The prefix of the methods that [`Self::handler`] serves.
    pub const METHODS: &str = raft::method::PREFIX;

    async fn halt(&self, community: CommunityId) {
        let running = {
            let mut groups = self.0.groups.write().expect("nothing panics while it holds the groups");
            groups.running.remove(&community)
        };
        if let Some(group) = running {
            group.shutdown().await;
        }
    }

    fn running(&self, community: CommunityId) -> Option<Arc<dyn Running>> {
        let groups = self.0.groups.read().expect("nothing panics while it holds the groups");
        groups.running.get(&community).cloned()
    }

    fn register(&self, community: CommunityId, group: &Arc<dyn Running>) -> bool {
        let mut groups = self.0.groups.write().expect("nothing panics while it holds the groups");
        if !groups.is_shut_down {
            groups.running.insert(community, Arc::clone(group));
        }
        !groups.is_shut_down
    }

    fn turn(&self, community: CommunityId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.turns.lock().expect("nothing panics while it holds the turns");
        Arc::clone(turns.entry(community).or_default())
    }

    fn asked(&self, community: CommunityId) -> Result<Arc<dyn Running>, PeerError> {
        self.running(community).ok_or_else(|| PeerError::Refused {
            node: self.0.options.node,
            code: "no-group".into(),
            message: format!("community {community} has no running group on this node"),
        })
    }
}

#[async_trait]
impl PeerHandler for Consensus {
    async fn call(
        &self,
        from: NodeId,
        community: CommunityId,
        method: &str,
        body: Bytes,
    ) -> Result<Bytes, PeerError> {
        self.asked(community)?.answer(from, method, body).await
    }

    async fn stream(
        &self,
        from: NodeId,
        community: CommunityId,
        method: &str,
        opening: Bytes,
        input: PeerStream,
    ) -> Result<PeerStream, PeerError> {
        self.asked(community)?.answer_stream(from, method, opening, input).await
    }
}
