//! Where replicas live, in a deterministic simulation: how a group begins, and what never happens while its
//! members change.

use althing_core::{
    ids::{NodeId, Sequence},
    policy::Policy,
    refusal::Code,
};
use althing_node::{Expected, Node, Placement, ReplicaStatus, Retire, Retirement, Role, Timing};
use althing_tests::{
    components,
    simulated::{COMMUNITY, Simulated, simulate},
};
use futures::future::Either;
use std::time::Duration;

/// Each is another course of the same story.
const SEEDS: std::ops::Range<u64> = 0..3;
const GUILD: &str = "guild";
const DRAIN: Retire = Retire { expected: Expected::Answering, to: None, may_vacate: false };

fn on_every_course(nodes: u64, scenario: impl AsyncFn(&mut Simulated) + Send + Sync) {
    let component = components::component("counter");
    for seed in SEEDS {
        println!("seed {seed}");
        simulate(seed, nodes, &component, async |cluster| scenario(cluster).await);
    }
}

async fn replica(node: &Node, community: &str) -> Option<ReplicaStatus> {
    node.status().await.replicas.into_iter().find(|replica| replica.name == community)
}

/// The leader's replica, of the latest term.
async fn leader(cluster: &Simulated, community: &str) -> Option<(u64, ReplicaStatus)> {
    let mut leaders = Vec::new();
    for id in cluster.up_nodes() {
        let told = replica(&cluster.node(id), community).await;
        leaders.extend(told.filter(|replica| replica.role == Role::Leader).map(|replica| (id, replica)));
    }
    leaders.into_iter().max_by_key(|(_, replica)| replica.term)
}

async fn eventually(cluster: &Simulated, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = cluster.runtime.monotonic();
    while !is_so().await {
        assert!(cluster.runtime.monotonic() - began < Duration::from_secs(120), "never: {what}");
        cluster.runtime.sleep(Duration::from_millis(20)).await;
    }
}

/// Nodes, whoever leads the directory last.
async fn directory_leader_last(cluster: &Simulated) -> Vec<NodeId> {
    let (first, _) = leader(cluster, "system").await.expect("a healthy cluster has a directory");
    let others = cluster.up_nodes().into_iter().filter(|&node| node != first);
    others.chain([first]).map(NodeId).collect()
}

async fn create(node: &Node, on: &[NodeId], timing: Timing) {
    let placement = Placement::Nodes(on.to_vec());
    let made = node.create_community(GUILD.to_owned(), placement, timing, Policy::default()).await;
    made.expect("the community is created");
}

/// Nobody is deposed for a while, whoever comes.
async fn must_keep_its_leader(cluster: &Simulated) {
    let (node, first) = leader(cluster, GUILD).await.expect("somebody leads");
    for _ in 0..120 {
        cluster.runtime.sleep(Duration::from_millis(100)).await;
        let (now, replica) = leader(cluster, GUILD).await.expect("somebody leads all the time");
        assert_eq!((now, replica.term), (node, first.term), "another leads");
    }
}

#[test]
fn a_founder_that_comes_late_deposes_nobody() {
    on_every_course(3, async |cluster| {
        let mut on = directory_leader_last(cluster).await;
        // The late one has the highest replica id: in one term, its vote is worth most.
        on.rotate_left(1);
        let (door, late) = (cluster.node(on[1].0), on[2]);
        cluster.network.isolate(late);
        let began = cluster.runtime.monotonic();
        create(&door, &on, Timing::WAN).await;
        let took = cluster.runtime.monotonic() - began;
        assert!(took < Duration::from_millis(Timing::WAN.election_millis_min), "it took {took:?}");
        cluster.network.heal();
        let late = cluster.node(late.0);
        eventually(cluster, "the late one follows", async || {
            replica(&late, GUILD).await.is_some_and(|replica| replica.applied_index > 0)
        })
        .await;
        must_keep_its_leader(cluster).await;
    });
}

#[test]
fn a_community_begins_without_its_first_founder_and_keeps_its_leader_when_that_comes() {
    on_every_course(3, async |cluster| {
        let on = directory_leader_last(cluster).await;
        let away = on[0];
        cluster.crash(away.0).await;
        let began = cluster.runtime.monotonic();
        create(&cluster.node(on[2].0), &on, Timing::WAN).await;
        let took = cluster.runtime.monotonic() - began;
        assert!(took < Duration::from_millis(Timing::WAN.election_millis_min), "it took {took:?}");
        cluster.restart(away.0).await;
        let first = cluster.node(away.0);
        eventually(cluster, "the first one follows", async || {
            replica(&first, GUILD).await.is_some_and(|replica| replica.applied_index > 0)
        })
        .await;
        must_keep_its_leader(cluster).await;
    });
}

