//! Groups in a simulated network: what they promise while everything goes wrong.

use crate::support::{Cluster, FIRST, member, nodes};
use althing_consensus::{
    port::{EntryPayload, MembershipError, ProposeError, ReadError, ReadPolicy, Role, Timing},
    runtime::simulate,
};
use althing_core::ids::{CommunityId, NodeId, ReplicaId};
use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

#[test]
fn three_groups_on_three_nodes_each_agree_on_their_own_order() {
    simulate(1, |runtime| async move {
        let mut cluster = Cluster::of(3, &runtime).await;
        for community in [CommunityId(2), CommunityId(3)] {
            cluster.begin_group(community, &nodes(1..=3)).await;
        }
        for number in 0..30 {
            for community in [FIRST, CommunityId(2), CommunityId(3)] {
                cluster.propose(community, &format!("{community}/{number}")).await;
            }
        }
        for community in [FIRST, CommunityId(2), CommunityId(3)] {
            let book = cluster.agree(community, &nodes(1..=3)).await;
            let wanted: Vec<_> = (0..30).map(|number| format!("{community}/{number}")).collect();
            assert_eq!(book, wanted);
        }
    });
}

#[test]
fn proposals_take_effect_in_the_order_of_the_calls() {
    simulate(2, |runtime| async move {
        let cluster = Cluster::of(3, &runtime).await;
        cluster.propose(FIRST, "first").await;
        let leader = cluster.leader(FIRST).await;
        let group = cluster.group(FIRST, leader);
        let mut answers = Vec::new();
        for number in 0..500 {
            answers.push(group.propose(format!("{number}").into()).await.unwrap());
        }
        let mut indices = Vec::new();
        for answer in answers {
            indices.push(answer.await.unwrap().unwrap().index);
        }
        assert!(indices.windows(2).all(|pair| pair[1] == pair[0] + 1));
        let wanted: Vec<_> = (0..500).map(|number| format!("{number}")).collect();
        assert_eq!(cluster.agree(FIRST, &nodes(1..=3)).await[1..], wanted);
    });
}

#[test]
fn what_was_executed_is_read_back_until_a_snapshot_takes_its_place() {
    simulate(20, |runtime| async move {
        let cluster = Cluster::of(3, &runtime).await;
        for number in 0..30 {
            cluster.propose(FIRST, &format!("{number}")).await;
        }
        let book = cluster.agree(FIRST, &nodes(1..=3)).await;
        for node in nodes(1..=3) {
            let last = cluster.status(FIRST, node).applied_index;
            let (mut next, mut read) = (0, Vec::new());
            while next <= last {
                let entries = cluster.group(FIRST, node).executed(next, last).await.unwrap();
                assert_eq!(entries[0].position.index, next, "nothing is left out");
                next = entries.last().unwrap().position.index + 1;
                read.extend(entries.into_iter().filter_map(|entry| match entry.payload {
                    EntryPayload::Proposal(payload) => Some(payload),
                    EntryPayload::Blank | EntryPayload::Membership(_) => None,
                }));
            }
            assert_eq!(next, last + 1, "nor is anything added");
            assert_eq!(read, book);
        }
        let leader = cluster.leader(FIRST).await;
        cluster.compact(FIRST, 10).await;
        let left = cluster.group(FIRST, leader).executed(0, 10).await.unwrap();
        assert!(left.first().is_none_or(|entry| entry.position.index > 0), "the beginning is gone");
    });
}

#[test]
fn a_follower_refuses_a_proposal_and_names_the_leader() {
    simulate(3, |runtime| async move {
        let cluster = Cluster::of(3, &runtime).await;
        let leader = cluster.leader(FIRST).await;
        let follower = *nodes(1..=3).iter().find(|node| **node != leader).unwrap();
        let is_known = |cluster: &Cluster| cluster.status(FIRST, follower).leader.is_some();
        cluster.until("the follower knows the leader", is_known).await;
        let refused = cluster.propose_at(FIRST, follower, "no").await;
        let named = Some((ReplicaId(leader.0), member(leader)));
        assert_eq!(refused, Err(ProposeError::NotLeader { leader: named }));
        assert_eq!(cluster.agree(FIRST, &nodes(1..=3)).await, Vec::<String>::new());
    });
}

