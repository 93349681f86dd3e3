//! Damage to what a node has stored: found, mended by peers or by the state in memory, fallen back from at a
//! start, or said to be beyond repair. Real nodes over memory, in virtual time.

use crate::{
    Node, ReplicaStatus, ScrubStatus, StoredSnapshot,
    quarantine::tests::{GUILD, Stage},
};
use althing_consensus::runtime::{Runtime, simulate};
use althing_core::{
    ids::{CommunityId, Hash, NodeId, Sequence},
    refusal::Code,
    snapshot::Manifest,
};
use bytes::Bytes;
use std::{collections::BTreeSet, time::Duration};

/// A stage on which snapshots have been cut at 40, 80, … up to where the tale is told.
async fn told(runtime: Runtime, voters: u64, words: u64) -> Stage {
    let mut stage = Stage::set(runtime, voters).await;
    for _ in 0..words {
        stage.tell().await;
    }
    stage.runtime.sleep(Duration::from_secs(2)).await;
    stage
}

impl Stage {
    fn id(&self) -> CommunityId {
        self.node(1).community(GUILD).unwrap().id
    }

    async fn manifests(&self, node: u64) -> Vec<Manifest> {
        let archive = self.nodes[&node].1.store().archive;
        let records = archive.snapshots(self.id()).await.unwrap();
        records.iter().map(|record| Manifest::decode(&record.manifest).unwrap()).collect()
    }

    /// Flips a bit in every chunk of a snapshot of a node that none of its newer ones names; the newest is
    /// number 0.
    async fn damage(&self, node: u64, place: usize) -> Sequence {
        let manifests = self.manifests(node).await;
        let hashes = |manifest: &Manifest| manifest.chunks.iter().map(|chunk| chunk.hash).collect::<Vec<_>>();
        let newer: Vec<Hash> = manifests[..place].iter().flat_map(hashes).collect();
        let own: Vec<Hash> =
            hashes(&manifests[place]).into_iter().filter(|hash| !newer.contains(hash)).collect();
        assert!(!own.is_empty(), "every snapshot has a chunk of its own: the digest is in it");
        assert!(own.iter().all(|&hash| self.nodes[&node].1.damage_chunk(hash)));
        manifests[place].sequence
    }

    async fn listed(&self, node: u64) -> Vec<StoredSnapshot> {
        self.node(node).list_snapshots(GUILD).await.unwrap()
    }

    async fn sequences(&self, node: u64) -> Vec<u64> {
        self.listed(node).await.iter().map(|snapshot| snapshot.sequence.0).collect()
    }

