//! A cluster is saved while clients go on, is destroyed, and comes back on other nodes: the same history, the
//! same answers, and it goes on from there.

use althing_client::NewCommunity;
use althing_core::{
    ids::{OperationNumber, Sequence},
    transition::{Cause, Transition},
};
use althing_tests::{
    cluster::{Cluster, Setup},
    command::althing,
    load::Load,
    programs::add,
    replicas::{actor, policy},
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

fn json(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).expect("each line is a JSON value")).collect()
}

/// Runs a command that succeeds; what it said, line by line.
async fn done(cluster: &Cluster, arguments: &[&str]) -> Vec<Value> {
    let arguments = [arguments, &["--output", "json"]].concat();
    json(&althing(&cluster.addresses(), &arguments).await.done())
}

/// A community of the name that cuts snapshots often.
fn frequent(name: &str) -> NewCommunity {
    let policy = policy(|policy| policy.retention.snapshot_transitions = 100);
    NewCommunity { name: name.to_owned(), policy, ..NewCommunity::default() }
}

/// The import that a history goes on with after `sequence`.
fn import_after(history: &[Transition], sequence: u64) -> &Transition {
    let found = history.iter().find(|transition| transition.sequence.0 == sequence + 1);
    let found = found.expect("there is a transition after it");
    assert!(matches!(found.cause, Cause::Import(_)), "{found:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_saved_under_load_destroyed_and_restored_elsewhere() {
    let cluster = Cluster::start(3).await;
    cluster.found_with(frequent("busy"), "counter").await;
    cluster.found("quiet", "counter").await;
    let client = cluster.client().await;
    let session = client.community("busy").open_session(actor("ada")).await.expect("it is opened");
    let first = session.submit(add("ada", 41)).await.expect("it is answered");
    let load = Load::start(&client, "busy", 4);
    load.goes_on_for(300).await;

    let kept = tempfile::tempdir().expect("a folder can be made");
    let directory = kept.path().join("backup");
    let index = done(&cluster, &["backup", text(&directory)]).await.remove(0);
    load.goes_on_for(50).await;
    let _ = load.finish().await;
    let names: Vec<_> = index["communities"].as_array().unwrap().iter().map(|saved| &saved["name"]).collect();
    assert_eq!(names, ["busy", "quiet"]);
    assert_eq!(index["failed"], Value::Array(Vec::new()));
    let saved = &index["communities"][0];
    let sequence = saved["sequence"].as_u64().expect("it is a number");
    let before = cluster.history(cluster.leader("busy").await, "busy").await;
    let witness = before[sequence as usize - 1].clone();
    assert_eq!(saved["digest"], witness.digest.to_string(), "it is saved as the cluster had it then");
    drop(cluster);

    let cluster = Cluster::start(3).await;
    let restored = done(&cluster, &["restore", text(&directory)]).await;
    let names: Vec<_> = restored.iter().map(|restored| &restored["name"]).collect();
    assert_eq!(names, ["busy", "quiet"]);
    assert_eq!(restored[0]["origin"]["digest"], saved["digest"]);
    cluster.agreed("busy", &ALL, Sequence(sequence + 1)).await;
    for node in ALL {
        let history = cluster.history(node, "busy").await;
        let imported = import_after(&history, sequence);
        let Cause::Import(origin) = &imported.cause else { unreachable!("it was just looked at") };
        assert_eq!((origin.sequence, origin.digest), (witness.sequence, witness.digest));
        let came_along = &history[..history.len() - 1];
        assert!(came_along.len() > 1, "history came along");
        for told in came_along.iter().filter(|told| told.sequence.0 <= sequence) {
            assert_eq!(told, &before[told.sequence.0 as usize - 1]);
        }
    }

    // What was answered before is answered again, and clients go on.
    let client = cluster.client().await;
    let busy = client.community("busy");
    let again = busy.resume_session(actor("ada"), session.id(), OperationNumber(1), session.window());
    let repeated = again.submit(add("ada", 41)).await.expect("it is answered");
    assert!(repeated.repeated);
    assert_eq!(repeated.receipt, first.receipt);
    let next = again.submit(add("ada", 1)).await.expect("it is answered");
    assert!(!next.repeated && next.receipt.sequence.0 > sequence);
    let load = Load::start(&client, "busy", 2);
    load.goes_on_for(150).await;
    let _ = load.finish().await;
    let end = cluster.agreed("busy", &ALL, Sequence(sequence + 150)).await;

    // What is restored is there already; and what came of it can be proven again.
    let again = done(&cluster, &["restore", text(&directory)]).await;
    assert!(again.iter().all(|restored| restored["already"] == true), "{again:?}");
    assert_eq!(cluster.agreed("busy", &ALL, end).await, end);
    let exported = kept.path().join("again.althing");
    let exported = done(&cluster, &["export", "busy", text(&exported)]).await.remove(0);
    let file = exported["file"].as_str().expect("it is a text").to_owned();
    let proven = done(&cluster, &["verify", &file]).await.remove(0);
    assert_eq!((&proven["digest"], &proven["verified"]), (&exported["digest"], &Value::Bool(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_beside_its_original_goes_its_own_way_and_new_replicas_begin_with_its_snapshot() {
    let cluster = Cluster::start_with(Setup::nodes(3)).await;
    let alone = NewCommunity { nodes: althing_tests::replicas::nodes(&[1]), ..frequent("sums") };
    cluster.found_with(alone, "counter").await;
    let client = cluster.client().await;
    let session = client.community("sums").open_session(actor("ada")).await.expect("it is opened");
    for amount in 1..=20 {
        session.submit(add("ada", amount)).await.expect("it is answered");
    }
    let file = cluster.folder().join("sums.althing");
    let told = done(&cluster, &["export", "sums", text(&file)]).await.remove(0);
    let sequence = told["sequence"].as_u64().expect("it is a number");

    let servers = cluster.addresses();
    althing(&servers, &["import", text(&file)]).await.must_fail(1, &["community-exists"]);
    // Asked of a node that is not to have it.
    let elsewhere = [cluster.api(2)];
    let arguments = ["import", text(&file), "--name", "trial", "--nodes", "1", "--output", "json"];
    let trial = json(&althing(&elsewhere, &arguments).await.done()).remove(0);
    assert_eq!((&trial["name"], &trial["already"]), (&"trial".into(), &false.into()));
    let again = json(&althing(&elsewhere, &arguments).await.done()).remove(0);
    assert_eq!((&again["id"], &again["already"]), (&trial["id"], &true.into()));

    // The same number in both: another operation in each, for they are two communities now.
    let copied = client.community("trial");
    let window = session.window();
    let copied = copied.resume_session(actor("ada"), session.id(), OperationNumber(21), window);
    let here = copied.submit(add("ada", 1)).await.expect("it is answered");
    let there = session.submit(add("ada", 1)).await.expect("it is answered");
    assert_eq!(here.receipt.sequence.0, there.receipt.sequence.0 + 1, "the import is a transition");
    assert_ne!(here.receipt.digest, there.receipt.digest);

    // Learners, and a rebuild: nobody can begin with a first entry, for there is none.
    let admin = client.admin();
    for node in [2, 3] {
        admin.add_replica("trial", althing_core::ids::NodeId(node)).await.expect("it is added");
        admin.promote_replica("trial", althing_core::ids::NodeId(node)).await.expect("it is promoted");
    }
    cluster.agreed("trial", &ALL, Sequence(sequence + 2)).await;
    admin.rebuild_replica("trial", althing_core::ids::NodeId(1), None).await.expect("it is rebuilt");
    for amount in 1..=150 {
        copied.submit(add("ada", amount)).await.expect("it is answered");
    }
    cluster.agreed("trial", &ALL, Sequence(sequence + 152)).await;
    assert_eq!(cluster.replica(1, "sums").await.map(|sums| sums.sequence), Some(there.receipt.sequence.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_imported_is_refused_and_leaves_nothing() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("sums", "counter").await;
    let file = cluster.folder().join("sums.althing");
    let _ = done(&cluster, &["export", "sums", text(&file)]).await;
    let servers = [cluster.api(1)];

    let damaged = cluster.folder().join("damaged.althing");
    let mut bytes = fs::read(&file).expect("it is there");
    let wasm = bytes.windows(4).position(|window| window == b"\0asm").expect("there is a component");
    bytes[wasm + 100] ^= 1;
    fs::write(&damaged, bytes).expect("it can be written");
    let trial = |file: &PathBuf| {
        ["import", text(file), "--name", "trial", "--patience", "2"].map(str::to_owned).to_vec()
    };
    let refused = async |file: &PathBuf, code: i32, said: &[&str]| {
        let arguments = trial(file);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        althing(&servers, &arguments).await.must_fail(code, said);
    };
    refused(&damaged, 1, &["is damaged", "is not what was written"]).await;
    refused(&cluster.folder().join("nothing"), 1, &["cannot be read"]).await;
    althing(&servers, &["import", text(&file), "--name", "No Name"]).await.must_fail(1, &["is no name"]);

    // A node that is to vote is away: nobody has half of it.
    cluster.kill(3);
    let arguments = ["import", text(&file), "--name", "trial", "--nodes", "1,2,3", "--patience", "2"];
    let told = althing(&servers, &arguments).await;
    assert_ne!(told.code, 0, "{told:?}");
    assert!(told.stderr.contains("node 3 did not take the community in"), "{told:?}");
    let listed = done_on(&servers, &["community", "list"]).await;
    assert!(!listed.to_string().contains("trial"), "{listed}");

    // When it is back, the same is asked again.
    cluster.restart(3).await;
    cluster.settled().await;
    let imported = done(&cluster, &["import", text(&file), "--name", "trial"]).await.remove(0);
    assert_eq!(imported["already"], false);
    cluster.agreed("trial", &ALL, Sequence(2)).await;
}

async fn done_on(servers: &[String], arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    json(&althing(servers, &arguments).await.done()).remove(0)
}