#[test]
fn an_isolated_leader_answers_within_bounds_and_the_others_go_on() {
    simulate(4, |runtime| async move {
        let cluster = Cluster::of(3, &runtime).await;
        cluster.propose(FIRST, "before").await;
        let old = cluster.leader(FIRST).await;
        let barrier = cluster.group(FIRST, old).read_barrier(ReadPolicy::ReadIndex).await.unwrap();
        assert!(barrier >= 2);

        cluster.network.isolate(old);
        let begin = runtime.monotonic();
        assert_eq!(cluster.propose_at(FIRST, old, "lost").await, Err(ProposeError::Unknown));
        let bound = Duration::from_millis(5 * Timing::LAN.election_millis_max);
        assert!(runtime.monotonic() - begin < bound, "took {:?}", runtime.monotonic() - begin);

        // Its lease has run out by now: what it is asked next is certainly not appended.
        let refused = cluster.propose_at(FIRST, old, "not proposed").await;
        assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
        for policy in [ReadPolicy::ReadIndex, ReadPolicy::Lease] {
            let read = cluster.group(FIRST, old).read_barrier(policy).await;
            assert_eq!(read, Err(ReadError::NoQuorum));
        }

        let is_led = |cluster: &Cluster| cluster.leader_now(FIRST).is_some_and(|node| node != old);
        cluster.until("another leads", is_led).await;
        cluster.propose(FIRST, "after").await;
        cluster.network.heal();
        let follows = |cluster: &Cluster| cluster.status(FIRST, old).role == Role::Follower;
        cluster.until("the old leader follows", follows).await;
        assert_eq!(cluster.agree(FIRST, &nodes(1..=3)).await, ["before", "after"]);
    });
}

/// A leader is cut off while answers to its entries are under way, and deposed. When the wires are mended, these answers
/// are the first that it hears: they say nothing of now.
#[test]
fn answers_that_were_long_under_way_do_not_let_a_deposed_leader_serve_reads() {
    for seed in 0..12 {
        simulate(seed, |runtime| async move {
            let cluster = Cluster::of(3, &runtime).await;
            cluster.propose(FIRST, "before").await;
            let old = cluster.leader(FIRST).await;
            let group = cluster.group(FIRST, old);
            let under_way = group.propose("under way".into()).await.unwrap();
            runtime.sleep(Duration::from_micros(runtime.random() % 4000)).await;
            cluster.network.isolate(old);

            let is_led = |cluster: &Cluster| cluster.leader_now(FIRST).is_some_and(|node| node != old);
            cluster.until("another leads", is_led).await;
            cluster.propose(FIRST, "after").await;
            let after = cluster.status(FIRST, cluster.leader(FIRST).await).applied_index;
            let reads = (0..40).map(|number| {
                let (group, runtime) = (&group, &runtime);
                async move {
                    runtime.sleep(Duration::from_millis(number)).await;
                    group.read_barrier(ReadPolicy::ReadIndex).await
                }
            });
            let mended = async {
                runtime.sleep(Duration::from_millis(20)).await;
                cluster.network.heal();
            };
            let (reads, ()) = futures::future::join(futures::future::join_all(reads), mended).await;
            for barrier in reads.iter().flatten() {
                assert!(*barrier >= after, "seed {seed}: {barrier} was served, {after} is committed");
            }
            drop(under_way);
            cluster.agree(FIRST, &nodes(1..=3)).await;
        });
    }
}

