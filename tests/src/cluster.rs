//! A cluster of real processes on this machine, with data on disk: started, killed, stopped, started
//! again on the same addresses.
//!
//! Nodes are named by their ids, 1, 2, 3, …: each joins when the one before it has. Whatever a method
//! cannot do ends the story, with the last words of every node.

use crate::{
    compiled,
    disk::Disk,
    network::Network,
    process::{Process, last_words},
    proxy::Proxy,
    wait::eventually,
};
use althing_client::{Client, Options, v1};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Mutex,
    time::Duration,
};
use tempfile::TempDir;

/// How a cluster is to be.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    nodes: u64,
    arguments: Vec<String>,
    proxied: BTreeSet<u64>,
    is_apart: bool,
    disk_mib: Option<u64>,
    archive: Option<PathBuf>,
}

impl Setup {
    /// So many nodes, as `althing serve` starts them by default.
    #[must_use]
    pub fn nodes(nodes: u64) -> Self {
        Self { nodes, ..Self::default() }
    }

    /// With a further argument for each node.
    #[must_use]
    pub fn with(mut self, option: &str, value: impl ToString) -> Self {
        self.arguments.extend([option.to_owned(), value.to_string()]);
        self
    }

    /// With a [`Disk`] of so many MiB for each node's data. See [`Disk::works`].
    #[must_use]
    pub fn on_disks(mut self, mib: u64) -> Self {
        self.disk_mib = Some(mib);
        self
    }

    /// With a [`Network`] of its own, each node in a namespace of its own. See [`Network::works`].
    #[must_use]
    pub fn in_namespaces(mut self) -> Self {
        self.is_apart = true;
        self
    }

    /// With an archive for each node, `node-1`, `node-2`, … in this folder.
    #[must_use]
    pub fn archiving(mut self, folder: &Path) -> Self {
        self.archive = Some(folder.to_owned());
        self
    }

    /// With a [`Proxy`] before the peer listener of this node.
    #[must_use]
    pub fn proxied(mut self, node: u64) -> Self {
        self.proxied.insert(node);
        self
    }
}

/// The cluster; dropping it kills every node.
#[derive(Debug)]
pub struct Cluster {
    nodes: BTreeMap<u64, Node>,
    /// After the processes that are in it.
    network: Option<Network>,
    /// The last field: the data goes when the processes are gone.
    folder: TempDir,
}

#[derive(Debug)]
struct Node {
    data: PathBuf,
    log: PathBuf,
    ready_file: PathBuf,
    api: String,
    peer: String,
    namespace: Option<PathBuf>,
    arguments: Vec<String>,
    proxy: Option<Proxy>,
    process: Option<Process>,
    /// After the process: nobody may use it any more.
    disk: Option<Disk>,
}

impl Cluster {
    /// Starts so many nodes; returns when all of them know each other.
    pub async fn start(nodes: u64) -> Self {
        Self::start_with(Setup::nodes(nodes)).await
    }

    /// As [`Self::start`], with more to say about it.
    ///
    /// # Panics
    /// When a node does not start.
    pub async fn start_with(setup: Setup) -> Self {
        let folder =
            tempfile::Builder::new().prefix("althing-story-").tempdir().expect("a folder can be made");
        let network = setup.is_apart.then(|| Network::make().expect("`Network::works` said that it works"));
        let mut cluster = Self { nodes: BTreeMap::new(), network, folder };
        for id in 1..=setup.nodes {
            cluster.add(&setup, id).await;
        }
        cluster.settled().await;
        cluster
    }

    async fn add(&mut self, setup: &Setup, id: u64) {
        let mut node = Node::new(self.folder.path(), id, setup.arguments.clone());
        if let Some(network) = &mut self.network {
            network.attach(id).expect("`Network::works` said that it works");
            (node.api, node.peer) = (network.api(id), network.peer(id));
            node.namespace = Some(network.namespace(id));
        }
        if setup.proxied.contains(&id) {
            let proxy = Proxy::start(node.peer.clone()).await;
            node.arguments.extend(["--peer-advertise".to_owned(), proxy.address()]);
            node.proxy = Some(proxy);
        }
        if let Some(folder) = &setup.archive {
            let folder = folder.join(format!("node-{id}"));
            node.arguments.extend(["--archive".to_owned(), folder.to_string_lossy().into_owned()]);
        }
        if let Some(mib) = setup.disk_mib {
            let (image, at) = (format!("disk-{id}.img"), format!("disk-{id}"));
            let (image, at) = (self.folder.path().join(image), self.folder.path().join(at));
            node.data = at.join("data");
            node.disk = Some(Disk::make(&image, &at, mib).expect("`Disk::works` said that it works"));
        }
        let birth = match self.nodes.values().find(|node| node.process.is_some()) {
            None => vec!["--bootstrap".to_owned()],
            Some(member) => vec!["--join".to_owned(), member.peer.clone()],
        };
        compiled::give(&node.data);
        node.start(birth, &[]);
        self.nodes.insert(id, node);
        self.ready(id).await;
    }

