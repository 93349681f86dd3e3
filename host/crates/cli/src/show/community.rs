//! Communities and their replicas.

use crate::show::{
    program::ProgramShown,
    table::{row, table},
    transfer::TransferShown,
};
use althing_client::v1;
use althing_core::origin::Origin;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// One community, by name.
#[derive(Debug, Serialize)]
pub(crate) struct CommunityShown {
    id: u64,
    pub(crate) name: String,
    replicas: Vec<ReplicaShown>,
    voters_wanted: u32,
    /// Whose history it goes on with, if it was imported.
    origin: Option<OriginShown>,
    /// `lan`, `wan` or empty.
    timing: String,
}

/// The community whose history another one goes on with.
#[derive(Debug, Serialize)]
pub(crate) struct OriginShown {
    cluster: String,
    community: u64,
    name: String,
    sequence: u64,
    digest: String,
    seal: String,
}

/// One community's copy on one node.
#[derive(Debug, Serialize)]
pub(crate) struct ReplicaShown {
    replica: u64,
    node: u64,
    voter: bool,
}

/// Several communities.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct CommunitiesShown(Vec<CommunityShown>);

/// A community with all there is to know.
#[derive(Debug, Serialize)]
pub(crate) struct InspectedShown {
    #[serde(flatten)]
    community: CommunityShown,
    /// The replica on the answering node.
    replica: Option<ReplicaStatusShown>,
    program: Option<ProgramShown>,
    policy: Value,
}

/// How a replica does.
#[derive(Debug, Serialize)]
pub(crate) struct ReplicaStatusShown {
    pub(crate) community: u64,
    pub(crate) name: String,
    replica: u64,
    pub(crate) role: String,
    leader_node: Option<u64>,
    term: u64,
    last_index: u64,
    committed_index: u64,
    applied_index: u64,
    snapshot_index: u64,
    pub(crate) sequence: u64,
    pub(crate) digest: String,
    state_bytes: u64,
    state_keys: u64,
    oldest_sequence: u64,
    members: Vec<ReplicaShown>,
    fault: Option<String>,
    waiting: u64,
    subscribers: u64,
    transfer: Option<TransferShown>,
}

impl CommunityShown {
    /// The nodes with a replica.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = u64> {
        self.replicas.iter().map(|replica| replica.node)
    }

    fn vacant(&self) -> usize {
        let voters = self.replicas.iter().filter(|replica| replica.voter).count();
        usize::try_from(self.voters_wanted).unwrap_or(usize::MAX).saturating_sub(voters)
    }
}

impl ReplicaStatusShown {
    /// Why it stopped, if it did.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The snapshot that it is receiving.
    pub(crate) fn transfer(&self) -> Option<&TransferShown> {
        self.transfer.as_ref()
    }
}

impl From<v1::CommunityInfo> for CommunityShown {
    fn from(info: v1::CommunityInfo) -> Self {
        let replicas = info.replicas.into_iter().map(Into::into).collect();
        let origin = info.origin.map(Into::into);
        let v1::CommunityInfo { id, name, timing, voters_wanted, .. } = info;
        Self { id, name, replicas, voters_wanted, origin, timing }
    }
}

impl From<v1::Origin> for OriginShown {
    fn from(origin: v1::Origin) -> Self {
        let v1::Origin { cluster, community, name, sequence, digest, seal } = origin;
        Self { cluster, community, name, sequence, digest: hex::encode(digest), seal: hex::encode(seal) }
    }
}

impl From<Origin> for OriginShown {
    fn from(origin: Origin) -> Self {
        v1::Origin::from(origin).into()
    }
}

impl From<v1::ReplicaInfo> for ReplicaShown {
    fn from(v1::ReplicaInfo { replica, node, voter }: v1::ReplicaInfo) -> Self {
        Self { replica, node, voter }
    }
}

impl FromIterator<v1::CommunityInfo> for CommunitiesShown {
    fn from_iter<I: IntoIterator<Item = v1::CommunityInfo>>(infos: I) -> Self {
        Self(infos.into_iter().map(Into::into).collect())
    }
}

