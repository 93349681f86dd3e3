//! Reading: questions to the program, and pages of its keys, with the consistency that was asked for.
//!
//! A reader takes a version of the state (O(1)) and keeps it, so it never delays apply and is never
//! torn by it. A node without a replica asks one that has it.

use crate::{
    community::Community,
    node::Node,
    peer::{Ask, ScanRange, method},
    refuse,
};
use althing_consensus::{
    peers::Lane,
    port::{ReadPolicy, Role},
};
use althing_core::{
    actor::Actor,
    ids::{CommunityId, Hash, NodeId, Sequence},
    program::End,
    refusal::{Code, Refusal},
    time::Timestamp,
    transition::{Rejection, Trap},
    view::View,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

/// How long a read may wait for the state it asks for.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How long a leader may take to make sure that it leads: so short that its successor can be asked
/// when it is gone.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait before a leader is looked for again.
const PAUSE: Duration = Duration::from_millis(25);

/// How fresh an answer must be (promise P5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// As of some moment after the request began.
    #[default]
    Linearizable,
    /// Not before this sequence.
    AtLeast(Sequence),
    /// What the answering node has.
    Local,
}

/// What a question was answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The program's answer.
    Given(Bytes),
    /// The program refuses to answer.
    Rejected(Rejection),
    /// The program failed; nothing but this answer is lost.
    Trapped(Trap),
}

/// An answer, and the state it was given from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryAnswer {
    /// The answer.
    pub answer: Answer,
    /// The last transition in the state that was asked.
    pub sequence: Sequence,
    /// Its time.
    pub time: Timestamp,
    /// Its digest.
    pub digest: Hash,
    /// Fuel used.
    pub fuel: u64,
}

/// A page of a program's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned {
    /// Ascending.
    pub pairs: Vec<(Bytes, Bytes)>,
    /// Where to go on; none at the end.
    pub next: Option<Bytes>,
    /// The last transition in the state that was read.
    pub sequence: Sequence,
    /// Its digest.
    pub digest: Hash,
}

/// A program, ready to be asked, and which one it is.
pub(crate) struct QueryProgram {
    hash: Hash,
    wasm: Arc<althing_engine::QueryProgram>,
}

impl Node {
    /// Asks a community's program a question.
    ///
    /// # Errors
    /// A refusal when the consistency cannot be had in time, or there is no program.
    #[tracing::instrument(name = "query", level = "debug", skip_all)]
    pub async fn query(
        &self,
        community: &str,
        actor: Actor,
        question: Bytes,
        consistency: Consistency,
    ) -> Result<QueryAnswer, Refusal> {
        let community = self.resolve(community).await?;
        match self.hosted(community) {
            Some(local) => self.query_here(&local, actor, question, consistency).await,
            None => self.elsewhere(community, method::QUERY, &Ask { actor, question, consistency }).await,
        }
    }

    /// Reads a page of a community's program keys, at most 1024 pairs.
    ///
    /// # Errors
    /// A refusal when the consistency cannot be had in time, or the bounds are too long.
    pub async fn scan(
        &self,
        community: &str,
        start: Bytes,
        end: Option<Bytes>,
        limit: u32,
        consistency: Consistency,
    ) -> Result<Scanned, Refusal> {
        let community = self.resolve(community).await?;
        let range = ScanRange { start, end, limit, consistency };
        match self.hosted(community) {
            Some(local) => self.scan_here(&local, &range).await,
            None => self.elsewhere(community, method::SCAN, &range).await,
        }
    }

    pub(crate) async fn query_here(
        &self,
        local: &Arc<Community>,
        actor: Actor,
        question: Bytes,
        consistency: Consistency,
    ) -> Result<QueryAnswer, Refusal> {
        let view = self.view_at(local, consistency).await?;
        let program = self.query_program(local, &view).await?;
        let (context, overlay) = (view.context(actor), view.overlay());
        let fuel = view.policy().quotas.operation_fuel;
        let run = move || program.wasm.query(&context, &question, overlay, fuel);
        let asked = self.askers().run(run).await.map_err(|fault| refuse::fault(&fault))?;
        let asked = asked.map_err(|fault| refuse::fault(&fault))?;
        local.must_run()?;
        let answer = match asked.end {
            End::Accept(answer) => Answer::Given(answer),
            End::Reject(rejection) => Answer::Rejected(rejection),
            End::Trap(trap) => Answer::Trapped(trap),
        };
        Ok(QueryAnswer {
            answer,
            sequence: view.sequence(),
            time: view.time(),
            digest: view.digest(),
            fuel: asked.fuel,
        })
    }

    pub(crate) async fn scan_here(
        &self,
        local: &Arc<Community>,
        range: &ScanRange,
    ) -> Result<Scanned, Refusal> {
        let view = self.view_at(local, range.consistency).await?;
        let page = view
            .scan(&range.start, range.end.as_deref(), range.limit)
            .map_err(|refused| Refusal::new(Code::BadRequest, refused.to_string()))?;
        Ok(Scanned { pairs: page.pairs, next: page.next, sequence: view.sequence(), digest: view.digest() })
    }

    /// The state with the wanted consistency.
    ///
    /// # Errors
    /// A refusal when it cannot be had in time.
    pub(crate) async fn view_at(
        &self,
        local: &Arc<Community>,
        consistency: Consistency,
    ) -> Result<View, Refusal> {
        local.must_run()?;
        let view = self.view_when(local, consistency).await?;
        // It may have been found to differ meanwhile.
        local.must_run().map(|()| view)
    }

