//! A bit that flips in memory where nothing reads or writes any more. Digests do not see it. If a cut
//! encodes its chunk again, the state root shows it; if not, looking at live state again does. The flips are
//! real: made in the bytes of the live state themselves, which every clone of it shares.

use super::{GUILD, SEEDS, Stage, evidence, names};
use crate::{Role, roots::Root};
use althing_consensus::runtime::{Runtime, simulate};
use althing_core::{ids::Sequence, state::Keyspace, testing::Step};
use bytes::Bytes;
use std::{fs::OpenOptions, os::unix::fs::FileExt, time::Duration};

/// Keys that are written once and never touched again; together they make several chunks.
const QUIET: u64 = 40;

fn quiet(number: u64) -> Bytes {
    format!("quiet/{number:02}").into()
}

impl Stage {
    async fn write_quiet(&mut self, bytes: usize) {
        for number in 0..QUIET {
            self.say(&[Step::Set(quiet(number), vec![b'a'; bytes].into())]).await;
        }
    }

    /// Flips a bit of a quiet value of a replica, in its memory.
    fn flip_in_memory(&self, victim: u64, number: u64) {
        let node = self.node(victim);
        let view = node.hosted(node.find(GUILD).unwrap()).unwrap().view();
        let value = view.state().get(Keyspace::Program, &quiet(number)).unwrap();
        let last = value.len() - 1;
        let memory = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
        memory.write_all_at(b"b", value.as_ptr().addr() as u64 + last as u64).unwrap();
        assert_eq!(std::hint::black_box(value)[last], b'b');
    }

    /// Tells the tale until every replica has cut a snapshot beyond a sequence; the root of each there.
    async fn until_cut_beyond(&mut self, sequence: u64) -> Vec<Root> {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for _ in 0..200 {
            self.tell().await;
            self.runtime.sleep(Duration::from_millis(50)).await;
            let cut = |&id: &u64| {
                let here = self.node(id).hosted(self.node(id).find(GUILD).ok()?)?;
                let beyond = here.roots.sequences().into_iter().find(|cut| cut.0 > sequence)?;
                here.last_cut()?;
                here.roots.at(beyond)
            };
            let cut: Vec<Option<Root>> = ids.iter().map(cut).collect();
            if cut.iter().all(Option::is_some) {
                return cut.into_iter().flatten().collect();
            }
        }
        panic!("no snapshot is cut beyond {sequence}");
    }

    async fn quarantined_within(&self, victim: u64, patience: Duration) -> bool {
        let began = self.runtime.monotonic();
        while self.node(victim).quarantined().is_empty() {
            if self.runtime.monotonic() - began > patience {
                return false;
            }
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
        true
    }

    async fn sequence(&self, id: u64) -> u64 {
        self.replica(id).await.unwrap().sequence.0
    }
}

/// A flip that the next cut encodes: in a state of one chunk, all of it is written to.
async fn found_by_its_root(runtime: Runtime, is_leader: bool) {
    let mut stage = Stage::set(runtime, 3).await;
    stage.write_quiet(10).await;
    stage.until_cut_beyond(0).await;
    let leader = stage.leader().await;
    let victim = if is_leader { leader } else { 1 + leader % 3 };
    stage.flip_in_memory(victim, 7);
    for _ in 0..3 {
        stage.tell().await;
    }
    stage.runtime.sleep(Duration::from_secs(2)).await;
    assert!(stage.nodes.values().all(|(node, _)| node.quarantined().is_empty()), "digests do not see it");

    let flipped_at = stage.sequence(victim).await;
    while stage.sequence(victim).await / 40 == flipped_at / 40 {
        stage.tell().await;
        stage.runtime.sleep(Duration::from_millis(50)).await;
    }
    assert!(stage.quarantined_within(victim, Duration::from_secs(3)).await, "its root shows it");
    stage.must_serve_nothing(victim).await;
    let others = stage.nodes.iter().filter(|(id, _)| **id != victim);
    assert!(others.into_iter().all(|(_, (node, _))| node.quarantined().is_empty()));
    let told = evidence(&stage.evidence(victim));
    let fields = "community compared_at digest first_pair majority_state_root name node own_state_root replica why witness_node";
    assert_eq!(names(&told), fields, "a format that people keep");
    assert_eq!(names(&told["first_pair"]), "key keyspace own_value witness_value");
    assert_ne!(told["own_state_root"], told["majority_state_root"], "{told}");
    assert_eq!(told["first_pair"]["key"], "quiet/07", "{told}");
    assert_eq!(told["first_pair"]["own_value"], "aaaaaaaaab", "{told}");
    assert_eq!(told["first_pair"]["witness_value"], "aaaaaaaaaa", "{told}");
    heal(stage, victim).await;
}

/// Clients go on, a restart changes nothing, a rebuild brings it back.
async fn heal(mut stage: Stage, victim: u64) {
    for _ in 0..10 {
        stage.tell().await;
    }
    stage.restart(victim).await;
    stage.runtime.sleep(Duration::from_secs(2)).await;
    assert!(stage.replica(victim).await.unwrap().fault.unwrap().contains("quarantined"));
    let leader = stage.leader().await;
    let rebuilt = stage.node(leader).rebuild_replica(GUILD, althing_core::ids::NodeId(victim), None).await;
    rebuilt.unwrap();
    stage.tell().await;
    stage.must_agree().await;
    let roots = stage.until_cut_beyond(stage.sequence(victim).await).await;
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]), "one state: {roots:?}");
    assert!(stage.nodes.values().all(|(node, _)| node.quarantined().is_empty()));
    stage.close().await;
}