    /// Waits until a node's replica says something.
    async fn until(&self, node: u64, is_so: impl Fn(&ReplicaStatus) -> bool) -> ReplicaStatus {
        let began = self.runtime.monotonic();
        loop {
            let replica = self.replica(node).await;
            if let Some(replica) = replica.as_ref().filter(|replica| is_so(replica)) {
                return replica.clone();
            }
            assert!(self.runtime.monotonic() - began < Duration::from_secs(90), "{replica:?}");
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the scrub of a node says something.
    async fn scrubbed(&self, node: u64, is_so: impl Fn(&ScrubStatus) -> bool) -> ScrubStatus {
        let began = self.runtime.monotonic();
        loop {
            let status = self.node(node).status().await.scrub;
            if is_so(&status) {
                return status;
            }
            assert!(self.runtime.monotonic() - began < Duration::from_secs(90), "{status:?}");
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
    }

    async fn must_be_whole(&self, node: u64) {
        let checked = self.node(node).verify_snapshots(GUILD, None).await.unwrap();
        assert!(checked.iter().all(|checked| checked.is_whole()), "{checked:?}");
        assert!(self.listed(node).await.iter().all(|snapshot| snapshot.damaged_chunks == 0));
    }
}

#[test]
fn the_scrub_finds_a_flipped_bit_and_a_peer_has_what_was_there() {
    simulate(1, async |runtime| {
        let mut stage = told(runtime, 3, 100).await;
        let before = stage.sequences(2).await;
        let damaged = stage.damage(2, 1).await;
        assert!(before.contains(&damaged.0));
        // It begins a round whenever its node starts.
        stage.restart(2).await;
        let seen = stage.scrubbed(2, |status| status.rounds > 0).await;
        assert_eq!((seen.found, seen.mended, seen.damaged), (1, 1, 0), "{seen:?}");
        assert!(seen.bytes > 0);
        stage.until(2, |replica| replica.fault.is_none()).await;
        stage.must_be_whole(2).await;
        assert!(stage.sequences(2).await.contains(&damaged.0), "mended, not dropped");
        stage.must_agree().await;
        stage.close().await;
    });
}

#[test]
fn what_nobody_has_now_is_mended_when_peers_are_back() {
    simulate(10, async |runtime| {
        let mut stage = told(runtime, 3, 100).await;
        let damaged = stage.damage(2, 1).await;
        stage.node(2).pin_snapshot(GUILD, damaged, String::new()).await.unwrap();
        [1, 3].into_iter().for_each(|peer| stage.network.stop(NodeId(peer)));
        stage.restart(2).await;
        let seen = stage.scrubbed(2, |status| status.rounds > 0).await;
        assert_eq!((seen.found, seen.mended, seen.damaged), (1, 0, 1), "{seen:?}");
        [1, 3].into_iter().for_each(|peer| stage.serve(peer));
        stage.scrubbed(2, |status| status.mended == 1 && status.damaged == 0).await;
        stage.must_be_whole(2).await;
        assert!(stage.sequences(2).await.contains(&damaged.0));
        stage.close().await;
    });
}

#[test]
fn what_verify_finds_is_mended_at_once() {
    simulate(2, async |runtime| {
        let stage = told(runtime, 3, 100).await;
        stage.scrubbed(2, |status| status.rounds > 0).await;
        let damaged = stage.damage(2, 1).await;
        let checked = stage.node(2).verify_snapshots(GUILD, Some(damaged)).await.unwrap();
        assert_eq!((checked.len(), checked[0].damaged_chunks), (1, 1));
        assert!(!checked[0].is_whole() && checked[0].damaged.len() == 1);
        let seen = stage.scrubbed(2, |status| status.mended == 1).await;
        assert_eq!((seen.found, seen.damaged), (0, 0), "{seen:?}");
        stage.must_be_whole(2).await;
        let other = stage.node(2).verify_snapshots(GUILD, Some(Sequence(7))).await.unwrap_err();
        assert_eq!(other.code, Code::NoSnapshot);
        stage.close().await;
    });
}

#[test]
fn what_nobody_has_goes_when_a_newer_snapshot_is_whole_but_a_pinned_one_stays() {
    simulate(3, async |runtime| {
        let mut stage = told(runtime, 1, 150).await;
        let [_, second, third] = stage.sequences(1).await[..] else { panic!("three are kept") };
        stage.node(1).pin_snapshot(GUILD, Sequence(third), "the first".to_owned()).await.unwrap();
        assert_eq!(stage.damage(1, 1).await.0, second);
        assert_eq!(stage.damage(1, 2).await.0, third);
        stage.restart(1).await;
        let before = stage.until(1, |replica| replica.fault.is_none() && replica.sequence.0 > 120).await;
        let seen = stage.scrubbed(1, |status| status.rounds > 0).await;
        assert_eq!((seen.found, seen.mended, seen.damaged), (2, 0, 1), "{seen:?}");
        let listed = stage.listed(1).await;
        assert!(listed.iter().all(|snapshot| snapshot.sequence.0 != second), "{listed:?}");
        let pinned = listed.iter().find(|snapshot| snapshot.sequence.0 == third).expect("it is pinned");
        assert_eq!((pinned.damaged_chunks, pinned.pinned.as_deref()), (1, Some("the first")));
        assert_eq!(listed[0].sequence, before.sequence, "a fresh one was cut");
        assert_eq!(listed[0].damaged_chunks, 0);
        // No fresh one is cut for the sake of the pinned one again.
        stage.tell().await;
        stage.runtime.sleep(Duration::from_secs(70)).await;
        assert_eq!(stage.listed(1).await[0].sequence, before.sequence);
        stage.close().await;
    });
}

#[test]
fn a_damaged_newest_snapshot_is_fallen_back_from_with_nobodys_help() {
    for words in [85, 125, 160] {
        simulate(4, async |runtime| {
            let mut stage = told(runtime, 1, words).await;
            let before = stage.replica(1).await.unwrap();
            let damaged = stage.damage(1, 0).await;
            stage.restart(1).await;
            let after = stage.until(1, |replica| replica.sequence >= before.sequence).await;
            assert_eq!((after.sequence, after.digest), (before.sequence, before.digest));
            assert_eq!(after.fault, None);
            // Executing the log again has cut it again, at the same place.
            stage.scrubbed(1, |status| status.rounds > 0).await;
            stage.must_be_whole(1).await;
            assert!(stage.sequences(1).await.contains(&damaged.0));
            stage.tell().await;
            stage.close().await;
        });
    }
}

#[test]
fn with_its_only_snapshot_damaged_a_replica_executes_its_whole_log_again() {
    simulate(5, async |runtime| {
        let mut stage = told(runtime, 1, 60).await;
        assert_eq!(stage.sequences(1).await.len(), 1);
        let before = stage.replica(1).await.unwrap();
        stage.damage(1, 0).await;
        stage.restart(1).await;
        let after = stage.until(1, |replica| replica.sequence >= before.sequence).await;
        assert_eq!((after.sequence, after.digest, after.fault), (before.sequence, before.digest, None));
        stage.close().await;
    });
}

#[test]
fn with_every_snapshot_damaged_a_replica_starts_by_chunks_of_its_peers() {
    simulate(6, async |runtime| {
        let mut stage = told(runtime, 3, 150).await;
        for place in 0..stage.sequences(2).await.len() {
            stage.damage(2, place).await;
        }
        stage.restart(2).await;
        stage.until(2, |replica| replica.fault.is_none() && replica.sequence.0 > 140).await;
        stage.tell().await;
        stage.must_agree().await;
        stage.scrubbed(2, |status| status.rounds > 0).await;
        stage.must_be_whole(2).await;
        stage.close().await;
    });
}

#[test]
fn what_cannot_be_had_anywhere_is_a_fault_that_says_so() {
    simulate(7, async |runtime| {
        let mut stage = told(runtime, 1, 150).await;
        for place in 0..3 {
            stage.damage(1, place).await;
        }
        stage.restart(1).await;
        let fault = stage.until(1, |replica| replica.fault.is_some()).await.fault.unwrap();
        for said in
            ["no snapshot of the community can be used", "no peer has", "althing member rebuild", "damaged"]
        {
            assert!(fault.contains(said), "{said:?} in {fault}");
        }
        stage.close().await;
    });
}

#[test]
fn peers_that_never_answer_are_waited_for_no_longer_than_patience_lasts() {
    simulate(14, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        stage.fill(150).await;
        for _ in 0..120 {
            stage.tell().await;
        }
        stage.runtime.sleep(Duration::from_secs(2)).await;
        let chunks: BTreeSet<Hash> = stage
            .manifests(2)
            .await
            .iter()
            .flat_map(|manifest| &manifest.chunks)
            .map(|chunk| chunk.hash)
            .collect();
        assert!(chunks.len() > 20, "{}", chunks.len());
        assert!(chunks.iter().all(|&hash| stage.nodes[&2].1.damage_chunk(hash)));
        [1, 3].into_iter().for_each(|peer| stage.network.cut(NodeId(2), NodeId(peer)));
        let began = stage.runtime.monotonic();
        stage.restart(2).await;
        let fault = stage.until(2, |replica| replica.fault.is_some()).await.fault.unwrap();
        let took = stage.runtime.monotonic() - began;
        assert!(fault.contains("no peer has"), "{fault}");
        assert!(took < Duration::from_secs(35), "{took:?}");
        stage.close().await;
    });
}

#[test]
fn the_newest_two_and_pinned_ones_are_not_deleted() {
    simulate(8, async |runtime| {
        let stage = told(runtime, 3, 150).await;
        let node: Node = stage.node(3);
        let [newest, second, third] = stage.sequences(3).await[..] else { panic!("three are kept") };
        let delete = async |sequence| node.delete_snapshot(GUILD, Sequence(sequence)).await;
        for sequence in [newest, second] {
            let refused = delete(sequence).await.unwrap_err();
            assert_eq!(refused.code, Code::SnapshotNeeded);
            assert!(refused.message.contains("falls back to"), "{refused}");
        }
        node.pin_snapshot(GUILD, Sequence(third), "for the record".to_owned()).await.unwrap();
        let refused = delete(third).await.unwrap_err();
        assert_eq!(refused.code, Code::SnapshotNeeded);
        assert!(refused.message.contains("unpin"), "{refused}");
        node.unpin_snapshot(GUILD, Sequence(third)).await.unwrap();
        delete(third).await.unwrap();
        assert_eq!(stage.sequences(3).await, [newest, second]);
        assert_eq!(delete(third).await.unwrap_err().code, Code::NoSnapshot);
        let long = "x".repeat(257);
        let refused = node.pin_snapshot(GUILD, Sequence(newest), long).await.unwrap_err();
        assert_eq!(refused.code, Code::BadRequest);
        assert_eq!(stage.sequences(1).await.len(), 3, "of the other nodes' nothing was deleted");
        stage.close().await;
    });
}

#[test]
fn a_damaged_component_comes_back_from_a_peer() {
    simulate(9, async |runtime| {
        let mut stage = told(runtime, 3, 10).await;
        let component = Bytes::from_static(b"not one that would run");
        let hash = Hash::of_component(&component);
        for (_, store) in stage.nodes.values() {
            store.store().archive.put_component(hash, component.clone()).await.unwrap();
        }
        assert!(stage.nodes[&2].1.damage_component(hash));
        stage.restart(2).await;
        let seen = stage.scrubbed(2, |status| status.rounds > 0).await;
        assert_eq!((seen.found, seen.mended), (1, 1), "{seen:?}");
        let archive = stage.nodes[&2].1.store().archive;
        assert_eq!(archive.component(hash).await.unwrap(), Some(component));
        stage.close().await;
    });
}

#[test]
fn what_the_disk_does_not_give_back_is_counted_and_the_rest_is_read_and_mended() {
    simulate(11, async |runtime| {
        let mut stage = told(runtime, 3, 150).await;
        let before = stage.sequences(2).await;
        stage.damage(2, 1).await;
        let stuck = stage.manifests(2).await[2].chunks[0].hash;
        assert!(stage.nodes[&2].1.block_chunk(stuck));
        stage.restart(2).await;
        let seen = stage.scrubbed(2, |status| status.rounds > 0).await;
        assert_eq!((seen.found, seen.mended, seen.damaged), (2, 1, 0), "{seen:?}");
        assert_eq!(stage.sequences(2).await, before, "nothing went");
        let checked = stage.node(2).verify_snapshots(GUILD, None).await.unwrap();
        let whole: Vec<bool> = checked.iter().map(|checked| checked.is_whole()).collect();
        assert_eq!(whole, [true, true, false], "it is told of, and others are as they were");
        let archive = stage.nodes[&2].1.store().archive;
        assert_eq!(
            archive.condemned_chunks(10).await.unwrap(),
            [],
            "the store could not put another in its place"
        );
        stage.tell().await;
        stage.must_agree().await;
        stage.close().await;
    });
}

/// A chunk that is here is not sent again, so nobody reads it before the snapshot is used.
#[test]
fn a_chunk_that_was_damaged_here_does_not_stop_a_replica_that_is_sent_a_snapshot() {
    simulate(13, async |runtime| {
        let mut stage = Stage::set(runtime, 2).await;
        stage.fill(40).await;
        for _ in 0..150 {
            stage.tell().await;
        }
        // The first round of the scrub is over, and the next is far.
        stage.scrubbed(3, |status| status.rounds > 0).await;
        let sent = stage.manifests(1).await[0].clone();
        assert!(sent.chunks.len() > 3, "{sent:?}");
        let archives = [1, 3].map(|id| stage.nodes[&id].1.store().archive);
        for place in [0, 2] {
            let hash = sent.chunks[place].hash;
            let bytes = archives[0].chunk(hash).await.unwrap().unwrap();
            archives[1].put_chunks(vec![(hash, bytes)]).await.unwrap();
            assert!(stage.nodes[&3].1.damage_chunk(hash));
        }
        stage.node(1).add_replica(GUILD, NodeId(3)).await.unwrap();
        let sequence = stage.replica(1).await.unwrap().sequence;
        let replica = stage.until(3, |replica| replica.sequence >= sequence || replica.fault.is_some()).await;
        assert_eq!(replica.fault, None);
        assert!(
            stage.manifests(3).await.iter().any(|kept| kept.sequence == sent.sequence),
            "it was sent one"
        );
        stage.tell().await;
        stage.must_agree().await;
        stage.must_be_whole(3).await;
        stage.close().await;
    });
}
