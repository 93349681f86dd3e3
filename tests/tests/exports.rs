//! A community as one file: exported while clients go on, proven offline, and refused when it is not what
//! was executed.

use althing_client::NewCommunity;
use althing_core::{
    batch::{Batch, Command},
    codec,
    ids::{Hash, Sequence},
    portable::{Header, Kind},
    transition::Transition,
};
use althing_store::portable::{Reader, Writer};
use althing_tests::{
    cluster::Cluster,
    command::althing,
    load::{Load, settle},
    programs::add,
    replicas::{actor, policy},
};
use bytes::Bytes;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

const ALL: [u64; 3] = [1, 2, 3];

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of stories are text")
}

fn json(said: &str) -> Value {
    serde_json::from_str(said).expect("it is one JSON value")
}

/// Exports a community through one node; what was said of it.
async fn export(cluster: &Cluster, node: u64, community: &str, file: &Path) -> Value {
    let arguments = ["export", community, text(file), "--output", "json"];
    json(&althing(&[cluster.api(node)], &arguments).await.done())
}

/// Verifies a file, with no node in reach; what was said of it.
async fn verify(file: &Path) -> Value {
    let nobody = ["127.0.0.1:1".to_owned()];
    json(&althing(&nobody, &["verify", text(file), "--output", "json"]).await.done())
}