#[test]
fn a_follower_that_hears_nobody_does_not_depose_the_leader() {
    simulate(5, |runtime| async move {
        let cluster = Cluster::of(3, &runtime).await;
        cluster.propose(FIRST, "before").await;
        let leader = cluster.leader(FIRST).await;
        let deaf = *nodes(1..=3).iter().find(|node| **node != leader).unwrap();
        let term = cluster.status(FIRST, leader).term;
        let votes = cluster.network.attempts(deaf, "raft/vote");
        let asked = cluster.network.attempts(deaf, "raft/pre-vote");

        cluster.network.cut(leader, deaf);
        let is_quiet = |cluster: &Cluster| {
            cluster.status(FIRST, leader).term == term && cluster.leader_now(FIRST) == Some(leader)
        };
        cluster.during(Duration::from_secs(30), "the leader leads in its term", is_quiet).await;
        cluster.propose(FIRST, "meanwhile").await;

        // It did try all the while, and would have raised the term each time.
        assert!(cluster.network.attempts(deaf, "raft/pre-vote") > asked + 20);
        assert_eq!(cluster.network.attempts(deaf, "raft/vote"), votes);
        assert_eq!(cluster.status(FIRST, deaf).term, term);

        cluster.network.heal();
        assert_eq!(cluster.agree(FIRST, &nodes(1..=3)).await, ["before", "meanwhile"]);
        assert_eq!(cluster.status(FIRST, leader).term, term);
    });
}

#[test]
fn a_learner_is_added_promoted_and_a_voter_removed() {
    simulate(6, |runtime| async move {
        let mut cluster = Cluster::of(3, &runtime).await;
        for number in 0..10 {
            cluster.propose(FIRST, &format!("{number}")).await;
        }
        let (newcomer, leader) = (NodeId(4), cluster.leader(FIRST).await);
        cluster.add_node(newcomer);
        cluster.start_group(FIRST, newcomer).await;
        let group = cluster.group(FIRST, leader);

        let voters = |numbers: &[u64]| numbers.iter().copied().map(ReplicaId).collect::<BTreeSet<_>>();
        let unknown = group.change_voters(voters(&[1, 2, 3, 4])).await;
        assert!(matches!(unknown, Err(MembershipError::Invalid { .. })), "{unknown:?}");
        group.add_learner(ReplicaId(4), member(newcomer)).await.unwrap();
        group.add_learner(ReplicaId(4), member(newcomer)).await.unwrap();
        cluster.agree(FIRST, &nodes(1..=4)).await;
        assert_eq!(cluster.status(FIRST, newcomer).role, Role::Learner);

        group.change_voters(voters(&[1, 2, 3, 4])).await.unwrap();
        cluster.propose(FIRST, "with four").await;
        cluster.agree(FIRST, &nodes(1..=4)).await;
        let status = cluster.status(FIRST, newcomer);
        assert_eq!((status.role, status.voters.len(), status.is_joint), (Role::Follower, 4, false));

        let gone = *nodes(1..=3).iter().find(|node| **node != leader).unwrap();
        let left = [1, 2, 3, 4].into_iter().filter(|number| *number != gone.0).map(ReplicaId).collect();
        group.change_voters(left).await.unwrap();
        cluster.crash(gone).await;
        cluster.propose(FIRST, "with three").await;
        let rest: Vec<_> = nodes(1..=4).into_iter().filter(|node| *node != gone).collect();
        let book = cluster.agree(FIRST, &rest).await;
        assert_eq!(book.last().unwrap(), "with three");
        let status = cluster.status(FIRST, leader);
        assert!(status.voters.len() == 3 && status.learners.is_empty(), "{status:?}");
    });
}

#[test]
fn a_change_of_voters_that_lost_its_leader_half_way_is_finished_by_the_next() {
    simulate(7, |runtime| async move {
        let mut cluster = Cluster::of(3, &runtime).await;
        for number in [4, 5] {
            cluster.add_node(NodeId(number));
            cluster.start_group(FIRST, NodeId(number)).await;
        }
        cluster.propose(FIRST, "before").await;
        let leader = cluster.leader(FIRST).await;
        let group = cluster.group(FIRST, leader);
        for number in [4, 5] {
            group.add_learner(ReplicaId(number), member(NodeId(number))).await.unwrap();
        }
        let voters = (1..=5).map(ReplicaId).collect();
        let changing = group.clone();
        let _detached = runtime.spawn("the change", async move {
            let _ = changing.change_voters(voters).await;
        });
        let is_joint = |cluster: &Cluster| {
            nodes(1..=5).iter().filter(|node| cluster.status(FIRST, **node).is_joint).count() >= 4
        };
        let begin = runtime.monotonic();
        while !is_joint(&cluster) {
            assert!(runtime.monotonic() - begin < Duration::from_secs(5), "never seen half-way");
            runtime.sleep(Duration::from_micros(100)).await;
        }
        cluster.crash(leader).await;
        let others: Vec<_> = nodes(1..=5).into_iter().filter(|node| *node != leader).collect();
        let is_done = |cluster: &Cluster| {
            others.iter().all(|node| {
                let status = cluster.status(FIRST, *node);
                status.voters.len() == 5 && !status.is_joint
            })
        };
        cluster.until("the change is finished", is_done).await;
    });
}