/// Asks for a move, and is gone as soon as it is decided.
async fn ask_and_go(cluster: &Simulated, door: &Node, from: NodeId, to: NodeId) {
    // One that has yet to begin is not moved: the others may need it until it is out.
    let begun = cluster.node(from.0);
    eventually(cluster, "it has begun", async || replica(&begun, GUILD).await.is_some()).await;
    let asking = std::pin::pin!(door.move_replica(GUILD, from, to));
    let is_decided = async || door.community(GUILD).is_ok_and(|record| record.replica_on(to).is_some());
    let decided = std::pin::pin!(eventually(cluster, "it is decided", is_decided));
    let first = futures::future::select(asking, decided).await;
    assert!(matches!(first, Either::Right(_)), "it takes longer than to decide it");
}

#[test]
fn a_move_goes_on_without_whoever_asked_and_without_the_leader_and_never_costs_a_vote() {
    on_every_course(4, async |cluster| {
        let nodes = directory_leader_last(cluster).await;
        let (on, free) = (&nodes[1..], nodes[0]);
        let door = cluster.node(nodes[3].0);
        create(&door, on, Timing::LAN).await;
        let (old_leader, _) = leader(cluster, GUILD).await.unwrap();
        let from = on.iter().copied().find(|node| node.0 != old_leader).unwrap();
        ask_and_go(cluster, &door, from, free).await;
        if NodeId(old_leader) != nodes[3] {
            cluster.crash(old_leader).await;
        }
        eventually(cluster, "it has moved", async || {
            let Some((_, leader)) = leader(cluster, GUILD).await else { return false };
            let voters = leader.members.iter().filter(|member| member.voter).count();
            assert!(voters >= 3, "a vote was lost on the way: {leader:?}");
            let is_on = |node| leader.members.iter().any(|member| member.node == node && member.voter);
            leader.are_members_settled
                && is_on(free)
                && leader.members.iter().all(|member| member.node != from)
        })
        .await;
        cluster.mend().await;
        let from = cluster.node(from.0);
        eventually(cluster, "the old one is forgotten", async || replica(&from, GUILD).await.is_none()).await;
    });
}

async fn until_left(cluster: &Simulated, door: &Node, node: NodeId, how: Retire) {
    eventually(cluster, "the node leaves", async || {
        door.retire_node(node, Retire { expected: Expected::Whatever, ..how })
            .await
            .is_ok_and(|told| told.has_left)
    })
    .await;
}

fn why(told: &Retirement, community: &str) -> String {
    let found = told.remaining.iter().find(|remaining| remaining.name == community);
    found.map(|remaining| remaining.why.clone()).unwrap_or_default()
}

#[test]
fn whoever_leads_everything_is_drained_and_ends() {
    on_every_course(4, async |cluster| {
        let nodes = directory_leader_last(cluster).await;
        let (door, leaves) = (cluster.node(nodes[0].0), nodes[3]);
        create(&door, &nodes[1..], Timing::LAN).await;
        let _ = door.transfer_leadership(GUILD, Some(leaves)).await;
        let _ = door.transfer_leadership(COMMUNITY, Some(leaves)).await;
        // Every node has a replica of this one.
        let told = door.retire_node(leaves, DRAIN).await.unwrap();
        assert!(why(&told, COMMUNITY).contains("no other node can take its replica"), "{told:?}");
        let how = Retire { may_vacate: true, ..DRAIN };
        until_left(cluster, &door, leaves, how).await;
        cluster.node(leaves.0).left().await;
        for community in [GUILD, COMMUNITY, "system"] {
            eventually(cluster, "the others lead and vote", async || {
                let Some((on, leader)) = leader(cluster, community).await else { return false };
                on != leaves.0
                    && leader.are_members_settled
                    && leader.members.iter().filter(|member| member.voter).count() == 3
                    && leader.members.iter().all(|member| member.node != leaves)
            })
            .await;
        }
        let record = door.community(COMMUNITY).unwrap();
        assert_eq!((record.voters(), door.voters_wanted(&record)), (3, 4), "its place is vacant");
        assert!(
            door.open_session(COMMUNITY, Default::default()).await.unwrap().receipt.sequence > Sequence(0)
        );
    });
}

