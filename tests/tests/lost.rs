//! Disks that lose what was durable: the node comes back by itself as who it was, under replica ids that
//! never voted, or ends and says what is left. Nothing that a client was told is missing.

use althing_client::NewCommunity;
use althing_core::ids::Sequence;
use althing_tests::{
    cluster::Cluster,
    command::althing,
    damage::{FIRST_FRAME, flip},
    load::{self, Load},
    programs::add,
    replicas::{actor, nodes},
    wait::{eventually, within},
};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

const VOTERS: [u64; 3] = [1, 2, 3];
/// Nodes that are not taken back ask for half a minute.
const TAKING_BACK: Duration = Duration::from_secs(120);

/// The files of a log, but for its mark.
fn log_of(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = ["wal.db", "wal.db-wal"].into_iter();
    files.filter_map(|file| Some((file.to_owned(), fs::read(data.join(file)).ok()?))).collect()
}

fn put(log: &BTreeMap<String, Vec<u8>>, data: &Path) {
    for file in ["wal.db", "wal.db-wal", "wal.db-shm"] {
        let _ = fs::remove_file(data.join(file));
    }
    for (file, bytes) in log {
        fs::write(data.join(file), bytes).expect("it can be written");
    }
}

/// The replicas of a node by community.
async fn lives(cluster: &Cluster, node: u64) -> BTreeMap<u64, u64> {
    let status =
        eventually(&format!("node {node} says how it is"), async || cluster.status(node).await).await;
    status.replicas.into_iter().map(|replica| (replica.community, replica.replica)).collect()
}

/// Waits until a node has other replicas than these, all of them running, voting, and the only ones there.
async fn back(cluster: &Cluster, node: u64, old: &BTreeMap<u64, u64>) {
    eventually(&format!("node {node} votes under fresh replica ids"), async || {
        let replicas = cluster.status(node).await?.replicas;
        let is_back = replicas.iter().all(|replica| {
            assert!(
                replica.replica > old[&replica.community] || replica.role == "stopped",
                "it must not run: {replica:?}"
            );
            let mut there = replica.members.iter().filter(|member| member.node == node);
            let is_it = there.next().is_some_and(|member| member.replica == replica.replica && member.voter);
            replica.role != "stopped" && is_it && there.next().is_none()
        });
        (is_back && replicas.len() == old.len()).then_some(())
    })
    .await;
}

