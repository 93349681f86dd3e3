//! Three nodes as processes on this machine, each with data on disk.

use super::{althing::Althing, process::Process};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a node may take until it serves.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(20);

/// The cluster.
pub(crate) struct Cluster {
    althing: Althing,
    nodes: Vec<Node>,
}

/// A node, running or not.
struct Node {
    id: u64,
    data: PathBuf,
    /// Shared: they run on one machine, and compiling is slow in a build without optimisation.
    compiled: PathBuf,
    ready_file: PathBuf,
    api: String,
    peer: String,
    process: Option<Process>,
}

impl Cluster {
    /// Starts `count` nodes with their data below `folder`; returns when all of them serve.
    pub(crate) fn start(althing: Althing, folder: &Path, count: u64) -> Result<Self> {
        let mut cluster = Self { althing, nodes: Vec::new() };
        for id in 1..=count {
            let mut node = Node {
                id,
                data: folder.join(format!("node-{id}")),
                compiled: folder.join("compiled"),
                ready_file: folder.join(format!("node-{id}.json")),
                api: "127.0.0.1:0".to_owned(),
                peer: "127.0.0.1:0".to_owned(),
                process: None,
            };
            let founder = cluster.nodes.first().map(|founder| founder.peer.clone());
            let how = match &founder {
                None => vec!["--bootstrap"],
                Some(address) => vec!["--join", address],
            };
            node.start(&cluster.althing, &how)?;
            cluster.nodes.push(node);
        }
        Ok(cluster)
    }

    /// Where clients find all nodes.
    pub(crate) fn servers(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.api.clone()).collect()
    }

    /// Where clients find one node.
    pub(crate) fn server(&self, id: u64) -> Result<String> {
        Ok(self.node(id)?.api.clone())
    }

    /// The ids of the nodes.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// The ids of those that run.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.nodes.iter().filter(|node| node.process.is_some()).map(|node| node.id).collect()
    }

    /// SIGKILL to a node; the id of the process that is no more.
    pub(crate) fn kill(&mut self, id: u64) -> Result<u32> {
        let node = self.nodes.iter_mut().find(|node| node.id == id).context("no such node")?;
        let process = node.process.take().context("the node is not running")?;
        let process_id = process.id();
        process.kill()?;
        Ok(process_id)
    }

    /// Starts a node that was killed, on its data, where it was before.
    pub(crate) fn restart(&mut self, id: u64) -> Result<()> {
        let althing = self.althing.clone();
        let node = self.nodes.iter_mut().find(|node| node.id == id).context("no such node")?;
        node.start(&althing, &[])
    }

    fn node(&self, id: u64) -> Result<&Node> {
        self.nodes.iter().find(|node| node.id == id).context("no such node")
    }
}

impl Node {
    fn start(&mut self, althing: &Althing, how: &[&str]) -> Result<()> {
        if self.ready_file.exists() {
            fs::remove_file(&self.ready_file).context("removing the ready file of the last run")?;
        }
        let data = self.data.to_string_lossy();
        let compiled = self.compiled.to_string_lossy();
        let ready_file = self.ready_file.to_string_lossy();
        let mut arguments = vec!["serve", "--data", &data, "--listen", &self.api];
        arguments.extend(["--peer-listen", &self.peer, "--ready-file", &ready_file]);
        arguments.extend(["--compiled", &compiled]);
        arguments.extend(how);
        let name = format!("node {}", self.id);
        let process = althing.start_quiet(&name, &arguments)?;
        let ready = self.wait_until_ready(process)?;
        let address = |name: &str| {
            ready[name].as_str().map(str::to_owned).with_context(|| format!("{name} is missing in {ready}"))
        };
        self.api = address("api_address")?;
        self.peer = address("peer_address")?;
        Ok(())
    }

    fn wait_until_ready(&mut self, process: Process) -> Result<Value> {
        let process = self.process.insert(process);
        let deadline = Instant::now() + START_PATIENCE;
        while Instant::now() < deadline {
            process.check_alive()?;
            // Written whole or not at all, so what is there can be read.
            if let Ok(text) = fs::read_to_string(&self.ready_file) {
                return serde_json::from_str(&text).context("reading the ready file");
            }
            std::thread::sleep(PAUSE);
        }
        bail!("node {} does not serve after {START_PATIENCE:?}", self.id)
    }
}
