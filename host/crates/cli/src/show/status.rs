//! A node, and what it knows of its cluster.

use crate::show::{
    archive::ArchiveShown,
    community::ReplicaStatusShown,
    table::{row, table},
};
use althing_client::v1;
use serde::Serialize;
use std::fmt;

/// A node, and what it knows.
#[derive(Debug, Serialize)]
pub(crate) struct StatusShown {
    cluster: String,
    node: u64,
    version: String,
    fingerprint: String,
    uptime_millis: u64,
    nodes: Vec<NodeShown>,
    replicas: Vec<ReplicaStatusShown>,
    scrub: ScrubShown,
    archive: Option<ArchiveShown>,
}

/// What the node has found in what it stores, since it started.
#[derive(Debug, Serialize)]
struct ScrubShown {
    rounds: u64,
    bytes: u64,
    found: u64,
    mended: u64,
    damaged: u64,
}

#[derive(Debug, Serialize)]
struct NodeShown {
    node: u64,
    peer_address: String,
    api_address: String,
    last_seen_millis: u64,
}

impl From<v1::StatusResponse> for StatusShown {
    fn from(status: v1::StatusResponse) -> Self {
        let nodes = status.nodes.into_iter().map(|node| NodeShown {
            node: node.node,
            peer_address: node.peer_address,
            api_address: node.api_address,
            last_seen_millis: node.last_seen_millis,
        });
        let v1::ScrubInfo { rounds, bytes, found, mended, damaged } = status.scrub.unwrap_or_default();
        Self {
            archive: status.archive.map(Into::into),
            scrub: ScrubShown { rounds, bytes, found, mended, damaged },
            cluster: hex::encode(&status.cluster),
            node: status.node,
            version: status.version,
            fingerprint: hex::encode(&status.fingerprint),
            uptime_millis: status.uptime_millis,
            nodes: nodes.collect(),
            replicas: status.replicas.into_iter().map(Into::into).collect(),
        }
    }
}

impl fmt::Display for StatusShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.uptime_millis / 1000;
        writeln!(f, "node {} of cluster {}", self.node, self.cluster)?;
        writeln!(f, "althing {}, up {seconds} s, engine {}\n", self.version, self.fingerprint)?;
        let mut nodes = vec![row(["node", "api", "peers", "last seen"])];
        let newest = self.nodes.iter().map(|node| node.last_seen_millis).max().unwrap_or(0);
        for node in &self.nodes {
            let seen = format!("{} s before the newest", (newest - node.last_seen_millis) / 1000);
            nodes.push(row([&node.node.to_string(), &node.api_address, &node.peer_address, &seen]));
        }
        writeln!(f, "{}", table(&nodes))?;
        let mut replicas = vec![row(["community", "role", "sequence", "digest"])];
        for replica in &self.replicas {
            let digest = replica.digest.get(..16).unwrap_or(&replica.digest);
            let name = format!("{} ({})", replica.name, replica.community);
            replicas.push(row([&name, &replica.role, &replica.sequence.to_string(), digest]));
        }
        f.write_str(&table(&replicas))?;
        for replica in &self.replicas {
            if let Some(transfer) = replica.transfer() {
                writeln!(f, "\n{} RECEIVES {transfer}", replica.name)?;
            }
            if let Some(fault) = replica.fault() {
                writeln!(f, "\n{} STOPPED: {fault}", replica.name)?;
            }
        }
        if let Some(archive) = &self.archive {
            write!(f, "\n{archive}")?;
        }
        self.scrub.fmt(f)
    }
}

impl fmt::Display for ScrubShown {
    /// Nothing, while nothing was found.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, mended, damaged, .. } = self;
        match (found, mended, damaged) {
            (0, 0, 0) => Ok(()),
            (.., 0) => writeln!(
                f,
                "\nDAMAGE was found in what is stored here, {found} times; {mended} chunks and components are whole again"
            ),
            _ => writeln!(
                f,
                "\nDAMAGE: {damaged} chunks of snapshots here are damaged, and nobody has them (`althing snapshot verify`)"
            ),
        }
    }
}
