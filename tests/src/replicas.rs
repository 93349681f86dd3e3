//! What the replicas of a community say: who leads, how far each is, whether they agree; and the
//! making of communities.

use crate::{cluster::Cluster, components::component, wait::eventually};
use althing_client::{Actor, Installation, NewCommunity, v1::ReplicaStatus};
use althing_core::{
    ids::{NodeId, Sequence},
    policy::Policy,
    transition::{Outcome, Receipt, Transition},
};
use bytes::Bytes;
use std::{collections::BTreeMap, time::Duration};

/// How long three nodes without optimisation may compile a program, on a machine that is busy with something else.
const COMPILING: Duration = Duration::from_secs(300);

/// A program by the names of its components.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The reducer.
    pub reducer: &'static str,
    /// Its configuration.
    pub config: String,
    /// Validators, each with its configuration.
    pub validators: Vec<(&'static str, String)>,
}

/// A reducer alone, without a configuration.
impl From<&'static str> for Program {
    fn from(reducer: &'static str) -> Self {
        Self { reducer, ..Self::default() }
    }
}

/// An actor without roles.
#[must_use]
pub fn actor(id: &str) -> Actor {
    Actor { id: id.to_owned(), roles: Vec::new() }
}

/// The default policy with changes, as it is sent.
///
/// # Panics
/// Never.
#[must_use]
pub fn policy(change: impl FnOnce(&mut Policy)) -> String {
    let mut policy = Policy::default();
    change(&mut policy);
    serde_json::to_string(&policy).expect("a policy is plain data")
}

impl Cluster {
    /// Creates a community with as many voters as usual and gives it a program.
    pub async fn found(&self, name: &str, program: impl Into<Program>) {
        self.found_with(NewCommunity { name: name.to_owned(), ..NewCommunity::default() }, program).await;
    }

    /// As [`Self::found`], with more to say about the community.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn found_with(&self, community: NewCommunity, program: impl Into<Program>) {
        let name = community.name.clone();
        self.client().await.admin().create(community).await.expect("the community is created");
        let receipt = self.install(&name, program).await;
        assert!(matches!(receipt.outcome, Outcome::Accepted { .. }), "{receipt:?}");
    }

    /// Makes a program a community's law.
    ///
    /// # Panics
    /// When it is refused; a program's own no is in the receipt.
    pub async fn install(&self, community: &str, program: impl Into<Program>) -> Receipt {
        let Program { reducer, config, validators } = program.into();
        let admin = self.client().await.admin();
        let mut uploaded = Vec::new();
        for (validator, config) in validators {
            uploaded.push((upload(&admin, validator).await, config.into()));
        }
        let installation = Installation {
            actor: actor("founder"),
            reducer: upload(&admin, reducer).await,
            validators: uploaded,
            config: config.into(),
            timeout: Some(COMPILING),
        };
        let receipt = admin.activate(community, installation).await.expect("the program is activated");
        self.keep_compiled();
        receipt
    }

    /// A community's replica on a node, as that node tells; none if it does not.
    pub async fn replica(&self, node: u64, community: &str) -> Option<ReplicaStatus> {
        let status = self.status(node).await?;
        status.replicas.into_iter().find(|replica| replica.name == community)
    }

    /// Waits for a leader and names its node: of several that claim to lead, the one of the latest
    /// term.
    pub async fn leader(&self, community: &str) -> u64 {
        self.leadership(community).await.0
    }

    /// As [`Self::leader`], with the term.
    pub async fn leadership(&self, community: &str) -> (u64, u64) {
        eventually(&format!("{community} has a leader"), async || {
            let mut leaders = Vec::new();
            for node in self.running() {
                let replica = self.replica(node, community).await;
                leaders
                    .extend(replica.filter(|replica| replica.role == "leader").map(|led| (led.term, node)));
            }
            leaders.into_iter().max().map(|(term, node)| (node, term))
        })
        .await
    }

    /// Some node that has a replica, runs, and does not lead.
    ///
    /// # Panics
    /// When there is none.
    pub async fn follower(&self, community: &str) -> u64 {
        let leader = self.leader(community).await;
        for node in self.running() {
            if node != leader && self.replica(node, community).await.is_some() {
                return node;
            }
        }
        panic!("{community} has no follower that runs")
    }

    /// Waits until these nodes' replicas are at one sequence, at or after `at_least`, with one digest;
    /// that sequence. Ends the story at once if two of them differ at a sequence.
    pub async fn agreed(&self, community: &str, nodes: &[u64], at_least: Sequence) -> Sequence {
        let mut digests = BTreeMap::new();
        eventually(&format!("{nodes:?} agree on {community} from {at_least} on"), async || {
            let mut sequences = Vec::new();
            for &node in nodes {
                let replica = self.replica(node, community).await?;
                assert_eq!(replica.fault, "", "node {node} has stopped {community}");
                let digest = digests.entry(replica.sequence).or_insert_with(|| replica.digest.clone());
                let (one, other) = (hex::encode(digest), hex::encode(&replica.digest));
                assert_eq!(one, other, "node {node} differs at sequence {}", replica.sequence);
                sequences.push(replica.sequence);
            }
            let first = *sequences.first()?;
            let is_agreed = first >= at_least.0 && sequences.iter().all(|&sequence| sequence == first);
            is_agreed.then_some(Sequence(first))
        })
        .await
    }

    /// Waits until a replica that began with a snapshot has fetched the whole history before it.
    pub async fn backfilled(&self, node: u64, community: &str) {
        eventually("the history before the snapshot is here", async || {
            let oldest = self.replica(node, community).await?.oldest_sequence;
            let began_with_snapshot = self.log(node).contains("the history before the snapshot is here");
            (oldest == 1 && began_with_snapshot).then_some(())
        })
        .await;
    }

    /// Everything that a node holds of a community's history, from the oldest on. Checks that there
    /// are no gaps.
    ///
    /// # Panics
    /// When it is refused, or there are.
    pub async fn history(&self, node: u64, community: &str) -> Vec<Transition> {
        let community = self.client_of(node).await.community(community);
        let mut history: Vec<Transition> = Vec::new();
        loop {
            let from = history.last().map_or(Sequence(0), |last| last.sequence.next());
            let held = community.history(from, 1024).await.expect("the history is told");
            if held.transitions.is_empty() {
                return history;
            }
            for transition in held.transitions {
                if let Some(last) = history.last() {
                    assert_eq!(transition.sequence, last.sequence.next(), "a gap in the history");
                }
                history.push(transition);
            }
        }
    }
}

async fn upload(admin: &althing_client::Admin, name: &str) -> althing_core::ids::Hash {
    let bytes: Bytes = component(name);
    let told = admin.upload_component(bytes).await;
    let told = told.unwrap_or_else(|error| panic!("{name} is not taken: {error}"));
    althing_core::ids::Hash(told.hash.as_ref().try_into().expect("a hash has 32 bytes"))
}

/// Node ids as the client names them.
#[must_use]
pub fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}
