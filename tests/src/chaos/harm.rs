//! What is done to real nodes, one kind at a time: done, held for a while, and undone.

use super::{COMMUNITY, wires::losses};
use crate::{
    cluster::Cluster,
    nth::{How, Stage},
    wait::{eventually, passes},
};
use rand::{
    Rng as _,
    rngs::SmallRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use std::{
    fmt, fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long something is held.
const HELD_MILLIS: std::ops::Range<u64> = 200..5000;
/// How many packets of a hundred a lossy wire loses.
const LOSS_PERCENT: std::ops::RangeInclusive<u8> = 10..=35;
/// How long a node that is to meet a failing call has for it.
const STRIKE_PATIENCE: Duration = Duration::from_secs(20);
/// Files that nobody damages: the lock holds nothing.
const LEFT_ALONE: [&str; 1] = ["lock"];

/// Kinds of harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// One node is killed.
    Kill,
    /// All nodes are killed.
    KillAll,
    /// One node stands still, and goes on as if nothing had been.
    Pause,
    /// Nobody reaches one node, which reaches everybody.
    Cut,
    /// One node and the others do not reach each other. Clients reach all of them.
    Isolate,
    /// Whatever one node sends to the others is lost; it hears them.
    Mute,
    /// Whatever the others send to one node is lost; they hear it.
    Deaf,
    /// Two nodes do not reach each other; both reach the third.
    Split,
    /// Packets between all nodes are lost by chance.
    Lossy,
    /// One node's disk loses power, and the node with it.
    Power,
    /// All nodes' disks lose power at once.
    PowerAll,
    /// One node's disk is full.
    Full,
    /// One call of a node to its disk fails, or is its last.
    Call,
    /// A bit of a file of a node that is down flips.
    Flip,
    /// A file of a node that is down is cut off.
    Truncate,
}

impl Harm {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Kill,
        Self::KillAll,
        Self::Pause,
        Self::Cut,
        Self::Isolate,
        Self::Mute,
        Self::Deaf,
        Self::Split,
        Self::Lossy,
        Self::Power,
        Self::PowerAll,
        Self::Full,
        Self::Call,
        Self::Flip,
        Self::Truncate,
    ];

    /// Whether it needs a disk of its own for each node.
    #[must_use]
    pub const fn needs_disks(self) -> bool {
        matches!(self, Self::Power | Self::PowerAll | Self::Full)
    }

    /// Whether it needs a network of the cluster's own.
    #[must_use]
    pub const fn needs_network(self) -> bool {
        matches!(self, Self::Isolate | Self::Mute | Self::Deaf | Self::Split | Self::Lossy)
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "node killed",
            Self::KillAll => "all nodes killed",
            Self::Pause => "node stood still",
            Self::Cut => "node cut off",
            Self::Isolate => "node isolated",
            Self::Mute => "node not heard",
            Self::Deaf => "node hears nobody",
            Self::Split => "link cut",
            Self::Lossy => "lossy links",
            Self::Power => "power cut",
            Self::PowerAll => "power cut of all",
            Self::Full => "disk full",
            Self::Call => "failing call",
            Self::Flip => "flipped bit",
            Self::Truncate => "truncated file",
        })
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was done.
    Done,
    /// It was done, and the node refused to start on what it found: it said why, and got its file back.
    Refused,
    /// There was no occasion.
    Missed,
}

/// Does harm to a cluster all of whose nodes run, and undoes it.
///
/// # Panics
/// When a node does not come back.
pub async fn harm(cluster: &mut Cluster, stage: &Stage, what: Harm, rng: &mut SmallRng) -> Came {
    let all = cluster.running();
    let one = *all.choose(rng).expect("there are nodes");
    let held = Duration::from_millis(rng.random_range(HELD_MILLIS));
    match what {
        Harm::Kill => {
            cluster.kill(one);
            passes(held).await;
            cluster.restart(one).await;
        }
        Harm::KillAll => {
            all.iter().for_each(|&id| cluster.kill(id));
            begin_all(cluster, &all, rng).await;
        }
        Harm::Pause => {
            cluster.signal(one, "STOP");
            passes(held).await;
            cluster.signal(one, "CONT");
        }
        Harm::Cut | Harm::Isolate | Harm::Mute | Harm::Deaf | Harm::Split | Harm::Lossy => {
            return wires(cluster, what, held, rng).await;
        }
        Harm::Power => {
            cluster.cut_power(&[one]);
            passes(held).await;
            cluster.restart(one).await;
        }
        Harm::PowerAll => {
            cluster.cut_power(&all);
            begin_all(cluster, &all, rng).await;
        }
        Harm::Full => return full(cluster, one, held).await,
        Harm::Call => return call(cluster, stage, one, rng).await,
        Harm::Flip | Harm::Truncate => return damage(cluster, one, what, rng).await,
    }
    Came::Done
}

