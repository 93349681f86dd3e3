//! Nodes whose disks lose what they had promised: they come back as who they were, under replica ids that
//! never voted, and nothing that was told is missing. Real nodes over memory, in virtual time.

use super::{Distrust, Distrusted};
use crate::{
    Addresses, Birth, Consistency, Identity, Loss, Node, Placement, Quarantined, Role, Scanned, Stranded,
    StrandedError, Timing,
    directory::view::DirectoryView,
    quarantine::tests::{GUILD, Stage},
    take_back::TakeBack,
};
use althing_consensus::runtime::{Runtime, simulate};
use althing_core::{
    codec,
    ids::{CommunityId, NodeId, ReplicaId, Sequence},
    policy::Policy,
    refusal::Refusal,
};
use althing_store::{
    memory::MemoryStore,
    port::{Archive, Store},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const WHY: &str = "wal.db has lost what was durable";
const PATIENCE: Duration = Duration::from_secs(180);

impl Stage {
    /// Asks the others to take a node back that has this left.
    async fn come_back(&self, id: u64, store: &Store, is_log_lost: bool) -> Result<Identity, StrandedError> {
        let transport = self.network.transport(NodeId(id));
        let identity = Identity::remembered(&store.archive).await.unwrap().unwrap();
        let addresses = Self::addresses(id);
        let stranded = Stranded {
            archive: &store.archive,
            addresses: &addresses,
            join: None,
            transport: &transport,
            runtime: &self.runtime,
        };
        let loss = match is_log_lost {
            true => Loss::Log { why: WHY },
            false => Loss::System { why: WHY, wal: &*store.wal },
        };
        identity.come_back(loss, &stranded).await
    }

    /// The tale, as node 1 reads it.
    async fn read(&self, consistency: Consistency) -> Result<Scanned, Refusal> {
        self.node(1).scan(GUILD, b"tale".as_slice().into(), None, 1, consistency).await
    }

    /// A node's log is lost while it is away; others take it back.
    async fn lose_log(&mut self, id: u64, store: MemoryStore) {
        let store = store.lose_log();
        let identity = self.come_back(id, &store.store(), true).await.unwrap();
        self.run(identity, store).await;
    }

    /// Waits until a node says so.
    pub(crate) async fn wait(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let began = self.runtime.monotonic();
        while !is_so().await {
            assert!(self.runtime.monotonic() - began < PATIENCE, "not in time: {what}");
            self.runtime.sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a node trusts everything that it has, and nothing ran meanwhile that must not.
    async fn trusts(&self, id: u64, old: &BTreeMap<CommunityId, ReplicaId>) {
        let node = self.node(id);
        self.wait("it trusts everything it has", async || {
            for replica in node.status().await.replicas {
                let old = old.get(&replica.community).copied().unwrap_or_default();
                assert!(
                    replica.replica > old || replica.role == Role::Stopped,
                    "it must not run: {replica:?}"
                );
            }
            node.distrust().replicas.is_empty()
        })
        .await;
    }

    /// Waits until a node's replicas all vote where the directory says so, and no replica is left over.
    pub(crate) async fn votes(&self, id: u64) {
        let node = self.node(id);
        self.wait("its replicas have their votes", async || {
            let view = node.directory();
            if DirectoryView(&view).find(GUILD).is_none() {
                return false;
            }
            for record in DirectoryView(&view).communities() {
                let Some(leader) = node.leader_status(record.id).await else { return false };
                // Until then a quorum of the voters before counts too.
                if !leader.are_members_settled {
                    return false;
                }
                let voters: Vec<ReplicaId> = leader
                    .members
                    .iter()
                    .filter(|member| member.voter)
                    .map(|member| member.replica)
                    .collect();
                let wanted = record.replicas.iter().filter(|(_, replica)| replica.voter);
                if !voters.iter().eq(wanted.map(|(id, _)| id))
                    || leader.members.len() != record.replicas.len()
                {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

/// What the directory has on a node.
fn replicas(node: &Node, on: u64) -> BTreeMap<CommunityId, ReplicaId> {
    let view = node.directory();
    let records = DirectoryView(&view).communities();
    records.into_iter().filter_map(|record| Some((record.id, record.replica_on(NodeId(on))?))).collect()
}

async fn story(runtime: Runtime, victim: u64) {
    let mut stage = Stage::set(runtime, 3).await;
    for _ in 0..60 {
        stage.tell().await;
    }
    stage.votes(victim).await;
    let old = replicas(&stage.node(victim), victim);
    assert_eq!(old.len(), 2, "the system community, and the guild");
    let store = stage.down(victim).await;
    for _ in 0..30 {
        stage.tell().await;
    }
    stage.lose_log(victim, store).await;
    for _ in 0..10 {
        stage.tell().await;
    }
    stage.trusts(victim, &old).await;
    stage.votes(victim).await;
    let fresh = replicas(&stage.node(victim), victim);
    assert!(old.iter().all(|(community, old)| fresh[community] > *old), "{old:?} → {fresh:?}");
    stage.must_agree().await;

    // Its vote counts: without another one, the guild goes on.
    let away = 1 + victim % 3;
    let _ = stage.down(away).await;
    for _ in 0..10 {
        stage.tell().await;
    }
    stage.close().await;
}

#[test]
fn a_node_whose_log_is_lost_comes_back_under_fresh_replica_ids_and_votes() {
    for victim in [2, 3] {
        simulate(victim, async |runtime| story(runtime, victim).await);
    }
}

#[test]
fn the_founder_comes_back_too_and_founds_nothing() {
    simulate(5, async |runtime| story(runtime, 1).await);
}

#[test]
fn a_return_that_is_broken_off_begins_again_and_the_old_ids_never_run() {
    simulate(6, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        for _ in 0..10 {
            stage.tell().await;
        }
        stage.votes(2).await;
        let old = replicas(&stage.node(2), 2);
        let store = stage.down(2).await.lose_log();

        // It was decided, and the answer did not get home.
        let Addresses { peer: peer_address, api: api_address } = Stage::addresses(2);
        let question = TakeBack { replica: old[&CommunityId::SYSTEM], peer_address, api_address };
        let unheard = stage.node(1).take_back(NodeId(2), question).await.unwrap();
        let taken = store.store();
        let before = taken.archive.fact("identity").await.unwrap().unwrap();
        let heard = stage.come_back(2, &taken, true).await.unwrap();
        assert_eq!(heard.system_replica, unheard.replica, "asked again, it is answered the same");

        // All was remembered but who it is now.
        taken.archive.put_fact("identity", before).await.unwrap();
        let stored = Identity::remembered(&taken.archive).await.unwrap().unwrap();
        assert_eq!(stored.system_replica, old[&CommunityId::SYSTEM]);
        assert!(stored.why_stranded(&taken).await.unwrap().is_some(), "it must not run as that");
        let again = stage.come_back(2, &taken, false).await.unwrap();
        assert_eq!(again, heard);
        assert!(again.why_stranded(&taken).await.unwrap().is_none());

        // What the directory says of the time before that is not followed.
        let decided = stage.node(1).directory().sequence();
        let floor = Distrust::remembered(&*taken.archive).await.unwrap().floor;
        assert!(floor > Sequence(0) && floor <= decided, "{floor} of {decided}");
        stage.run(again, store).await;
        assert!(!stage.node(2).may_follow_directory() && !stage.node(2).is_ready());
        stage.trusts(2, &old).await;
        assert!(stage.node(2).may_follow_directory());
        stage.votes(2).await;
        stage.must_agree().await;
        stage.close().await;
    });
}

#[test]
fn a_node_that_was_taken_back_unheard_and_runs_as_it_was_notices_it() {
    simulate(12, async |runtime| {
        for was_down in [false, true] {
            let mut stage = Stage::set(runtime.clone(), 3).await;
            stage.votes(2).await;
            let old = replicas(&stage.node(2), 2);
            let Addresses { peer: peer_address, api: api_address } = Stage::addresses(2);
            let question = TakeBack { replica: old[&CommunityId::SYSTEM], peer_address, api_address };
            let store = if was_down { Some(stage.down(2).await) } else { None };
            stage.node(1).take_back(NodeId(2), question).await.unwrap();
            if let Some(store) = store {
                let is_out = async || {
                    let leader = stage.node(1).leader_status(CommunityId::SYSTEM).await;
                    leader.is_some_and(|leader| {
                        leader.members.iter().all(|member| member.replica != old[&CommunityId::SYSTEM])
                    })
                };
                stage.wait("it is out", is_out).await;
                stage.up(2, store, Birth::Restart).await;
            }
            let fault = async || {
                let status = stage.node(2).status().await;
                status.replicas.into_iter().find(|replica| replica.community == CommunityId::SYSTEM)?.fault
            };
            stage
                .wait("it notices", async || {
                    fault().await.is_some_and(|fault| fault.contains("start the node"))
                })
                .await;
            let store = stage.down(2).await;
            let identity = Identity::remembered(&store.store().archive).await.unwrap().unwrap();
            assert!(identity.why_stranded(&store.store()).await.unwrap().is_some());
            let fresh = stage.come_back(2, &store.store(), false).await.unwrap();
            stage.run(fresh, store).await;
            let system = BTreeMap::from([(CommunityId::SYSTEM, old[&CommunityId::SYSTEM])]);
            stage.trusts(2, &system).await;
            stage.votes(2).await;
            stage.tell().await;
            stage.must_agree().await;
            stage.close().await;
        }
    });
}

#[test]
fn without_a_quorum_nobody_is_taken_back_and_nothing_is_changed() {
    simulate(7, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        stage.votes(2).await;
        let (second, third) = (stage.down(2).await, stage.down(3).await);
        for (id, store) in [(2, &second), (3, &third)] {
            let told = stage.come_back(id, &store.store(), true).await.unwrap_err();
            assert!(matches!(told, StrandedError::NotTaken { .. }), "{told:?}");
            let words = told.to_string();
            assert!(words.contains(WHY) && words.contains("must not vote"), "{words}");
            let archive = store.store().archive;
            assert_eq!(Distrust::remembered(&*archive).await.unwrap(), Distrust::default());
        }
        // Nothing was changed: with its log as it was, one of them is who it was, and has the other taken back.
        stage.up(2, second, Birth::Restart).await;
        let old = replicas(&stage.node(2), 3);
        stage
            .wait("there is a quorum", async || {
                stage.node(2).leader_status(CommunityId::SYSTEM).await.is_some()
            })
            .await;
        stage.lose_log(3, third).await;
        stage.trusts(3, &old).await;
        stage.votes(3).await;
        stage.close().await;
    });
}

/// The second loses its log while the first may not be whole yet. Then a group whose quorum is lost with it stops,
/// and says so; none goes on without what was told.
async fn one_after_the_other(runtime: Runtime, between: Duration) {
    let mut stage = Stage::set(runtime, 3).await;
    for _ in 0..30 {
        stage.tell().await;
    }
    stage.votes(1).await;
    let first = stage.down(2).await;
    for _ in 0..10 {
        stage.tell().await;
    }
    stage.lose_log(2, first).await;
    stage.runtime.sleep(between).await;
    let second = stage.down(3).await.lose_log();
    let back = stage.come_back(3, &second.store(), true).await;
    let (is_back, mut is_whole) = (back.is_ok(), false);
    match back {
        Ok(identity) => {
            stage.run(identity, second).await;
            stage.runtime.sleep(Duration::from_secs(30)).await;
            is_whole = stage.read(Consistency::Linearizable).await.is_ok();
            if is_whole {
                stage.votes(1).await;
                stage.tell().await;
                stage.must_agree().await;
            } else {
                // The directory was whole again, and the guild was not.
                let fault = stage.replica(3).await.unwrap().fault.unwrap();
                assert!(fault.contains("not replaced yet"), "{fault}");
            }
        }
        Err(StrandedError::NotTaken { .. }) => {
            assert_eq!(Distrust::remembered(&*second.store().archive).await.unwrap(), Distrust::default());
        }
        Err(error) => panic!("{error:?}"),
    }
    println!("after {between:?}: taken back {is_back}, whole {is_whole}");
    let consistency = if is_whole { Consistency::Linearizable } else { Consistency::Local };
    let read = stage.read(consistency).await.unwrap();
    assert_eq!(read.pairs[0].1.len() as u64, stage.told(), "what was told is there");
    stage.close().await;
}

#[test]
fn of_two_that_lose_their_logs_one_after_the_other_nothing_told_is_lost() {
    for (seed, millis) in [(20, 0), (22, 300), (23, 1500), (24, 4000)] {
        simulate(seed, async |runtime| one_after_the_other(runtime, Duration::from_millis(millis)).await);
    }
}

#[test]
fn a_node_that_knows_nobody_is_told_what_it_still_has() {
    simulate(8, async |runtime| {
        let mut stage = Stage::set(runtime, 1).await;
        for _ in 0..100 {
            stage.tell().await;
        }
        let store = stage.down(1).await.store();
        store.archive.put_fact("nodes", codec::encode::<[crate::NodeRecord]>(&[]).into()).await.unwrap();
        let told = stage.come_back(1, &store, true).await.unwrap_err();
        assert!(matches!(told, StrandedError::Alone { .. }), "{told:?}");
        assert!(told.to_string().contains("a snapshot at sequence"), "{told}");
        assert!(told.to_string().contains(GUILD), "{told}");
        stage.close().await;
    });
}

#[test]
fn a_community_that_voted_here_alone_does_not_run_and_says_what_is_left() {
    simulate(9, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        let first = stage.node(1);
        let nodes = Placement::Nodes(vec![NodeId(2)]);
        first.create_community("lonely".to_owned(), nodes, Timing::LAN, Policy::default()).await.unwrap();
        stage.wait("it is hosted", async || stage.node(2).local_replica("lonely").await.is_ok()).await;
        stage.votes(2).await;
        let old = replicas(&stage.node(2), 2);
        let store = stage.down(2).await;
        stage.lose_log(2, store).await;
        let node = stage.node(2);
        let fault = async || {
            let status = node.status().await;
            status.replicas.into_iter().find(|replica| replica.name == "lonely")?.fault
        };
        stage
            .wait("it says what is left", async || {
                fault().await.is_some_and(|fault| fault.contains("nobody else votes in lonely"))
            })
            .await;
        // The others go on, and are healed.
        stage.wait("the guild is healed", async || node.distrust().replicas.len() == 1).await;
        stage.tell().await;
        stage.must_agree().await;
        stage.restart(2).await;
        stage.runtime.sleep(Duration::from_secs(5)).await;
        let status = stage.node(2).status().await;
        let lonely = status.replicas.iter().find(|replica| replica.name == "lonely").unwrap();
        assert_eq!((lonely.role, lonely.replica), (Role::Stopped, old[&lonely.community]));
        // Until somebody decides that it is gone.
        stage.node(1).delete_community("lonely").await.unwrap();
        stage.wait("it is forgotten", async || stage.node(2).distrust().replicas.is_empty()).await;
        stage.close().await;
    });
}

#[test]
fn a_quarantined_replica_of_the_system_community_is_replaced_and_the_others_stay_as_they_are() {
    simulate(10, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        for _ in 0..10 {
            stage.tell().await;
        }
        stage.votes(3).await;
        let old = replicas(&stage.node(3), 3);
        let store = stage.down(3).await;
        let archive = store.store().archive;
        let quarantined = Quarantined {
            community: CommunityId::SYSTEM,
            name: "system".to_owned(),
            replica: old[&CommunityId::SYSTEM],
            sequence: Sequence(3),
            why: "quarantined".to_owned(),
        };
        archive.put_fact("quarantined", codec::encode(&vec![quarantined]).into()).await.unwrap();
        let identity = Identity::remembered(&archive).await.unwrap().unwrap();
        assert!(identity.why_stranded(&store.store()).await.unwrap().is_some());
        let fresh = stage.come_back(3, &store.store(), false).await.unwrap();
        assert!(fresh.system_replica > identity.system_replica);
        stage.run(fresh, store).await;
        let system = BTreeMap::from([(CommunityId::SYSTEM, old[&CommunityId::SYSTEM])]);
        stage.trusts(3, &system).await;
        stage.votes(3).await;
        assert_eq!(stage.node(3).quarantined(), []);
        let guild = stage.replica(3).await.unwrap();
        assert_eq!(guild.replica, old[&guild.community], "its log is whole");
        stage.tell().await;
        stage.must_agree().await;
        stage.close().await;
    });
}

#[test]
fn with_its_record_of_the_quarantined_unreadable_no_replica_of_a_node_serves_until_it_was_rebuilt() {
    simulate(12, async |runtime| {
        let mut stage = Stage::set(runtime, 3).await;
        for _ in 0..10 {
            stage.tell().await;
        }
        stage.votes(3).await;
        let old = replicas(&stage.node(3), 3);
        let store = stage.down(3).await;
        let archive = store.store().archive;
        archive.put_fact("quarantined", b"\x01what?".as_slice().into()).await.unwrap();
        // Its replica of the system community may be one of them: the node is taken back.
        let identity = Identity::remembered(&archive).await.unwrap().unwrap();
        let why = identity.why_stranded(&store.store()).await.unwrap().expect("it must not run");
        assert!(why.contains("cannot be read"), "{why}");
        let fresh = stage.come_back(3, &store.store(), false).await.unwrap();
        stage.run(fresh, store).await;
        stage.wait("it is shown", async || stage.replica(3).await.is_some()).await;
        let guild = stage.replica(3).await.unwrap();
        assert_eq!((guild.role, guild.replica), (Role::Stopped, old[&guild.community]));
        let fault = guild.fault.unwrap();
        assert!(fault.contains("quarantined") && fault.contains("althing member rebuild"), "{fault}");
        // The others go on, and it comes back by a rebuild, for good.
        stage.tell().await;
        let fresh = stage.node(1).rebuild_replica(GUILD, NodeId(3), None).await.unwrap();
        assert!(fresh > guild.replica);
        stage.restart(3).await;
        assert_eq!(stage.node(3).quarantined(), []);
        stage.tell().await;
        stage.must_agree().await;
        stage.close().await;
    });
}

#[test]
fn a_record_of_the_quarantined_that_a_newer_version_wrote_is_not_taken_for_none_either() {
    simulate(13, async |runtime| {
        let mut stage = Stage::set(runtime, 1).await;
        let store = stage.down(2).await;
        let archive = store.store().archive;
        let identity = Identity::remembered(&archive).await.unwrap().unwrap();
        archive.put_fact("quarantined", b"\xff".as_slice().into()).await.unwrap();
        let refused = identity.why_stranded(&store.store()).await.unwrap_err().to_string();
        assert!(refused.contains("start the version that wrote it"), "{refused}");
        // Whoever knows nobody else was found to differ by nobody.
        archive.put_fact("quarantined", b"\x01what?".as_slice().into()).await.unwrap();
        archive.put_fact("nodes", codec::encode::<[crate::NodeRecord]>(&[]).into()).await.unwrap();
        assert_eq!(identity.why_stranded(&store.store()).await.unwrap(), None);
        stage.close().await;
    });
}

#[test]
fn the_newest_distrusted_replica_of_a_community_counts_and_a_damaged_record_is_not_taken_for_none() {
    simulate(11, async |_runtime| {
        let distrusted = |id| Distrusted { replica: ReplicaId(id), name: String::new(), why: String::new() };
        let mut distrust = Distrust::default();
        for id in [3, 5, 4] {
            distrust.add(CommunityId(1), distrusted(id));
        }
        let is_distrusted = |id| distrust.of(CommunityId(1), ReplicaId(id)).is_some();
        assert_eq!([1, 5, 6].map(is_distrusted), [true, true, false]);
        assert!(distrust.of(CommunityId(2), ReplicaId(1)).is_none());
        let archive: Arc<dyn Archive> = MemoryStore::new().store().archive;
        distrust.remember(&*archive).await.unwrap();
        assert_eq!(Distrust::remembered(&*archive).await.unwrap(), distrust);
        let record = codec::encode(&Distrust {
            replicas: BTreeMap::from([(
                CommunityId(1),
                Distrusted { replica: ReplicaId(5), name: "guild".to_owned(), why: "lost".to_owned() },
            )]),
            floor: Sequence(9),
        });
        assert_eq!(record, b"\x01\x01\x01\x05\x05guild\x04lost\x09", "the stored form never changes");
        archive.put_fact(super::FACT, b"what?".as_slice().into()).await.unwrap();
        Distrust::remembered(&*archive).await.unwrap_err();
    });
}
