//! What a seed decides before a run begins: how large the cluster is, how bad its network and disks are, and
//! which faults may happen at all. Not every run has every fault: what one fault hides another run shows.

use althing_consensus::memory::Link;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use std::{fmt, ops::RangeInclusive, time::Duration};

/// What can go wrong, or be changed, while clients work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing from or to a node gets through.
    Isolate,
    /// The same, for whoever leads.
    IsolateLeader,
    /// One direction of one link is cut.
    OneWay,
    /// The nodes fall into two sides.
    Partition,
    /// A node loses power.
    Crash,
    /// Whoever leads loses power.
    CrashLeader,
    /// All nodes lose power at once.
    CrashAll,
    /// Messages are lost and streams break.
    Loss,
    /// Messages take long and overtake each other.
    Delay,
    /// Questions arrive twice.
    Twice,
    /// A node's clock jumps.
    ClockJump,
    /// A node's disk stalls.
    SlowDisk,
    /// A snapshot is cut out of turn.
    Snapshot,
    /// Leadership is handed over.
    Transfer,
    /// A replica is removed and one added.
    Members,
    /// A replica is rebuilt under a fresh id.
    Rebuild,
    /// Another program becomes the law.
    Upgrade,
    /// An answer does not reach its client, who asks again.
    LostAnswer,
    /// A client gives an operation up without an answer.
    GivenUp,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Isolate,
        Self::IsolateLeader,
        Self::OneWay,
        Self::Partition,
        Self::Crash,
        Self::CrashLeader,
        Self::CrashAll,
        Self::Loss,
        Self::Delay,
        Self::Twice,
        Self::ClockJump,
        Self::SlowDisk,
        Self::Snapshot,
        Self::Transfer,
        Self::Members,
        Self::Rebuild,
        Self::Upgrade,
        Self::LostAnswer,
        Self::GivenUp,
    ];

    /// What kind of thing it is, for the table.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Isolate
            | Self::IsolateLeader
            | Self::OneWay
            | Self::Partition
            | Self::Loss
            | Self::Delay
            | Self::Twice => "network",
            Self::Crash | Self::CrashLeader | Self::CrashAll => "power",
            Self::ClockJump | Self::SlowDisk => "machine",
            Self::Snapshot | Self::Transfer | Self::Members | Self::Rebuild | Self::Upgrade => "change",
            Self::LostAnswer | Self::GivenUp => "client",
        }
    }

    /// Whether clients make it happen, rather than what shakes the cluster.
    #[must_use]
    pub const fn is_of_clients(self) -> bool {
        matches!(self, Self::LostAnswer | Self::GivenUp)
    }

    /// Whether the cluster is asked for it, and may refuse or fail.
    #[must_use]
    pub const fn is_asked_for(self) -> bool {
        matches!(self, Self::Snapshot | Self::Transfer | Self::Members | Self::Rebuild | Self::Upgrade)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Isolate => "node isolated",
            Self::IsolateLeader => "leader isolated",
            Self::OneWay => "one-way cut",
            Self::Partition => "partition",
            Self::Crash => "power cut",
            Self::CrashLeader => "power cut of the leader",
            Self::CrashAll => "power cut of all",
            Self::Loss => "lossy links",
            Self::Delay => "slow links",
            Self::Twice => "doubled messages",
            Self::ClockJump => "clock jump",
            Self::SlowDisk => "stalled disk",
            Self::Snapshot => "snapshot out of turn",
            Self::Transfer => "leadership handed over",
            Self::Members => "change of members",
            Self::Rebuild => "replica rebuilt",
            Self::Upgrade => "program upgrade",
            Self::LostAnswer => "lost answer",
            Self::GivenUp => "operation given up",
        })
    }
}

/// How long a disk takes to make durable what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The shortest time.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

/// What a seed decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many nodes.
    pub nodes: u64,
    /// How many communities.
    pub communities: usize,
    /// Clients of each community that change something.
    pub writers: usize,
    /// Clients of each community that ask.
    pub readers: usize,
    /// Subscribers of each community.
    pub subscribers: usize,
    /// Counters of each community.
    pub keys: usize,
    /// How long things go wrong.
    pub unsafe_phase: Duration,
    /// Between two things that go wrong, in milliseconds.
    pub pause: RangeInclusive<u64>,
    /// How links behave when nothing is wrong with them.
    pub link: Link,
    /// How disks do.
    pub disk: Disk,
    /// Entries kept in the log below a snapshot.
    pub log_kept: u64,
    /// A snapshot is cut after so many transitions.
    pub snapshot_transitions: u64,
    /// What may go wrong.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// What this seed decides.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x706c_616e);
        let mut faults = Fault::ALL.to_vec();
        faults.shuffle(&mut rng);
        let count = rng.random_range(faults.len() / 3..=faults.len());
        faults.truncate(count);
        faults.sort_unstable();
        let latency_max = *pick(&mut rng, &[2, 2, 10, 50]);
        let disk_most = *pick(&mut rng, &[1, 5, 5, 40]);
        let pause = pick(&mut rng, &[50..=400, 200..=1000, 500..=3000]).clone();
        Self {
            seed,
            nodes: *pick(&mut rng, &[3, 3, 5]),
            communities: rng.random_range(1..=3),
            writers: rng.random_range(1..=4),
            readers: rng.random_range(1..=2),
            subscribers: rng.random_range(1..=2),
            keys: rng.random_range(1..=4),
            unsafe_phase: Duration::from_secs(rng.random_range(10..=40)),
            pause,
            link: Link {
                latency_min: Duration::from_micros(100),
                latency_max: Duration::from_millis(latency_max),
                ..Link::default()
            },
            disk: Disk { least: Duration::from_micros(100), most: Duration::from_millis(disk_most) },
            log_kept: *pick(&mut rng, &[0, 5, 20, 200]),
            snapshot_transitions: *pick(&mut rng, &[10, 40, 40, 500]),
            faults,
        }
    }

    /// A cluster in which nothing goes wrong by itself, no community is founded and nobody works: for
    /// stories that say themselves what happens.
    #[must_use]
    pub fn quiet(seed: u64, nodes: u64) -> Self {
        Self {
            seed,
            nodes,
            communities: 0,
            writers: 0,
            readers: 0,
            subscribers: 0,
            keys: 1,
            unsafe_phase: Duration::ZERO,
            pause: 0..=0,
            link: Link::default(),
            disk: Disk { least: Duration::from_micros(100), most: Duration::from_millis(1) },
            log_kept: 20,
            snapshot_transitions: 40,
            faults: Vec::new(),
        }
    }

    /// Whether something may go wrong.
    #[must_use]
    pub fn allows(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

/// One of several.
pub(super) fn pick<'a, T>(rng: &mut SmallRng, choices: &'a [T]) -> &'a T {
    &choices[rng.random_range(0..choices.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_decides_the_same_every_time_and_a_hundred_of_them_everything() {
        assert_eq!(Plan::of(7), Plan::of(7));
        let plans: Vec<Plan> = (0..100).map(Plan::of).collect();
        let seen: BTreeSet<Fault> = plans.iter().flat_map(|plan| plan.faults.clone()).collect();
        assert_eq!(seen.len(), Fault::ALL.len());
        assert!(plans.iter().any(|plan| plan.nodes == 3) && plans.iter().any(|plan| plan.nodes == 5));
        assert!(plans.iter().all(|plan| plan.faults.len() >= Fault::ALL.len() / 3));
    }
}