async fn begin_all(cluster: &mut Cluster, all: &[u64], rng: &mut SmallRng) {
    let mut order = all.to_vec();
    order.shuffle(rng);
    order.iter().for_each(|&id| cluster.begin(id));
    for &id in all {
        cluster.serves(id).await;
    }
}

/// Nodes do not reach each other, or not always. Half of the time it is the leader's wires. One time in three the node
/// whose wires they are is killed before they are mended: what it had and nobody else meets what was decided without it.
async fn wires(cluster: &mut Cluster, what: Harm, held: Duration, rng: &mut SmallRng) -> Came {
    let mut nodes = cluster.running();
    let all = nodes.clone();
    nodes.shuffle(rng);
    if rng.random() {
        let leader = cluster.leader(COMMUNITY).await;
        nodes.sort_by_key(|&node| node != leader);
    }
    let [one, other] = [nodes[0], nodes[1]];
    let Some(network) = cluster.network() else {
        assert_eq!(what, Harm::Cut, "the others need a network");
        cluster.proxy(one).cut();
        passes(held).await;
        cluster.proxy(one).mend();
        return Came::Done;
    };
    let losses = losses(what, one, other, &all, rng.random_range(LOSS_PERCENT));
    eprintln!("   {}", losses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    network.lose(&losses).expect("it was tried");
    passes(held).await;
    let is_killed = rng.random_ratio(1, 3);
    if is_killed {
        eprintln!("   and node {one} is killed");
        cluster.kill(one);
    }
    cluster.network().expect("it was there").mend().expect("it was tried");
    if is_killed {
        cluster.restart(one).await;
    }
    Came::Done
}

/// What is free on its disk is taken, and given back. A node whose disk fails for good ends, and begins again.
async fn full(cluster: &mut Cluster, id: u64, held: Duration) -> Came {
    let ballast = cluster.data(id).parent().expect("a disk").join("ballast");
    let Ok(file) = fs::File::create(&ballast) else { return Came::Missed };
    let megabyte = vec![0xa5; 1 << 20];
    let mut at = 0;
    while file.write_all_at(&megabyte, at).is_ok() {
        at += 1 << 20;
    }
    drop(file);
    passes(held).await;
    fs::remove_file(&ballast).expect("it was just written");
    if cluster.has_ended(id) {
        let _ = cluster.ended(id);
        cluster.restart(id).await;
    }
    Came::Done
}

/// The node begins again with something between it and its disk.
async fn call(cluster: &mut Cluster, stage: &Stage, id: u64, rng: &mut SmallRng) -> Came {
    let how = *How::ALL.choose(rng).expect("there are some");
    let at = rng.random_range(1..2000);
    let count = cluster.folder().join(format!("count-{id}"));
    fs::write(&count, [0; 16]).expect("the folder can be written");
    cluster.kill(id);
    let between = stage.between(cluster.data(id), &count, at, how);
    cluster.begin_in(id, &between);
    let deadline = tokio::time::Instant::now() + STRIKE_PATIENCE;
    while !cluster.has_ended(id) && tokio::time::Instant::now() < deadline {
        passes(Duration::from_millis(50)).await;
    }
    let came = if cluster.has_ended(id) {
        let _ = cluster.ended(id);
        Came::Done
    } else {
        // It goes on: what failed was none of what it cannot do without, or was never called.
        cluster.kill(id);
        Came::Missed
    };
    cluster.restart(id).await;
    came
}

/// A file is damaged while the node is down.
async fn damage(cluster: &mut Cluster, id: u64, what: Harm, rng: &mut SmallRng) -> Came {
    cluster.kill(id);
    let mut files = files(cluster.data(id));
    files.shuffle(rng);
    let Some(path) = files.pop() else {
        cluster.restart(id).await;
        return Came::Missed;
    };
    let sound = fs::read(&path).expect("it is there");
    let at = rng.random_range(0..sound.len());
    let mut damaged = sound.clone();
    if what == Harm::Flip {
        damaged[at] ^= 1 << rng.random_range(0..8);
    } else {
        damaged.truncate(at);
    }
    eprintln!("   node {id}: {what} in {} at {at} of {}", path.display(), sound.len());
    fs::write(&path, &damaged).expect("it can be written");
    cluster.begin(id);
    let began = eventually("the node serves, or ends and says why", async || {
        if cluster.has_ended(id) { Some(false) } else { cluster.is_ready(id).then_some(true) }
    })
    .await;
    if began {
        return Came::Done;
    }
    let status = cluster.ended(id);
    assert_eq!(status.code(), Some(1), "it says why it ends: {}", cluster.log(id));
    fs::write(&path, &sound).expect("it can be written");
    cluster.restart(id).await;
    Came::Refused
}

/// The files of a data directory that hold something.
fn files(data: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![data.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let Ok(is) = entry.metadata() else { continue };
            let is_left_alone = LEFT_ALONE.iter().any(|name| entry.file_name() == *name);
            if is.is_dir() {
                folders.push(path);
            } else if is.len() > 0 && !is_left_alone {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