#[test]
fn a_flipped_bit_that_a_followers_snapshot_holds_is_found_by_its_state_root() {
    for seed in SEEDS {
        println!("seed {seed}");
        simulate(seed, async |runtime| found_by_its_root(runtime, false).await);
    }
}

#[test]
fn a_flipped_bit_that_the_leaders_snapshot_holds_is_found_by_its_state_root() {
    simulate(5, async |runtime| found_by_its_root(runtime, true).await);
}

#[test]
fn a_flipped_bit_where_no_cut_looks_again_is_found_by_looking_again() {
    simulate(6, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        stage.write_quiet(20_000).await;
        let leader = stage.leader().await;
        let victim = 1 + leader % 3;
        let before = stage.until_cut_beyond(stage.sequence(victim).await).await[0].sequence.0;
        stage.flip_in_memory(victim, QUIET / 2);
        let roots = stage.until_cut_beyond(before).await;
        assert!(roots.windows(2).all(|pair| pair[0] == pair[1]), "the cut does not see it: {roots:?}");
        assert!(stage.quarantined_within(victim, Duration::from_secs(62)).await, "it was not noticed");
        stage.must_serve_nothing(victim).await;
        let told = evidence(&stage.evidence(victim));
        let fields = "chunk chunk_now community cut_at digest first_pair name node replica why";
        assert_eq!(names(&told), fields, "a format that people keep");
        assert_eq!(names(&told["first_pair"]), "key keyspace own_value stored_value");
        assert_ne!(told["chunk"], told["chunk_now"], "{told}");
        assert_eq!(told["first_pair"]["key"], "quiet/20", "{told}");
        heal(stage, victim).await;
    });
}

#[test]
fn a_replica_without_another_to_come_back_from_comes_back_from_what_it_stored() {
    simulate(7, async |runtime| {
        let mut stage = Stage::set(runtime, 1).await;
        for number in 0..QUIET {
            stage.say(&[Step::Set(quiet(number), vec![b'a'; 20_000].into())]).await;
        }
        while stage.node(1).hosted(stage.node(1).find(GUILD).unwrap()).unwrap().last_cut().is_none() {
            stage.tell().await;
            stage.runtime.sleep(Duration::from_millis(50)).await;
        }
        stage.flip_in_memory(1, QUIET / 2);
        stage.runtime.sleep(Duration::from_secs(65)).await;
        let replica = stage.replica(1).await.unwrap();
        assert_eq!(replica.role, Role::Stopped);
        assert!(replica.fault.unwrap().contains("start this node again"));
        let read = stage.node(1).history(GUILD, Sequence(1), 10).await;
        read.unwrap_err();

        stage.restart(1).await;
        stage.tell().await;
        let here = stage.node(1).hosted(stage.node(1).find(GUILD).unwrap()).unwrap();
        let healed = here.view().get(&quiet(QUIET / 2)).unwrap().unwrap();
        assert!(healed.iter().all(|&byte| byte == b'a'), "as it was stored");
        stage.close().await;
    });
}

#[test]
fn a_snapshot_that_one_replica_alone_cuts_harms_nobody() {
    simulate(8, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        for _ in 0..5 {
            stage.tell().await;
        }
        stage.node(2).create_snapshot(GUILD).await.unwrap();
        for _ in 0..45 {
            stage.tell().await;
        }
        stage.runtime.sleep(Duration::from_secs(5)).await;
        stage.must_agree().await;
        assert!(stage.nodes.values().all(|(node, _)| node.quarantined().is_empty()));
        stage.close().await;
    });
}

/// What lies between the cuts makes no transition, and changes the state: the time, and whoever expired.
#[test]
fn cuts_at_one_sequence_after_other_batches_are_not_held_against_each_other() {
    for seed in SEEDS {
        simulate(seed, async |runtime| {
            let mut stage = Stage::set(runtime, 3).await;
            let step = [Step::Set(quiet(1), Bytes::from_static(b"once"))];
            stage.say(&step).await;
            for id in [1, 2, 3] {
                stage.repeat(&step).await;
                stage.must_agree().await;
                stage.node(id).create_snapshot(GUILD).await.unwrap();
            }
            let at = |id| {
                let node = stage.node(id);
                let here = node.hosted(node.find(GUILD).unwrap()).unwrap();
                here.roots.at(here.view().sequence()).expect("it was just cut")
            };
            let (first, last) = (at(1), at(3));
            assert_eq!((first.sequence, first.digest), (last.sequence, last.digest), "one history");
            assert!(first.root != last.root && first.time < last.time, "and not one state");
            stage.runtime.sleep(Duration::from_secs(5)).await;
            let mut nodes = stage.nodes.values();
            assert!(
                nodes.all(|(node, _)| node.quarantined().is_empty()),
                "nothing is wrong with any of them"
            );
            stage.close().await;
        });
    }
}