    /// Lets another node join, and waits until it serves; its id.
    pub async fn join(&mut self) -> u64 {
        let id = self.nodes.keys().next_back().map_or(1, |last| last + 1);
        self.add(&Setup::default(), id).await;
        id
    }

    /// Waits until a node serves.
    async fn ready(&mut self, id: u64) {
        let node = self.node_mut(id);
        let ready_file = node.ready_file.clone();
        eventually(&format!("node {id} serves"), async || {
            let process = node.process.as_mut().expect("it was started");
            if let Some(status) = process.ended() {
                panic!("node {id} ended ({status})");
            }
            ready_file.exists().then_some(())
        })
        .await;
        let ready = fs::read_to_string(&ready_file).expect("it is there");
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("it is written whole");
        assert_eq!(ready["node"], id, "nodes are numbered in the order in which they join");
    }

    /// Waits until every running node knows all nodes and the system community votes as it will.
    pub async fn settled(&self) {
        let nodes = self.nodes.len();
        let voters = nodes.min(5) - usize::from(nodes.min(5).is_multiple_of(2));
        for &id in self.running().iter() {
            eventually(&format!("node {id} knows {nodes} nodes"), async || {
                let status = self.status(id).await?;
                let system = status.replicas.iter().find(|replica| replica.community == 0)?;
                let votes = system.members.iter().filter(|member| member.voter).count();
                let members = system.members.len();
                (status.nodes.len() == nodes && members == nodes && votes == voters).then_some(())
            })
            .await;
        }
    }

    /// SIGKILL, and nothing else.
    pub fn kill(&mut self, id: u64) {
        self.take(id).kill();
    }

    /// SIGTERM, and waits for its end.
    pub async fn stop(&mut self, id: u64) -> ExitStatus {
        self.take(id).stop().await
    }

    /// Starts a node again, on its data and where it listened before; returns when it serves.
    pub async fn restart(&mut self, id: u64) {
        self.begin(id);
        self.serves(id).await;
    }

    /// Starts a node that was stopped or killed, and does not wait for it.
    ///
    /// # Panics
    /// When it is running.
    pub fn begin(&mut self, id: u64) {
        self.begin_in(id, &[]);
    }

    /// As [`Self::begin`], with more in its environment.
    ///
    /// # Panics
    /// When it is running.
    pub fn begin_in(&mut self, id: u64, environment: &[(String, String)]) {
        let node = self.node_mut(id);
        assert!(node.process.is_none(), "node {id} is running");
        node.start(Vec::new(), environment);
    }

    /// Whether a node that was started serves by now.
    #[must_use]
    pub fn is_ready(&self, id: u64) -> bool {
        self.node(id).ready_file.exists()
    }

