//! History that nodes hold no longer is read from files, with no node in reach; kills leave neither gap nor
//! repetition in them; damage is named, and a folder that cannot be written costs nothing.

use althing_client::NewCommunity;
use althing_core::{ids::Sequence, refusal::Code, segment::Segment, transition::Transition};
use althing_tests::{
    cluster::{Cluster, Setup},
    command::{Told, althing},
    load::{Load, settle},
    metrics::{get, metric},
    programs::add,
    replicas::{actor, policy},
    wait::eventually,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

const ALL: [u64; 3] = [1, 2, 3];

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of stories are text")
}

/// Runs a command with no node in reach.
async fn offline(arguments: &[&str]) -> Told {
    althing(&["127.0.0.1:1".to_owned()], arguments).await
}

fn lines(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).expect("each line is a JSON value")).collect()
}

/// A community that holds few transitions.
fn forgetful(name: &str) -> NewCommunity {
    let policy = policy(|policy| {
        policy.retention.snapshot_transitions = 50;
        policy.retention.transitions = 100;
        policy.retention.snapshots = 1;
    });
    NewCommunity { name: name.to_owned(), policy, ..NewCommunity::default() }
}

/// Segments, ascending.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let listed =
        fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it can be read").path());
    let mut segments: Vec<PathBuf> =
        listed.filter(|path| path.extension().is_some_and(|extension| extension == "segment")).collect();
    segments.sort();
    segments
}

async fn archived(cluster: &Cluster, node: u64) -> Option<althing_client::v1::ArchivedInfo> {
    let archive = cluster.status(node).await?.archive?;
    archive.communities.into_iter().find(|archived| archived.name == "busy")
}

/// Starts nodes that archive, each in `node-N` of a folder.
async fn archiving(nodes: u64, folder: &Path) -> Cluster {
    let setup = Setup::nodes(nodes).archiving(folder).with("--archive-transitions", 32);
    let cluster = Cluster::start_with(setup.with("--log-kept", 20)).await;
    cluster.found_with(forgetful("busy"), "counter").await;
    cluster
}

/// Waits until every node has archived all but the newest up to `end`, none of it missing; how far that is.
async fn archived_everywhere(cluster: &Cluster, end: Sequence) -> u64 {
    let mut reached = Vec::new();
    for node in cluster.running() {
        let caught_up =
            async || archived(cluster, node).await.filter(|archived| archived.archived + 32 > end.0);
        let seen = eventually(&format!("node {node} has archived up to {end}"), caught_up).await;
        assert_eq!((seen.missing, &seen.trouble[..]), (0, ""));
        reached.push(seen.archived);
    }
    reached.into_iter().min().expect("some node runs")
}

/// All transitions in a folder.
fn read(folder: &Path) -> Vec<Transition> {
    let read = |path: &PathBuf| Segment::read(&fs::read(path).expect("it is there")).expect("it is whole");
    segments(folder).iter().flat_map(|path| read(path).transitions).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_node_holds_any_more_is_read_from_files_whatever_was_killed_meanwhile() {
    let outside = tempfile::tempdir().expect("a folder can be made");
    let mut cluster = archiving(3, outside.path()).await;
    let client = cluster.client().await;
    let load = Load::start(&client, "busy", 4);
    load.goes_on_for(150).await;
    for round in 0..2 {
        // Away for so long that only a snapshot helps: what that leaves out comes from the others.
        let killed = if round == 0 { cluster.follower("busy").await } else { cluster.leader("busy").await };
        cluster.kill(killed);
        load.goes_on_for(150).await;
        cluster.restart(killed).await;
        let now = cluster.replica(killed, "busy").await.map_or(0, |replica| replica.sequence);
        archived_everywhere(&cluster, Sequence(now)).await;
    }
    load.goes_on_for(100).await;
    let sent = load.finish().await;
    let end = cluster.agreed("busy", &ALL, Sequence(500)).await;
    let upto = archived_everywhere(&cluster, end).await;
    assert!(metric(&cluster.api(1), "althing_archive_sequence").await >= Some(upto as f64));
    assert_eq!(metric(&cluster.api(1), "althing_archive_failing").await, Some(0.0));
    let shown = althing(&cluster.addresses(), &["status"]).await.done();
    assert!(shown.contains("archive") && shown.contains(&upto.to_string()), "{shown}");

    // No node holds the first ones any longer, also not in memory.
    for node in ALL {
        cluster.kill(node);
        cluster.restart(node).await;
    }
    cluster.agreed("busy", &ALL, end).await;
    for node in ALL {
        let error = cluster.client_of(node).await.community("busy").history(Sequence(1), 10).await;
        let error = error.expect_err("it is gone");
        assert_eq!(error.code(), Some(Code::HistoryGone), "{error}");
    }

    // Every archive has all of it, the same bytes in the same files; with what is still held it settles the account.
    let folder = |node: u64| outside.path().join(format!("node-{node}")).join("busy-1");
    let mut whole = read(&folder(1));
    let sequences: Vec<u64> = whole.iter().map(|transition| transition.sequence.0).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "no gap, and none twice");
    assert!(sequences.len() as u64 >= upto);
    for node in ALL {
        for path in segments(&folder(1)).iter().zip(segments(&folder(node))) {
            assert_eq!(path.0.file_name(), path.1.file_name());
            assert_eq!(
                fs::read(path.0).expect("it is there"),
                fs::read(&path.1).expect("it is there"),
                "{path:?}"
            );
        }
    }
    let held = cluster.history(1, "busy").await;
    let newest = whole.last().expect("there are some").clone();
    assert!(held.contains(&newest), "they overlap");
    whole.extend(held.into_iter().filter(|held| held.sequence > newest.sequence));
    let _ = settle(&whole, &sent);
    drop(cluster);
    it_is_read_and_checked(&outside.path().join("node-1"), &whole, newest.sequence).await;
    damage_is_named(&folder(1)).await;
}