    async fn view_when(&self, local: &Arc<Community>, consistency: Consistency) -> Result<View, Refusal> {
        match consistency {
            Consistency::Local => Ok(local.view()),
            Consistency::AtLeast(sequence) => {
                let reached = self.wait(local, |view, _| view.sequence() >= sequence).await;
                reached.ok_or_else(|| not_reached(local, &format!("sequence {sequence}")))
            }
            Consistency::Linearizable => {
                let index = self.barrier(local).await?;
                let reached = self.wait(local, |_, applied| applied >= index).await;
                reached.ok_or_else(|| not_reached(local, "the leader's state"))
            }
        }
    }

    /// The index that a linearizable read must have seen: from here if this node leads, else from
    /// the leader.
    async fn barrier(&self, local: &Arc<Community>) -> Result<u64, Refusal> {
        let community = local.id();
        let began = self.runtime().monotonic();
        loop {
            let index = if local.leads() {
                self.barrier_here(local).await
            } else {
                match self.leader_of(community) {
                    Some(leader) => {
                        self.peers()
                            .ask(leader, Lane::Control, community, method::BARRIER, &(), BARRIER_TIMEOUT)
                            .await
                    }
                    None => Err(refuse::no_leader(community)),
                }
            };
            // A barrier changes nothing, so every failure to get one may be tried again.
            match index {
                Err(_) if self.runtime().monotonic() - began < READ_PATIENCE => {
                    local.must_run()?;
                    self.runtime().sleep(PAUSE).await;
                }
                Err(refusal) if refusal.code == Code::ReplicaStopped => return Err(refusal),
                Err(_) => return Err(refuse::no_leader(community)),
                Ok(index) => return Ok(index),
            }
        }
    }

    /// The index that a linearizable read must have seen, on the leader.
    pub(crate) async fn barrier_here(&self, local: &Arc<Community>) -> Result<u64, Refusal> {
        let read = local.group.read_barrier(ReadPolicy::ReadIndex).await;
        read.map_err(|error| refuse::read(local.id(), error))
    }

    /// The first state for which `is_enough` holds, if it comes in time.
    pub(crate) async fn wait(
        &self,
        local: &Community,
        is_enough: impl Fn(&View, u64) -> bool,
    ) -> Option<View> {
        let enough = local.wait_for(|published| is_enough(&published.view, published.applied_index));
        self.runtime().timeout(READ_PATIENCE, enough).await
    }

    /// The program in force, loaded for questions; kept until another is.
    async fn query_program(&self, local: &Arc<Community>, view: &View) -> Result<Arc<QueryProgram>, Refusal> {
        let Some(manifest) = view.program_manifest() else {
            return Err(Refusal::new(
                Code::NoProgram,
                format!(
                    "community {} runs no program yet: install one with `althing program install`",
                    local.hosted.name
                ),
            ));
        };
        if local.id() == CommunityId::SYSTEM {
            return Err(Refusal::new(
                Code::BadRequest,
                "the system community answers no questions: see `althing status`",
            ));
        }
        let hash = manifest.hash();
        let kept = local.query_program.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| kept.hash == hash) {
            return Ok(kept);
        }
        self.components().hold(manifest.reducer, &self.sources(local.id())).await?;
        let wasm = self.components().engine().load_query(manifest).map_err(|fault| refuse::fault(&fault))?;
        let program = Arc::new(QueryProgram { hash, wasm });
        *local.query_program.lock().unwrap_or_else(PoisonError::into_inner) = Some(program.clone());
        Ok(program)
    }

    /// Asks the nodes that have a replica, one after the other, until one answers for itself.
    pub(crate) async fn elsewhere<A: DeserializeOwned>(
        &self,
        community: CommunityId,
        method: &'static str,
        question: &(impl Serialize + Sync),
    ) -> Result<A, Refusal> {
        let mut last = refuse::no_leader(community);
        for node in self.hosts(community) {
            match self.peers().ask(node, Lane::Log, community, method, question, READ_PATIENCE * 2).await {
                Err(refusal) if is_elsewhere(&refusal) => last = refusal,
                answer => return answer,
            }
        }
        Err(last)
    }

    /// The nodes that have a replica of a community, the believed leader first.
    pub(crate) fn hosts(&self, community: CommunityId) -> Vec<NodeId> {
        let leader = self.leader_of(community);
        let me = self.id();
        let others = self.sources(community).into_iter().filter(|&node| node != me && Some(node) != leader);
        leader.into_iter().filter(|&node| node != me).chain(others).collect()
    }
}

/// Whether another node may do better.
fn is_elsewhere(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        Code::NoLeader
            | Code::UnknownOutcome
            | Code::TimedOut
            | Code::ReplicaStopped
            | Code::NoReplica
            | Code::NotReached
    )
}

fn not_reached(local: &Arc<Community>, what: &str) -> Refusal {
    let (role, sequence) = (local.status().role, local.view().sequence());
    let learner = if role == Role::Learner { ", which is catching up" } else { "" };
    Refusal::new(
        Code::NotReached,
        format!(
            "the replica of {} on this node{learner} is at sequence {sequence} and did not reach {what} within {} s: \
             retry, or ask another node",
            local.hosted.name,
            READ_PATIENCE.as_secs()
        ),
    )
    .with("sequence", sequence)
}