    /// The number of a node's process.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn pid(&self, id: u64) -> u32 {
        self.node(id).process.as_ref().unwrap_or_else(|| panic!("node {id} is not running")).pid()
    }

    /// Sends a node that runs a signal, such as `STOP`.
    ///
    /// # Panics
    /// When it is not running.
    pub fn signal(&self, id: u64, signal: &str) {
        self.node(id).process.as_ref().unwrap_or_else(|| panic!("node {id} is not running")).signal(signal);
    }

    /// Waits until a node that was started serves.
    pub async fn serves(&mut self, id: u64) {
        self.ready(id).await;
    }

    /// Waits until a node that was started ends by itself.
    pub async fn ends(&mut self, id: u64) -> ExitStatus {
        let mut process = self.take(id);
        eventually(&format!("node {id} ends"), async || process.ended()).await
    }

    /// Whether a node that was started has ended by itself.
    pub fn has_ended(&mut self, id: u64) -> bool {
        self.node_mut(id).process.as_mut().is_some_and(|process| process.ended().is_some())
    }

    /// How a node that has ended by itself did; it can then be started again.
    ///
    /// # Panics
    /// When it has not.
    pub fn ended(&mut self, id: u64) -> ExitStatus {
        self.take(id).ended().unwrap_or_else(|| panic!("node {id} is running"))
    }

    /// Cuts the power of these nodes' disks, all before anything else, and then of the nodes; then the
    /// disks have power again.
    ///
    /// # Panics
    /// When a node has no disk of its own, or the system says no.
    pub fn cut_power(&mut self, ids: &[u64]) {
        for &id in ids {
            self.node(id).disk().cut_power().expect("a disk can lose power");
        }
        for &id in ids {
            self.kill(id);
        }
        for &id in ids {
            self.node(id).disk().restore_power().expect("power comes back");
        }
    }

    fn take(&mut self, id: u64) -> Process {
        self.node_mut(id).process.take().unwrap_or_else(|| panic!("node {id} is not running"))
    }

    /// A client that knows every node, running or not.
    ///
    /// # Panics
    /// When no node answers.
    pub async fn client(&self) -> Client {
        Client::connect(self.addresses()).await.expect("some node answers")
    }

    /// As [`Self::client`], with another patience.
    ///
    /// # Panics
    /// When no node answers.
    pub async fn patient_client(&self, patience: Duration) -> Client {
        let options = Options { patience, ..Options::default() };
        Client::connect_with(self.addresses(), options).await.expect("some node answers")
    }

    /// A client that knows this node only.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn client_of(&self, id: u64) -> Client {
        Client::connect(vec![self.api(id)]).await.expect("the node answers")
    }

    /// For each node that runs, a client with this patience that knows it only.
    ///
    /// # Panics
    /// When one does not answer.
    pub async fn clients_of_each(&self, patience: Duration) -> BTreeMap<u64, Client> {
        let mut clients = BTreeMap::new();
        for id in self.running() {
            let options = Options { patience, ..Options::default() };
            let client = Client::connect_with(vec![self.api(id)], options).await;
            clients.insert(id, client.expect("the node answers"));
        }
        clients
    }

    /// What a node says of itself; none when it does not answer.
    pub async fn status(&self, id: u64) -> Option<v1::StatusResponse> {
        let short = Duration::from_secs(5);
        let options = Options { patience: short, attempt: short, ..Options::default() };
        let client = Client::connect_with(vec![self.api(id)], options).await.ok()?;
        client.admin().status().await.ok()
    }

    /// Where clients find all nodes.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.values().map(|node| node.api.clone()).collect()
    }

    /// Where clients find a node.
    #[must_use]
    pub fn api(&self, id: u64) -> String {
        self.node(id).api.clone()
    }

    /// Where peers find a node.
    #[must_use]
    pub fn peer(&self, id: u64) -> String {
        self.node(id).peer.clone()
    }

    /// The proxy before a node that was set up with one.
    ///
    /// # Panics
    /// When it was not.
    #[must_use]
    pub fn proxy(&self, id: u64) -> &Proxy {
        self.node(id).proxy.as_ref().expect("it was set up with one")
    }

    /// The network of a cluster that was set up with one.
    #[must_use]
    pub const fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// A node's data directory.
    #[must_use]
    pub fn data(&self, id: u64) -> &Path {
        &self.node(id).data
    }

    /// What a node has logged so far.
    ///
    /// # Panics
    /// When it has never been started.
    #[must_use]
    pub fn log(&self, id: u64) -> String {
        fs::read_to_string(&self.node(id).log).expect("it was started")
    }

    /// A folder for whatever a story needs, gone with the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The ids of the nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<u64> {
        let running = self.nodes.iter().filter(|(_, node)| node.process.is_some());
        running.map(|(&id, _)| id).collect()
    }

    /// Lets later stories have what this one's nodes have compiled.
    pub(crate) fn keep_compiled(&self) {
        self.nodes.values().for_each(|node| compiled::keep(&node.data));
    }

    fn node(&self, id: u64) -> &Node {
        self.nodes.get(&id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    fn node_mut(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).unwrap_or_else(|| panic!("there is no node {id}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (id, node) in &self.nodes {
                eprintln!("\n--- the last words of node {id}\n{}", last_words(&node.log));
            }
        }
    }
}

impl Node {
    fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("it was set up with a disk")
    }

    fn new(folder: &Path, id: u64, arguments: Vec<String>) -> Self {
        Self {
            data: folder.join(format!("node-{id}")),
            log: folder.join(format!("node-{id}.log")),
            ready_file: folder.join(format!("node-{id}.json")),
            api: free_address(),
            peer: free_address(),
            namespace: None,
            arguments,
            proxy: None,
            process: None,
            disk: None,
        }
    }

    fn start(&mut self, birth: Vec<String>, environment: &[(String, String)]) {
        // Of the run before.
        let _ = fs::remove_file(&self.ready_file);
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut arguments: Vec<String> =
            ["serve", "--listen", &self.api, "--peer-listen", &self.peer].map(str::to_owned).into();
        arguments.extend(["--data".to_owned(), path(&self.data)]);
        arguments.extend(["--ready-file".to_owned(), path(&self.ready_file)]);
        arguments.extend(self.arguments.iter().cloned().chain(birth));
        self.process = Some(Process::start(&arguments, environment, self.namespace.as_deref(), &self.log));
    }
}

/// An address that nobody listens at and that nobody is given again. Below the range from which the
/// system takes ports for outgoing connections, so that a node that is away finds it free again.
///
/// # Panics
/// Never, for want of that many ports.
#[must_use]
pub fn free_address() -> String {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut random = SmallRng::from_os_rng();
    loop {
        let port = random.random_range(10_000..32_000);
        if !given.contains(&port) && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return format!("127.0.0.1:{port}");
        }
    }
}