/// Waits until a node has ended by itself, having said all of this.
async fn ends(cluster: &mut Cluster, node: u64, said: &[&str]) {
    within(TAKING_BACK, &format!("node {node} ends and says why"), async || {
        let log = cluster.log(node);
        (cluster.has_ended(node) && said.iter().all(|said| log.contains(said))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_in_turn_loses_its_log_comes_back_by_itself_and_nothing_told_is_missing() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("guild", "counter").await;
    cluster.found("other", "counter").await;
    let client = cluster.client().await;
    let load = Load::start(&client, "guild", 4);
    load.goes_on_for(100).await;
    let mut histories = Vec::new();

    // The founder last, and the leader of that moment among them.
    for (turn, victim) in [3, 2, 1].into_iter().enumerate() {
        // What the next nodes hold from before, they forget; so it is noted here.
        histories.extend(cluster.history(victim, "guild").await);
        let old = lives(&cluster, victim).await;
        cluster.stop(victim).await;
        let older = log_of(cluster.data(victim));
        cluster.restart(victim).await;
        load.goes_on_for(100).await;
        cluster.kill(victim);
        let data = cluster.data(victim);
        match turn {
            0 => flip(&data.join("wal.db-wal"), FIRST_FRAME),
            1 => put(&older, data),
            _ => put(&BTreeMap::new(), data),
        }
        cluster.restart(victim).await;
        assert!(cluster.log(victim).contains("this node is taken back"), "{}", cluster.log(victim));
        assert!(cluster.data(victim).join("lost-1/wal.mark").exists(), "nothing is destroyed");
        back(&cluster, victim, &old).await;
        load.goes_on_for(100).await;
    }
    let sent = load.finish().await;
    let end = cluster.agreed("guild", &VOTERS, Sequence(600)).await;
    cluster.agreed("other", &VOTERS, Sequence(1)).await;
    for node in VOTERS {
        histories.extend(cluster.history(node, "guild").await);
    }
    // What several nodes tell of a sequence is the same.
    let mut history = BTreeMap::new();
    for transition in histories {
        let known = history.entry(transition.sequence).or_insert_with(|| transition.clone());
        assert_eq!(*known, transition);
    }
    let history: Vec<_> = history.into_values().collect();
    assert_eq!((history.len() as u64, history.last().map(|last| last.sequence)), (end.0, Some(end)));
    let _ = load::settle(&history, &sent);

    // Nobody is missing: with any one away, the others are a quorum.
    cluster.kill(2);
    let load = Load::start(&cluster.client().await, "guild", 2);
    load.goes_on_for(20).await;
    let _ = load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_ends_says_what_is_left_and_nothing_is_destroyed() {
    let mut cluster = Cluster::start(1).await;
    cluster.found("alone", "counter").await;
    let load = Load::start(&cluster.client().await, "alone", 2);
    load.goes_on_for(50).await;
    let sent = load.finish().await;
    let told = althing(&cluster.addresses(), &["snapshot", "create", "alone"]).await.done();
    assert!(!told.is_empty());
    cluster.kill(1);
    let wal = cluster.data(1).join("wal.db-wal");
    flip(&wal, FIRST_FRAME);
    let found = log_of(cluster.data(1));
    for _ in 0..2 {
        cluster.begin(1);
        let said =
            ["has lost what was durable", "must not vote", "a snapshot at sequence", "of alone", "backup"];
        ends(&mut cluster, 1, &said).await;
        assert_eq!(cluster.ended(1).code(), Some(1));
        assert_eq!(log_of(cluster.data(1)), found, "it is as it was found");
        assert!(!cluster.data(1).join("lost-1").exists());
    }
    // The file can be had as it was.
    flip(&wal, FIRST_FRAME);
    cluster.restart(1).await;
    let _ = load::settle(&cluster.history(1, "alone").await, &sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_that_lose_their_logs_end_and_come_back_when_there_is_a_quorum() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("guild", "counter").await;
    let load = Load::start(&cluster.client().await, "guild", 2);
    load.goes_on_for(50).await;
    let sent = load.finish().await;
    let old = lives(&cluster, 3).await;
    for node in VOTERS {
        cluster.kill(node);
    }
    for node in [2, 3] {
        flip(&cluster.data(node).join("wal.db-wal"), FIRST_FRAME);
    }
    for node in VOTERS {
        cluster.begin(node);
    }
    cluster.serves(1).await;
    for node in [2, 3] {
        ends(&mut cluster, node, &["no other node took it back", "must not vote", "a backup"]).await;
        assert_eq!(cluster.ended(node).code(), Some(1));
        assert!(!cluster.data(node).join("lost-1").exists(), "nothing was changed");
    }
    // One of the disks gives back what it had: the two are a quorum, and take the third one back.
    flip(&cluster.data(2).join("wal.db-wal"), FIRST_FRAME);
    cluster.restart(2).await;
    cluster.leader("guild").await;
    cluster.restart(3).await;
    back(&cluster, 3, &old).await;
    cluster.agreed("guild", &VOTERS, Sequence(50)).await;
    let _ = load::settle(&cluster.history(1, "guild").await, &sent);
}

/// Flips a bit of every place in a file that holds these words.
fn damage(file: &Path, words: &str) {
    let bytes = fs::read(file).expect("the file is there");
    let windows = bytes.windows(words.len()).enumerate();
    let places: Vec<_> =
        windows.filter(|(_, window)| *window == words.as_bytes()).map(|(at, _)| at as u64).collect();
    assert!(!places.is_empty(), "the log has what was submitted");
    places.into_iter().for_each(|at| flip(file, at));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_found_damaged_when_a_newcomer_needs_it_costs_the_leader_its_replica() {
    let mut cluster = Cluster::start(4).await;
    let founding =
        NewCommunity { name: "guild".to_owned(), nodes: nodes(&VOTERS), ..NewCommunity::default() };
    cluster.found_with(founding, "counter").await;
    let client = cluster.client().await;
    let session = client.community("guild").open_session(actor("ada")).await.unwrap();
    // Far from both ends, where a replica that starts looks for terms.
    let filler =
        std::iter::repeat_n("a", 40).chain(["needle-of-the-guild"]).chain(std::iter::repeat_n("a", 20));
    for name in filler {
        session.submit(add(name, 1)).await.unwrap();
    }
    cluster.agreed("guild", &VOTERS, Sequence(62)).await;
    let old = lives(&cluster, 2).await;
    // With a snapshot it is not executed again, and so not read, when the node is started.
    let _ = althing(&[cluster.api(2)], &["snapshot", "create", "guild"]).await.done();
    cluster.stop(2).await;
    damage(&cluster.data(2).join("wal.db"), "needle-of-the-guild");
    cluster.restart(2).await;
    cluster.agreed("guild", &VOTERS, Sequence(62)).await;
    let guild = cluster.replica(2, "guild").await.unwrap();
    assert_eq!((guild.replica, &*guild.fault), (old[&guild.community], ""), "nobody has noticed yet");

    let ask = cluster.addresses();
    eventually("node 2 leads", async || {
        althing(&ask, &["member", "transfer", "guild", "2"]).await;
        (cluster.leader("guild").await == 2).then_some(())
    })
    .await;
    // It has to read its whole log for the new one.
    althing(&ask, &["member", "add", "guild", "4"]).await;
    eventually("node 2 has another replica of the guild, which votes", async || {
        let replica = cluster.replica(2, "guild").await?;
        let votes = replica.members.iter().any(|member| member.replica == replica.replica && member.voter);
        (replica.replica > guild.replica && replica.fault.is_empty() && votes).then_some(())
    })
    .await;
    session.submit(add("a", 1)).await.unwrap();
    cluster.agreed("guild", &[1, 2, 3, 4], Sequence(63)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_entry_costs_one_replica_which_comes_back_and_the_others_stay_as_they_are() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("guild", "counter").await;
    cluster.found("other", "counter").await;
    cluster
        .found_with(
            NewCommunity { name: "lonely".to_owned(), nodes: nodes(&[2]), ..NewCommunity::default() },
            "counter",
        )
        .await;
    let client = cluster.client().await;
    for (community, needle) in [("guild", "needle-of-the-guild"), ("lonely", "needle-of-the-lonely")] {
        let session = client.community(community).open_session(actor("ada")).await.unwrap();
        session.submit(add(needle, 1)).await.unwrap();
    }
    cluster.agreed("guild", &VOTERS, Sequence(2)).await;
    let old = lives(&cluster, 2).await;
    // Everything is in the file itself when a node has ended in order.
    cluster.stop(2).await;
    for words in ["needle-of-the-guild", "needle-of-the-lonely"] {
        damage(&cluster.data(2).join("wal.db"), words);
    }
    cluster.restart(2).await;
    let guild = cluster.replica(1, "guild").await.unwrap().community;
    eventually("the guild's replica on node 2 is another, and votes", async || {
        let replica = cluster.replica(2, "guild").await?;
        let votes = replica.members.iter().any(|member| member.replica == replica.replica && member.voter);
        (replica.replica > old[&guild] && replica.fault.is_empty() && votes).then_some(())
    })
    .await;
    cluster.agreed("guild", &VOTERS, Sequence(2)).await;
    let other = cluster.replica(2, "other").await.unwrap();
    assert_eq!(other.replica, old[&other.community], "its log is whole");
    // What voted here alone cannot come from anybody.
    eventually("the lonely one says so", async || {
        let fault = cluster.replica(2, "lonely").await?.fault;
        fault.contains("nobody else votes in lonely").then_some(())
    })
    .await;
}