async fn refused(file: &Path, said: &[&str]) -> String {
    let told = althing(&["127.0.0.1:1".to_owned()], &["verify", text(file)]).await;
    told.must_fail(1, said);
    told.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_community_is_exported_while_clients_go_on_and_proven_with_no_node_in_reach() {
    let cluster = Cluster::start(3).await;
    let policy = policy(|policy| policy.retention.snapshot_transitions = 200);
    let founding = NewCommunity { name: "busy".to_owned(), policy, ..NewCommunity::default() };
    cluster.found_with(founding, "counter").await;
    let client = cluster.client().await;
    let load = Load::start(&client, "busy", 4);
    load.goes_on_for(50).await;

    // From a follower and from the leader, before the first snapshot that is due and after some more.
    let leader = cluster.leader("busy").await;
    let nodes = [cluster.follower("busy").await, leader];
    let mut exported = Vec::new();
    for (round, node) in [nodes[0], nodes[1], nodes[0]].into_iter().enumerate() {
        let file = cluster.folder().join(format!("busy-{round}.althing"));
        let told = export(&cluster, node, "busy", &file).await;
        load.goes_on_for(150).await;
        exported.push((file, told));
    }
    let sent = load.finish().await;
    let end = cluster.agreed("busy", &ALL, Sequence(400)).await;
    let history = cluster.history(leader, "busy").await;
    assert_eq!(history.last().map(|last| last.sequence), Some(end));
    let _ = settle(&history, &sent);

    let mut snapshots = Vec::new();
    for (file, told) in &exported {
        let proven = verify(file).await;
        assert_eq!(proven["verified"], true);
        for field in ["sequence", "digest", "log_index", "batches", "transitions", "components", "chunks"] {
            assert_eq!(proven[field], told[field], "{field}");
        }
        let sequence = proven["sequence"].as_u64().expect("it is a number");
        let digest = &history[sequence as usize - 1].digest;
        assert_eq!(proven["digest"], digest.to_string(), "the digest is the cluster's own at {sequence}");
        assert_eq!(proven["name"], "busy");
        let snapshot = proven["snapshot"].as_u64().expect("it is a number");
        assert_eq!(proven["transitions"], sequence - snapshot, "every transition above the snapshot");
        snapshots.push(snapshot);
    }
    assert!(snapshots[2] > snapshots[0], "newer snapshots are used: {snapshots:?}");

    // A file is nobody else's to overwrite, and what cannot be exported leaves no file.
    let (file, _) = &exported[0];
    let servers = cluster.addresses();
    let told = althing(&servers, &["export", "busy", text(file)]).await;
    told.must_fail(1, &["is there already"]);
    let nothing = cluster.folder().join("nothing.althing");
    althing(&servers, &["export", "nobody", text(&nothing)]).await.must_fail(1, &["no-community"]);
    althing(&servers, &["export", "system", text(&nothing)])
        .await
        .must_fail(1, &["the cluster's own directory"]);
    let left = fs::read_dir(cluster.folder()).expect("it can be listed").filter_map(Result::ok);
    let left: Vec<PathBuf> = left.map(|entry| entry.path()).collect();
    assert!(
        !left.iter().any(|path| text(path).contains("nothing") || text(path).ends_with(".part")),
        "{left:?}"
    );

    // As text: a line for each transition that is held.
    let lines = cluster.folder().join("busy.txt");
    let arguments = ["export", "busy", text(&lines), "--format", "text", "--output", "json"];
    let told = json(&althing(&servers, &arguments).await.done());
    let written = fs::read_to_string(&lines).expect("it is there");
    assert_eq!(told["lines"], written.lines().count());
    assert_eq!(told["last"], end.0);
    for (line, transition) in written.lines().zip(&history) {
        assert!(line.starts_with(&format!("{} ", transition.sequence)), "{line}");
    }
}

/// A file with some of its parts changed, and sealed again as if nothing had happened.
async fn forge(file: &Path, forged: &Path, mut change: impl FnMut(Kind, &str, Bytes) -> Option<Bytes>) {
    let mut reader = Reader::open(file).await.expect("it is an export");
    let mut writer = Writer::create(forged).await.expect("it can be written");
    for &kind in Kind::ALL {
        let mut after = 0;
        while let Some(part) = reader.next(kind.text(), after).await.expect("it can be read") {
            after = part.place;
            if let Some(body) = change(kind, &part.name, part.body) {
                writer.add(kind.text(), &part.name, &body).await.expect("it can be written");
            }
        }
    }
    writer.finish().await.expect("it can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_copy_is_refused_with_what_and_where() {
    let cluster = Cluster::start(1).await;
    // The snapshot is of an empty community: so its program is activated above it.
    let founding = NewCommunity { name: "sums".to_owned(), ..NewCommunity::default() };
    let admin = cluster.client().await.admin();
    admin.create(founding).await.expect("it is created");
    admin.create_snapshot("sums").await.expect("it is cut");
    let _ = cluster.install("sums", "counter").await;
    let community = cluster.client().await.community("sums");
    let session = community.open_session(actor("ada")).await.expect("it is opened");
    for amount in 1..=20 {
        session.submit(add("a", amount)).await.expect("it is answered");
    }
    let file = cluster.folder().join("sums.althing");
    let told = export(&cluster, 1, "sums", &file).await;
    assert_eq!((&told["transitions"], &told["components"]), (&22.into(), &1.into()));
    assert_eq!(verify(&file).await["snapshot"], 0);

    // By chance: a byte anywhere in what is held, or an end that is missing.
    let whole = fs::read(&file).expect("it is there");
    let altered = cluster.folder().join("altered.althing");
    let marks: [&[u8]; 3] = [b"ada", b"\"amount\":7", b"\0asm"];
    for mark in marks {
        let at = whole.windows(mark.len()).position(|window| window == mark).expect("it is in the file");
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&altered, &bytes).expect("it can be written");
        let _ = refused(&altered, &["is damaged", "is not what was written"]).await;
    }
    fs::write(&altered, &whole[..whole.len() / 2]).expect("it can be written");
    let _ = refused(&altered, &["is damaged"]).await;
    fs::write(&altered, b"what is this?").expect("it can be written");
    let _ = refused(&altered, &["is no export of a community"]).await;

    // On purpose, with every hash put right: execution comes to something else.
    let forged = |name: &str| cluster.folder().join(name);
    let operation = forged("operation.althing");
    forge(&file, &operation, |kind, _, body| {
        Some(if kind == Kind::Entry { seven_for_eight(body) } else { body })
    })
    .await;
    let said = refused(&operation, &["is not proven", "sequence 10 differs"]).await;
    for words in
        ["the first difference is at sequence 10", "recorded:", "\"amount\":8", "executed:", "\"amount\":7"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let outcome = forged("outcome.althing");
    forge(&file, &outcome, |kind, _, body| {
        Some(if kind == Kind::Transitions { cheaper(body) } else { body })
    })
    .await;
    let _ = refused(&outcome, &["sequence 5 differs"]).await;
    let shorter = forged("shorter.althing");
    let mut entries = 0;
    forge(&file, &shorter, |kind, _, body| {
        entries += u64::from(kind == Kind::Entry);
        (kind != Kind::Entry || entries <= 10).then_some(body)
    })
    .await;
    let _ = refused(&shorter, &["differs"]).await;
    let bare = forged("bare.althing");
    forge(&file, &bare, |kind, _, body| (kind != Kind::Component).then_some(body)).await;
    let _ = refused(&bare, &["component", "is missing"]).await;

    // Of another engine: nothing is executed at all.
    let foreign = forged("foreign.althing");
    forge(&file, &foreign, |kind, _, body| {
        Some(if kind == Kind::Header { of_another_engine(&body) } else { body })
    })
    .await;
    let _ = refused(&foreign, &["verify it with the build that made it", "wasmtime = 1.0.0"]).await;
}

/// The batch with 7 added where it was 8.
fn seven_for_eight(body: Bytes) -> Bytes {
    let mut batch: Batch = codec::decode(&body).expect("it is a batch");
    for command in &mut batch.commands {
        if let Command::Operation(operation) = command
            && operation.payload == add("a", 8)
        {
            operation.payload = add("a", 7);
        }
    }
    codec::encode(&batch).into()
}

/// The transitions, the fifth with less fuel.
fn cheaper(body: Bytes) -> Bytes {
    let mut transitions: Vec<Transition> = codec::decode(&body).expect("they are transitions");
    for transition in transitions.iter_mut().filter(|transition| transition.sequence == Sequence(5)) {
        transition.fuel -= 1;
    }
    codec::encode(&transitions).into()
}

fn of_another_engine(body: &Bytes) -> Bytes {
    let mut header: Header = codec::decode(body).expect("it is a header");
    header.fingerprint = Hash([7; 32]);
    header.listing = format!("wasmtime = 1.0.0\n{}", header.listing);
    codec::encode(&header).into()
}