#[test]
fn a_node_that_is_gone_is_replaced_by_the_one_that_is_named() {
    on_every_course(5, async |cluster| {
        let nodes = directory_leader_last(cluster).await;
        let (old, new, door) = (nodes[2], nodes[1].max(nodes[0]), cluster.node(nodes[4].0));
        create(&door, &nodes[2..], Timing::LAN).await;
        cluster.crash(old.0).await;
        // Left to itself, the other free node would have been taken.
        let how = Retire { expected: Expected::Silent, to: Some(new), may_vacate: true };
        until_left(cluster, &door, old, how).await;
        let record = door.community(GUILD).unwrap();
        let mut on: Vec<NodeId> = record.replicas.values().map(|replica| replica.node).collect();
        on.sort_unstable();
        let mut wanted = vec![new, nodes[3], nodes[4]];
        wanted.sort_unstable();
        assert_eq!(on, wanted);
        assert!(record.replicas.values().all(|replica| replica.voter));
        assert_eq!(door.community(COMMUNITY).unwrap().voters(), 4, "nobody else could take that one");
    });
}

#[test]
fn no_verb_goes_below_a_quorum() {
    on_every_course(3, async |cluster| {
        let nodes = directory_leader_last(cluster).await;
        let (away, other, door) = (nodes[0], nodes[1], cluster.node(nodes[2].0));
        create(&door, &nodes, Timing::LAN).await;
        let refused =
            |code: Code| move |refusal: althing_core::refusal::Refusal| assert_eq!(refusal.code, code);
        let silent = Retire { expected: Expected::Silent, ..DRAIN };
        door.retire_node(away, silent).await.map_err(refused(Code::BadMembers)).unwrap_err();
        cluster.crash(away.0).await;
        door.retire_node(away, DRAIN).await.map_err(refused(Code::BadMembers)).unwrap_err();
        door.remove_replica(GUILD, other).await.map_err(refused(Code::BadMembers)).unwrap_err();
        door.rebuild_replica(GUILD, other, None).await.map_err(refused(Code::BadMembers)).unwrap_err();
        door.set_replicas(GUILD, 4).await.map_err(refused(Code::BadMembers)).unwrap_err();
        door.set_replicas(GUILD, 0).await.map_err(refused(Code::BadMembers)).unwrap_err();
        let to_nobody = Retire { to: Some(away), ..DRAIN };
        door.retire_node(other, to_nobody).await.map_err(refused(Code::BadMembers)).unwrap_err();
        let told = door.retire_node(other, Retire { may_vacate: true, ..DRAIN }).await.unwrap();
        assert!(why(&told, GUILD).contains("1 answer, which would be no quorum"), "{told:?}");
        cluster.runtime.sleep(Duration::from_secs(5)).await;
        let (_, leader) = leader(cluster, GUILD).await.expect("it goes on with two of three");
        assert_eq!(leader.members.iter().filter(|member| member.voter).count(), 3, "nothing was removed");
        // It stays after all; when the third is back, it could have left.
        door.keep_node(other).await.unwrap();
        assert_eq!(door.leaving_nodes(), []);
        cluster.restart(away.0).await;
        eventually(cluster, "the third is back", async || {
            let told = replica(&cluster.node(away.0), GUILD).await;
            told.is_some_and(|replica| replica.leader_node.0 != 0)
        })
        .await;
        let record = door.set_replicas(GUILD, 2).await.unwrap();
        assert_eq!(record.voters(), 2);
    });
}

#[test]
fn a_replica_that_was_let_go_while_it_was_away_finds_the_leader_that_is_to_go() {
    on_every_course(3, async |cluster| {
        let nodes = directory_leader_last(cluster).await;
        let (old_leader, away, door) = (nodes[0], nodes[1], cluster.node(nodes[2].0));
        create(&door, &nodes, Timing::LAN).await;
        eventually(cluster, "it leads", async || {
            let _ = door.transfer_leadership(GUILD, Some(old_leader)).await;
            leader(cluster, GUILD).await.is_some_and(|(on, _)| NodeId(on) == old_leader)
        })
        .await;
        cluster.network.cut(old_leader, away);
        cluster.network.cut(away, old_leader);
        // Both are decided, and neither can be done: the fresh replica does not begin before its node has heard
        // from the leader that the old one is out, and the leader's stays until the fresh one has caught up.
        let patience = Duration::from_secs(5);
        let rebuilt = door.rebuild_replica(GUILD, away, None);
        assert_eq!(cluster.runtime.timeout(patience, rebuilt).await, None);
        let removed = door.remove_replica(GUILD, old_leader);
        assert_eq!(cluster.runtime.timeout(patience, removed).await, None);
        // It comes back without knowing who led.
        cluster.crash(away.0).await;
        cluster.restart(away.0).await;
        cluster.network.heal();
        eventually(cluster, "both are done", async || {
            let Some((on, leader)) = leader(cluster, GUILD).await else { return false };
            let voters = leader.members.iter().filter(|member| member.voter).count();
            NodeId(on) != old_leader && leader.are_members_settled && (voters, leader.members.len()) == (2, 2)
        })
        .await;
    });
}
