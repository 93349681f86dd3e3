//! How a group starts: its configuration, and what runs beside it.
//!
//! Decisions that keep restarts safe:
//! - `committed` is stored, but not with an fsync of its own, so after a crash it may be older than
//!   what was acknowledged. It only bounds what is executed again before the replica joins; a
//!   restarted leader therefore never resumes (`enable_leader_restore` is off): it stands for
//!   election, whose first entry commits everything before it.
//! - Pre-vote is on: a replica that cannot hear the leader asks whether it could win before it
//!   raises the term, so a one-way partition does not depose a working leader.
//! - Snapshots are asked for by the state machine's owner, never by openraft, so that they can be
//!   cut at the same sequences everywhere.

use super::{
    Running, closing,
    group::RaftGroup,
    log::Log,
    machine::{FaultSlot, Machine},
    network::Network,
    proposals::Proposals,
    purge::{self, Floor},
    status::{self, StatusBoard},
    types::Raft,
};
use crate::{
    peers::PeerTransport,
    port::{GroupConfig, SnapshotFetch, StartError, StateMachine},
    runtime::Runtime,
};
use althing_core::ids::NodeId;
use althing_store::port::Wal;
use openraft::{AsyncRuntime, Config, SnapshotPolicy};
use openraft_rt_sim::SimRuntime;
use openraft_rt_tokio::TokioRuntime;
use std::{
    sync::{Arc, Mutex, Weak, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::Notify;

/// Most proposals that wait for the core.
const PROPOSALS_QUEUED_MAX: u64 = 4096;

/// What a group is made of.
pub(crate) struct GroupParts {
    pub(crate) config: GroupConfig,
    pub(crate) node: NodeId,
    pub(crate) wal: Arc<dyn Wal>,
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) runtime: Runtime,
    pub(crate) machine: Box<dyn StateMachine>,
    pub(crate) fetch: Arc<dyn SnapshotFetch>,
}

/// Starts a group: executes again what is known to be committed, then joins its peers.
pub(crate) async fn start(parts: GroupParts) -> Result<Arc<dyn Running>, StartError> {
    if parts.runtime.is_simulated() {
        Ok(start_on::<SimRuntime>(parts).await?)
    } else {
        Ok(start_on::<TokioRuntime>(parts).await?)
    }
}

async fn start_on<RT: AsyncRuntime>(parts: GroupParts) -> Result<Arc<RaftGroup<RT>>, StartError> {
    let GroupParts { config, node, wal, transport, runtime, machine, fetch } = parts;
    let (community, replica) = (config.community, config.replica);
    let fault = FaultSlot::default();
    let network = Network::<RT>::new(community, transport, runtime.clone(), config.timing);
    let (life, closing) = closing::life();
    let floor = Floor::default();
    let machine = Machine::<RT>::new(machine, Arc::clone(&fault), floor.clone(), life);
    let log = Log::<RT>::new(community, wal);
    let raft = Raft::<RT>::new(replica.0, Arc::new(configure(&config)?), network, log.clone(), machine)
        .await
        .map_err(|fatal| StartError::Failed {
            why: fault.get().cloned().unwrap_or_else(|| fatal.to_string()),
        })?;
    let board = Arc::new(StatusBoard::new(replica, &runtime));
    // Once the core has answered anything, its metrics tell what was restored.
    let _ = raft.with_raft_state(|_| ()).await;
    status::show_now::<RT>(&raft.metrics(), &board);
    let cut = Arc::new(Notify::new());
    let kept = status::keep::<RT>(raft.metrics(), Arc::clone(&board), Arc::clone(&fault), Arc::clone(&cut));
    let keeper = runtime.spawn("group status", kept);
    let group = Arc::new(RaftGroup {
        raft,
        log,
        config,
        node,
        runtime: runtime.clone(),
        fetch,
        board,
        proposals: Arc::<Proposals>::default(),
        fault,
        floor,
        is_changing: Arc::<AtomicBool>::default(),
        closing,
        tasks: Mutex::new(vec![keeper]),
    });
    let warden = runtime.spawn("group warden", watch_over(Arc::downgrade(&group)));
    let purger = runtime.spawn("group purge", purge::keep_purging(Arc::downgrade(&group), cut));
    group.tasks.lock().expect("nobody else knows the group yet").extend([warden, purger]);
    Ok(group)
}

/// Does what nobody asks for: gives up what cannot succeed, finishes what was left half-way.
async fn watch_over<RT: AsyncRuntime>(group: Weak<RaftGroup<RT>>) {
    loop {
        let Some((runtime, period)) = group.upgrade().map(|group| {
            let period = group.election_max() / 2;
            (group.runtime.clone(), period)
        }) else {
            return;
        };
        runtime.sleep(period).await;
        let Some(group) = group.upgrade() else { return };
        group.give_up_without_quorum();
        group.finish_joint();
    }
}

fn configure(config: &GroupConfig) -> Result<Config, StartError> {
    let timing = &config.timing;
    let raft = Config {
        cluster_name: format!("community {}", config.community),
        heartbeat_interval: timing.heartbeat_millis,
        election_timeout_min: timing.election_millis_min,
        election_timeout_max: timing.election_millis_max,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        snapshot_policy: SnapshotPolicy::Never,
        // All of it: `purge` decides.
        max_in_snapshot_log_to_keep: u64::MAX,
        replication_lag_threshold: config.log_kept.max(1),
        api_channel_size: Some(PROPOSALS_QUEUED_MAX),
        api_batch_capacity: PROPOSALS_QUEUED_MAX,
        // A lone proposal never waits: what queues while one append is under way makes the batch.
        api_batch_linger_ms: 0,
        install_snapshot_timeout: u64::try_from(Duration::from_secs(3600).as_millis()).unwrap_or(u64::MAX),
        ..Config::default()
    };
    raft.validate().map_err(|error| StartError::Invalid { why: error.to_string() })
}