#[test]
fn the_log_reaches_back_to_where_an_older_snapshot_ends() {
    simulate(21, |runtime| async move {
        let cluster = Cluster::of(3, &runtime).await;
        let leader = cluster.leader(FIRST).await;
        let falls_back_to = cluster.nodes[&leader].disks[&FIRST].falls_back_to.clone();
        *falls_back_to.lock().unwrap() = Some(0);
        for number in 0..50 {
            cluster.propose(FIRST, &format!("{number}")).await;
        }
        let cut = async |at_least: u64| {
            cluster.group(FIRST, leader).snapshot().await.unwrap();
            let is_cut = |cluster: &Cluster| cluster.status(FIRST, leader).snapshot_index >= at_least;
            cluster.until("a snapshot is cut", is_cut).await;
            cluster.runtime.sleep(Duration::from_secs(1)).await;
        };
        cut(50).await;
        assert_eq!(cluster.purged(FIRST, leader).await, None, "with one snapshot, all of the log is needed");
        *falls_back_to.lock().unwrap() = Some(40);
        for number in 0..50 {
            cluster.propose(FIRST, &format!("{number}")).await;
        }
        cut(100).await;
        assert_eq!(cluster.purged(FIRST, leader).await, Some(40), "so much is needed, and no more");
    });
}

#[test]
fn a_follower_that_was_away_too_long_gets_a_snapshot() {
    simulate(8, |runtime| async move {
        let mut cluster = Cluster::new(&runtime);
        // Longer than any other patience: a long transfer must not be cut short.
        cluster.fetch_takes = Duration::from_secs(40);
        for node in nodes(1..=3) {
            cluster.add_node(node);
        }
        cluster.begin_group(FIRST, &nodes(1..=3)).await;
        cluster.propose(FIRST, "first").await;
        let leader = cluster.leader(FIRST).await;
        let away = *nodes(1..=3).iter().find(|node| **node != leader).unwrap();
        cluster.crash(away).await;
        for number in 0..100 {
            cluster.propose(FIRST, &format!("{number}")).await;
        }
        cluster.compact(FIRST, 50).await;
        cluster.propose(FIRST, "last").await;

        cluster.restart(away).await;
        let book = cluster.agree(FIRST, &nodes(1..=3)).await;
        assert_eq!(book.len(), 102);
        assert_eq!(cluster.nodes[&away].fetching.count.load(Ordering::Relaxed), 1);
        assert!(cluster.status(FIRST, away).snapshot_index > 90);
    });
}

#[test]
fn a_snapshot_that_could_not_be_fetched_is_offered_again() {
    simulate(9, |runtime| async move {
        let mut cluster = Cluster::of(3, &runtime).await;
        let leader = cluster.leader(FIRST).await;
        let away = *nodes(1..=3).iter().find(|node| **node != leader).unwrap();
        cluster.nodes[&away].fetching.is_failing.store(true, Ordering::Relaxed);
        cluster.crash(away).await;
        for number in 0..100 {
            cluster.propose(FIRST, &format!("{number}")).await;
        }
        cluster.compact(FIRST, 50).await;
        cluster.restart(away).await;
        let fetches = |cluster: &Cluster| cluster.nodes[&away].fetching.count.load(Ordering::Relaxed);
        cluster.until("it failed several times", |cluster| fetches(cluster) > 3).await;
        assert_eq!(cluster.status(FIRST, away).fault, None);
        cluster.nodes[&away].fetching.is_failing.store(false, Ordering::Relaxed);
        assert_eq!(cluster.agree(FIRST, &nodes(1..=3)).await.len(), 100);
        assert!(fetches(&cluster) < 40, "{} attempts", fetches(&cluster));
    });
}

