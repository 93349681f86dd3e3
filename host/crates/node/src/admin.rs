//! Creating, listing, inspecting and deleting communities, and setting their policies.

use crate::{
    directory::{
        program::VOTERS_MAX,
        record::{CommunityRecord, DirectoryOperation, DirectoryResult},
        view::DirectoryView,
    },
    node::Node,
    placing::Room,
    refuse,
    submit::Submitted,
};
use althing_consensus::port::Timing;
use althing_core::{
    batch::Command,
    ids::{CommunityId, NodeId},
    policy::Policy,
    refusal::{Code, Refusal},
};
use std::time::Duration;

/// Voters of a community for which nobody asked for a number.
const VOTERS_DEFAULT: usize = 3;
/// How long creating may wait for the community to have a leader.
const CREATE_PATIENCE: Duration = Duration::from_secs(10);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(20);

/// Where a community shall live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// On as many nodes as are there, at most three.
    #[default]
    Default,
    /// On so many nodes: those that are there first, then those with the fewest replicas.
    Count(usize),
    /// On these nodes.
    Nodes(Vec<NodeId>),
}

impl Node {
    /// Creates a community and waits until it has a leader.
    ///
    /// # Errors
    /// A refusal; [`Code::NoLeader`] when it was created but nobody leads it yet.
    pub async fn create_community(
        &self,
        name: String,
        placement: Placement,
        timing: Timing,
        policy: Policy,
    ) -> Result<CommunityRecord, Refusal> {
        policy.check().map_err(|bounds| Refusal::new(Code::BadPolicy, bounds.to_string()))?;
        let nodes = self.place(placement)?;
        let operation = DirectoryOperation::CreateCommunity { name, nodes, timing, policy: Box::new(policy) };
        let record = match self.change_directory(operation).await? {
            DirectoryResult::Community(record) => *record,
            other => return Err(unexpected(&other)),
        };
        self.wait_for_leader(&record).await?;
        Ok(record)
    }

    /// Every community, the system community first, as this node knows the directory.
    #[must_use]
    pub fn list_communities(&self) -> Vec<CommunityRecord> {
        DirectoryView(&self.directory()).communities()
    }

    /// One community.
    ///
    /// # Errors
    /// There is none.
    pub fn community(&self, name: &str) -> Result<CommunityRecord, Refusal> {
        DirectoryView(&self.directory()).find(name).ok_or_else(|| refuse::no_community(name))
    }

    /// Deletes a community with all it holds, on every node.
    ///
    /// # Errors
    /// A refusal.
    pub async fn delete_community(&self, name: &str) -> Result<(), Refusal> {
        let community = self.resolve(name).await?;
        self.change_directory(DirectoryOperation::DeleteCommunity { community }).await.map(|_| ())
    }

    /// The policy in force, as the replica here has it; where there is none, the one that the
    /// community began with.
    ///
    /// # Errors
    /// There is no such community; the replica here has stopped.
    pub fn policy(&self, name: &str) -> Result<Policy, Refusal> {
        let id = self.find(name)?;
        match self.hosted(id) {
            Some(here) => here.must_run().map(|()| here.view().policy().clone()),
            None => self.community(name).map(|record| record.founding_policy),
        }
    }

    /// Sets a community's policy, by its own log.
    ///
    /// # Errors
    /// A refusal; [`Code::BadPolicy`] names the value out of bounds.
    pub async fn set_policy(&self, name: &str, policy: Policy) -> Result<Submitted, Refusal> {
        policy.check().map_err(|bounds| Refusal::new(Code::BadPolicy, bounds.to_string()))?;
        let community = self.resolve(name).await?;
        self.command(community, Command::SetPolicy(Box::new(policy))).await
    }

    /// The nodes of a placement.
    pub(crate) fn place(&self, placement: Placement) -> Result<Vec<NodeId>, Refusal> {
        let room = Room::of(&self.directory());
        if room.len() == 0 {
            // The directory has not reached this node yet.
            return Err(refuse::no_leader(CommunityId::SYSTEM));
        }
        let count = match placement {
            Placement::Nodes(nodes) => return Ok(nodes),
            Placement::Default => room.present().clamp(1, VOTERS_DEFAULT),
            Placement::Count(count) => count,
        };
        let most = room.len().min(VOTERS_MAX);
        if count == 0 || count > most {
            return Err(Refusal::new(
                Code::BadMembers,
                format!("{count} voters were asked for: 1 to {most} are possible with {} nodes", room.len()),
            ));
        }
        Ok(room.by_preference().into_iter().take(count).collect())
    }

    pub(crate) async fn wait_for_leader(&self, record: &CommunityRecord) -> Result<(), Refusal> {
        let began = self.runtime().monotonic();
        loop {
            if self.has_leader(record).await {
                return Ok(());
            }
            if self.runtime().monotonic() - began > CREATE_PATIENCE {
                return Err(refuse::no_leader(record.id));
            }
            self.runtime().sleep(PAUSE).await;
        }
    }

    async fn has_leader(&self, record: &CommunityRecord) -> bool {
        match self.hosted(record.id) {
            Some(here) => here.status().leader.is_some(),
            None if record.replica_on(self.id()).is_some() => false,
            None => {
                let mut has_leader = false;
                for replica in record.replicas.values() {
                    has_leader |= self
                        .replica_status_on(replica.node, record.id)
                        .await
                        .is_ok_and(|status| status.leader_node.0 != 0);
                }
                has_leader
            }
        }
    }
}

pub(crate) fn unexpected(result: &DirectoryResult) -> Refusal {
    Refusal::new(Code::Internal, format!("the directory answered {result:?}, which was not asked for"))
}
