//! `althing serve`: a node.

use crate::{
    arguments::DEFAULT_SERVER,
    context::Context,
    house::{House, Listen, Plan, is_known},
    show::Done,
};
use althing_core::segment::Rule;
use althing_node::{ArchiveOptions, Birth, SEGMENT_SPAN, SEGMENT_TRANSITIONS};
use althing_store::segments::DiskFiles;
use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use std::{fmt, fs, io, num::NonZeroUsize, path::Path, path::PathBuf, process, sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  althing serve --data ./node1 --bootstrap
  althing serve --data ./node2 --join 127.0.0.1:7511 --listen 127.0.0.1:7412 --peer-listen 127.0.0.1:7512
  althing serve --data ./node1                            again, as who it was
  althing serve --data ./node1 --archive /mnt/archive1    and whatever leaves its history is kept there

It prints one line when it serves, with the addresses it listens at (JSON with --output json).";

/// How long the first node of a cluster may take until communities can begin on it.
const FOUNDING_PATIENCE: Duration = Duration::from_secs(10);

/// Runs a node.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// Where everything durable lies; made if it is not there.
    #[arg(long, env = "ALTHING_DATA", value_name = "FOLDER")]
    data: PathBuf,
    /// Where to listen for clients; port 0 for any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_SERVER)]
    listen: String,
    /// Where to listen for other nodes.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7511")]
    peer_listen: String,
    /// What clients are to connect to, if that is another address.
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    /// What other nodes are to connect to, if that is another address.
    #[arg(long, value_name = "ADDRESS")]
    peer_advertise: Option<String>,
    /// Begins a new cluster, if the data folder is empty.
    #[arg(long, conflicts_with = "join")]
    bootstrap: bool,
    /// Joins the cluster of the node whose peer address this is, if the data folder is empty. A node whose
    /// log is lost asks there too to be taken back.
    #[arg(long, value_name = "ADDRESS")]
    join: Option<String>,
    /// Threads that execute operations; one for each core if not given.
    #[arg(long, value_name = "N")]
    guest_threads: Option<NonZeroUsize>,
    /// Where compiled components are kept, if not with the other data. Nodes of one machine may share it.
    #[arg(long, env = "ALTHING_COMPILED", value_name = "FOLDER")]
    compiled: Option<PathBuf>,
    /// Log entries kept behind a snapshot at least, so that a replica that lags a little needs no snapshot.
    #[arg(long, value_name = "ENTRIES")]
    log_kept: Option<u64>,
    /// MiB kept free on the disk of the data folder: with less, new operations are refused until there is
    /// room again. On the disk of the archive: with less, nothing is archived.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(0..1 << 30))]
    reserve_mib: u64,
    /// Archives history there: one folder for each community, with files that are kept for ever. Nothing leaves
    /// this node's history that is not in one of them. Each node needs a folder of its own.
    #[arg(long, env = "ALTHING_ARCHIVE", value_name = "FOLDER")]
    archive: Option<PathBuf>,
    /// A file of the archive ends with every sequence that is a multiple of this, or sooner.
    #[arg(long, value_name = "N", default_value_t = SEGMENT_TRANSITIONS, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    archive_transitions: u64,
    /// A file of the archive holds at most so many minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = SEGMENT_SPAN.as_secs() / 60, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    archive_minutes: u64,
    /// Writes a file, as JSON, when the node serves.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Said once, when the node serves.
#[derive(Debug, Serialize)]
struct Ready {
    node: u64,
    cluster: String,
    api_address: String,
    peer_address: String,
    pid: u32,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, cluster, api_address: api, peer_address: peer, .. } = self;
        write!(f, "node {node} of cluster {cluster} serves clients at {api} and nodes at {peer}")
    }
}

impl Serve {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (ready_file, bootstrap) = (self.ready_file.clone(), self.bootstrap);
        let house = House::start(self.plan()).await?;
        // Whoever began a cluster wants a community next. With others away it serves what it can.
        if bootstrap && !is_known(&house.node, FOUNDING_PATIENCE).await {
            tracing::warn!("the cluster does not know this node at its addresses yet: are others away?");
        }
        let ready = Ready {
            node: house.node.id().0,
            cluster: hex::encode(house.node.identity().cluster.0),
            api_address: house.api_address.clone(),
            peer_address: house.peer_address.clone(),
            pid: process::id(),
        };
        if let Some(file) = ready_file {
            write_whole(&file, &serde_json::to_vec(&ready)?)
                .with_context(|| format!("{} cannot be written", file.display()))?;
        }
        context.print(&ready)?;
        let node = ready.node;
        match until_asked_to_stop(house).await? {
            Ended::AsAsked => Ok(()),
            Ended::Left => {
                let left =
                    format!("node {node} has left the cluster for good: its data folder is of no more use");
                Ok(context.print(&Done::new(left))?)
            }
        }
    }

    fn plan(self) -> Plan {
        let birth = match (self.bootstrap, self.join) {
            (_, Some(address)) => Birth::Join { address },
            (true, None) => Birth::Bootstrap,
            (false, None) => Birth::Restart,
        };
        let rule = Rule { transitions: self.archive_transitions, span_millis: self.archive_minutes * 60_000 };
        let archive = self.archive.map(|folder| ArchiveOptions {
            files: Arc::new(DiskFiles::new(&folder)),
            place: folder.display().to_string(),
            reserve: self.reserve_mib << 20,
            rule,
        });
        Plan {
            data: self.data,
            listen: Listen { address: self.listen, advertise: self.advertise },
            peer_listen: Listen { address: self.peer_listen, advertise: self.peer_advertise },
            birth,
            guest_threads: self.guest_threads,
            compiled: self.compiled,
            log_kept: self.log_kept,
            reserve_bytes: Some(self.reserve_mib << 20),
            archive,
        }
    }
}

/// Why a node ended in order.
enum Ended {
    AsAsked,
    Left,
}

/// Serves until a signal asks it to stop, the node has left its cluster, or storage fails. A second signal
/// does not wait.
async fn until_asked_to_stop(mut house: House) -> anyhow::Result<Ended> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let node = house.node.clone();
    let ended = tokio::select! {
        _ = terminate.recv() => Ended::AsAsked,
        _ = interrupt.recv() => Ended::AsAsked,
        () = node.left() => Ended::Left,
        error = house.failed() => return Err(error),
    };
    tracing::info!("stopping; a second signal does not wait");
    tokio::select! {
        () = house.stop() => Ok(ended),
        _ = terminate.recv() => Err(in_a_hurry()),
        _ = interrupt.recv() => Err(in_a_hurry()),
    }
}

fn in_a_hurry() -> anyhow::Error {
    anyhow::anyhow!("stopped without waiting, as asked")
}

/// Writes a file so that whoever sees it sees it whole.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