#[test]
fn leadership_is_handed_over_without_an_election_timeout() {
    simulate(10, |runtime| async move {
        let cluster = Cluster::of(3, &runtime).await;
        cluster.propose(FIRST, "before").await;
        let old = cluster.leader(FIRST).await;
        cluster.agree(FIRST, &nodes(1..=3)).await;
        let begin = runtime.monotonic();
        let patience = Duration::from_secs(5);
        assert!(cluster.group(FIRST, old).transfer_leadership(None, patience).await);
        let took = runtime.monotonic() - begin;
        assert!(took < Duration::from_millis(Timing::LAN.election_millis_min), "took {took:?}");
        let new = cluster.leader(FIRST).await;
        assert_ne!(new, old);

        let heir = *nodes(1..=3).iter().find(|node| **node != new && **node != old).unwrap();
        cluster.propose(FIRST, "between").await;
        cluster.agree(FIRST, &nodes(1..=3)).await;
        assert!(cluster.group(FIRST, new).transfer_leadership(Some(ReplicaId(heir.0)), patience).await);
        assert_eq!(cluster.leader(FIRST).await, heir);
        let nobody = cluster.group(FIRST, heir).transfer_leadership(Some(ReplicaId(9)), patience).await;
        assert!(!nobody, "there is no replica 9");
        cluster.propose(FIRST, "after").await;
        assert_eq!(cluster.agree(FIRST, &nodes(1..=3)).await, ["before", "between", "after"]);
    });
}

#[test]
fn a_whole_cluster_comes_back_from_a_power_cut_with_all_it_acknowledged() {
    simulate(11, |runtime| async move {
        let mut cluster = Cluster::of(3, &runtime).await;
        for round in 0..3 {
            for number in 0..40 {
                cluster.propose(FIRST, &format!("{round}/{number}")).await;
            }
            if round == 1 {
                let leader = cluster.leader(FIRST).await;
                cluster.group(FIRST, leader).snapshot().await.unwrap();
            }
            for node in nodes(1..=3) {
                cluster.crash(node).await;
            }
            for node in nodes(1..=3) {
                cluster.restart(node).await;
            }
        }
        let book = cluster.agree(FIRST, &nodes(1..=3)).await;
        let wanted: Vec<_> =
            (0..3).flat_map(|round| (0..40).map(move |number| format!("{round}/{number}"))).collect();
        assert_eq!(book, wanted);
    });
}

#[test]
fn a_fault_stops_its_own_group_and_says_why() {
    simulate(12, |runtime| async move {
        let mut cluster = Cluster::of(1, &runtime).await;
        cluster.begin_group(CommunityId(2), &nodes(1..=1)).await;
        cluster.leader(FIRST).await;
        let answer = cluster.propose_at(FIRST, NodeId(1), "fail").await;
        assert_eq!(answer, Err(ProposeError::Unknown));
        let stopped = |cluster: &Cluster| cluster.status(FIRST, NodeId(1)).role == Role::Stopped;
        cluster.until("the group has stopped", stopped).await;
        let why = "the machine cannot go on: a bad word";
        assert_eq!(cluster.status(FIRST, NodeId(1)).fault.as_deref(), Some(why));
        let refused = cluster.propose_at(FIRST, NodeId(1), "more").await;
        assert_eq!(refused, Err(ProposeError::Stopped { why: why.into() }));
        cluster.propose(CommunityId(2), "goes on").await;
    });
}

#[test]
fn shutting_down_ends_a_machine_that_waits_for_something() {
    simulate(13, |runtime| async move {
        let cluster = Cluster::of(1, &runtime).await;
        cluster.leader(FIRST).await;
        let group = cluster.group(FIRST, NodeId(1));
        let answer = group.propose("wait for ever".into()).await.unwrap();
        let begun = |cluster: &Cluster| cluster.book(FIRST, NodeId(1)) == ["wait for ever"];
        cluster.until("the machine waits", begun).await;
        let begin = runtime.monotonic();
        group.shutdown().await;
        assert!(runtime.monotonic() - begin < Duration::from_secs(1));
        assert_eq!(cluster.machines_alive(NodeId(1)), 0);
        assert_eq!(answer.await.unwrap(), Err(ProposeError::Unknown));
    });
}