/// With no node in reach: the same lines as online, and a verdict.
async fn it_is_read_and_checked(archive: &Path, history: &[Transition], last: Sequence) {
    let told =
        lines(&offline(&["history", "busy", "--archive", text(archive), "--output", "json"]).await.done());
    assert_eq!(told.len() as u64, last.0);
    for (line, transition) in told.iter().zip(history) {
        assert_eq!(line["sequence"], transition.sequence.0);
        assert_eq!(line["digest"], transition.digest.to_string());
    }
    let part = ["history", "busy", "--archive", text(archive), "--from", "100", "--limit", "2"];
    let part = offline(&part).await.done();
    assert!(part.starts_with("#100 ") && part.contains("\n#101 ") && !part.contains("#102 "), "{part}");
    let verified = lines(&offline(&["verify", text(archive), "--output", "json"]).await.done()).remove(0);
    assert_eq!((&verified["verified"], &verified["first"]), (&true.into(), &1.into()), "{verified}");
    assert_eq!((&verified["last"], &verified["transitions"]), (&last.0.into(), &last.0.into()));
}

/// Whatever is altered, cut off or taken away is found, with its file.
async fn damage_is_named(folder: &Path) {
    let files = segments(folder);
    let (second, name) =
        (&files[1], files[1].file_name().expect("it has one").to_string_lossy().into_owned());
    let whole = fs::read(second).expect("it is there");
    let mut altered = whole.clone();
    let mark = b"\"amount\":";
    let at = whole.windows(mark.len()).position(|window| window == mark).expect("it holds operations");
    altered[at + mark.len()] ^= 1;
    fs::write(second, &altered).expect("it can be written");
    let told = offline(&["verify", text(folder)]).await;
    told.must_fail(1, &["1 of 1 histories are not whole"]);
    assert!(told.stdout.contains(&name) && told.stdout.contains("damaged at sequence "), "{}", told.stdout);
    let told = offline(&["history", "busy", "--archive", text(folder)]).await;
    told.must_fail(1, &[&name, "damaged at sequence "]);
    assert!(told.stdout.starts_with("#1 "), "what lies before is told: {}", told.stdout);

    fs::write(second, &whole[..whole.len() - 1]).expect("it can be written");
    let told = offline(&["verify", text(second)]).await;
    told.must_fail(1, &[]);
    assert!(told.stdout.contains("NOT WHOLE"), "{}", told.stdout);

    fs::remove_file(second).expect("it can be removed");
    let told = offline(&["verify", text(folder)]).await;
    told.must_fail(1, &[]);
    assert!(told.stdout.contains("MISSING: sequences "), "{}", told.stdout);
    offline(&["history", "busy", "--archive", text(folder)])
        .await
        .must_fail(1, &["are not in this archive", "--from"]);

    // What was moved away from the beginning is said, and nothing is wrong with the rest.
    fs::remove_file(&files[0]).expect("it can be removed");
    let said = offline(&["verify", text(folder)]).await.done();
    assert!(said.contains("is whole") && said.contains("what comes before is not here"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_told_and_costs_nothing() {
    let outside = tempfile::tempdir().expect("a folder can be made");
    let archive = outside.path().join("node-1");
    fs::write(&archive, "a file is in the way").expect("it can be written");
    let cluster = archiving(1, outside.path()).await;
    let client = cluster.client().await;
    let session = client.community("busy").open_session(actor("ada")).await.expect("it is opened");
    for amount in 1..=300 {
        session.submit(add("a", amount)).await.expect("clients notice nothing");
    }
    let troubled = async || archived(&cluster, 1).await.filter(|archived| !archived.trouble.is_empty());
    let seen = eventually("it is told", troubled).await;
    assert!(seen.trouble.contains("cannot be written"), "{seen:?}");
    let status = althing(&cluster.addresses(), &["status"]).await.done();
    assert!(status.contains("busy IS NOT ARCHIVED"), "{status}");
    assert_eq!(metric(&cluster.api(1), "althing_archive_failing").await, Some(1.0));
    let ready = get(&cluster.api(1), "/readyz").await;
    assert!(ready.contains("200 OK") && ready.contains("busy is not archived"), "{ready}");
    let oldest = cluster.replica(1, "busy").await.expect("it is told").oldest_sequence;
    assert_eq!(oldest, 1, "nothing was dropped");

    fs::remove_file(&archive).expect("it can be removed");
    let mended = async || {
        archived(&cluster, 1).await.filter(|archived| archived.trouble.is_empty() && archived.lag < 32)
    };
    let seen = eventually("it is archived once it can be", mended).await;
    assert_eq!(seen.missing, 0);
    eventually("what is archived is dropped", async || {
        (cluster.replica(1, "busy").await?.oldest_sequence > 100).then_some(())
    })
    .await;
    assert!(offline(&["verify", text(&archive)]).await.done().contains("is whole"));
}