impl From<v1::InspectCommunityResponse> for InspectedShown {
    fn from(told: v1::InspectCommunityResponse) -> Self {
        Self {
            community: told.community.unwrap_or_default().into(),
            replica: told.replica.map(Into::into),
            program: told.program.map(Into::into),
            policy: serde_json::from_str(&told.policy).unwrap_or(Value::String(told.policy)),
        }
    }
}

impl From<v1::ReplicaStatus> for ReplicaStatusShown {
    fn from(status: v1::ReplicaStatus) -> Self {
        Self {
            community: status.community,
            name: status.name,
            replica: status.replica,
            role: status.role,
            leader_node: (status.leader_node != 0).then_some(status.leader_node),
            term: status.term,
            last_index: status.last_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            sequence: status.sequence,
            digest: hex::encode(&status.digest),
            state_bytes: status.state_bytes,
            state_keys: status.state_keys,
            oldest_sequence: status.oldest_sequence,
            members: status.members.into_iter().map(Into::into).collect(),
            fault: (!status.fault.is_empty()).then_some(status.fault),
            waiting: status.waiting,
            subscribers: status.subscribers,
            transfer: status.transfer.map(Into::into),
        }
    }
}

impl fmt::Display for ReplicaShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.voter { "voter" } else { "learner" };
        write!(f, "replica {} on node {} ({kind})", self.replica, self.node)
    }
}

impl fmt::Display for OriginShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, community, name, sequence, digest, .. } = self;
        write!(f, "{name} (id {community}) of cluster {cluster} at sequence {sequence}, digest {digest}")
    }
}

impl fmt::Display for CommunityShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (id {})", self.name, self.id)?;
        for replica in &self.replicas {
            writeln!(f, "  {replica}")?;
        }
        if let Some(origin) = &self.origin {
            writeln!(f, "  goes on with {origin}")?;
        }
        match self.vacant() {
            0 => Ok(()),
            vacant => {
                writeln!(f, "  {vacant} of {} places vacant: no node could take them yet", self.voters_wanted)
            }
        }
    }
}

impl fmt::Display for CommunitiesShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no communities: `althing community create NAME` makes one");
        }
        let mut rows = vec![row(["id", "name", "voters on", "learners on"])];
        for community in &self.0 {
            let (id, voters, learners) =
                (community.id.to_string(), nodes(community, true), nodes(community, false));
            rows.push(row([&id, &community.name, &voters, &learners]));
        }
        f.write_str(&table(&rows))
    }
}

fn nodes(community: &CommunityShown, voters: bool) -> String {
    let nodes: Vec<_> = community
        .replicas
        .iter()
        .filter(|replica| replica.voter == voters)
        .map(|replica| replica.node.to_string())
        .collect();
    nodes.join(",")
}

impl fmt::Display for InspectedShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.community.fmt(f)?;
        match &self.program {
            Some(program) => write!(f, "{program}")?,
            None => writeln!(f, "no program yet")?,
        }
        if let Some(replica) = &self.replica {
            writeln!(f, "on the answering node:\n{replica}")?;
        }
        writeln!(f, "policy: {}", self.policy)
    }
}

impl fmt::Display for ReplicaStatusShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leader = self.leader_node.map_or("nobody known".to_owned(), |node| format!("node {node}"));
        writeln!(f, "  role      {} (leader: {leader}, term {})", self.role, self.term)?;
        writeln!(f, "  sequence  {}, history held from {}", self.sequence, self.oldest_sequence)?;
        writeln!(f, "  digest    {}", self.digest)?;
        writeln!(f, "  state     {} keys, {} bytes", self.state_keys, self.state_bytes)?;
        writeln!(
            f,
            "  log       last {}, committed {}, applied {}, snapshot {}",
            self.last_index, self.committed_index, self.applied_index, self.snapshot_index
        )?;
        writeln!(f, "  waiting   {}, subscribers {}", self.waiting, self.subscribers)?;
        if let Some(transfer) = &self.transfer {
            writeln!(f, "  RECEIVES  {transfer}")?;
        }
        match &self.fault {
            Some(fault) => writeln!(f, "  STOPPED   {fault}"),
            None => Ok(()),
        }
    }
}
