//! The doctor, as an operator meets it: nodes that run, that were stopped, that were killed, and what a
//! damaged file means before anybody dares to start.

use althing_client::NewCommunity;
use althing_core::ids::Sequence;
use althing_tests::{
    cluster::Cluster,
    command::{Told, althing},
    load::Load,
    replicas::policy,
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

/// What the doctor says of a directory, with no node in reach.
async fn doctor(folder: &Path, more: &[&str]) -> Told {
    let arguments: Vec<&str> = ["doctor", text(folder)].iter().chain(more).copied().collect();
    althing(&["127.0.0.1:1".to_owned()], &arguments).await
}

/// The same as JSON, whatever the exit code.
async fn diagnosis(folder: &Path) -> (i32, Value) {
    let told = doctor(folder, &["--deep", "--output", "json"]).await;
    (told.code, serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("it is JSON: {told:#?}")))
}

fn community<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let all = diagnosis["communities"].as_array().expect("there are communities");
    all.iter().find(|community| community["name"] == name).expect("it is there")
}

/// Every file below a folder, with its bytes.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("it can be read")) {
        match entry.path() {
            path if path.is_dir() => all.extend(everything(&path)),
            path => all.push((path.clone(), fs::read(&path).expect("it can be read"))),
        }
    }
    all.sort();
    all
}

/// Flips a bit wherever these bytes stand in a file; whether they stood anywhere.
fn flip(file: &Path, bytes: &[u8]) -> bool {
    let mut all = fs::read(file).expect("it can be read");
    let places: Vec<usize> =
        (0..all.len() - bytes.len()).filter(|&at| all[at..].starts_with(bytes)).collect();
    for &at in &places {
        all[at] ^= 1;
    }
    fs::write(file, all).expect("it can be written");
    !places.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_is_explained_before_anybody_dares_to_start_on_it() {
    let mut cluster = Cluster::start(3).await;
    let policy = policy(|policy| policy.retention.snapshot_transitions = 100);
    let founding = NewCommunity { name: "sums".to_owned(), policy, ..NewCommunity::default() };
    cluster.found_with(founding, "counter").await;
    let client = cluster.client().await;
    let load = Load::start(&client, "sums", 4);
    load.goes_on_for(350).await;
    let _ = load.finish().await;
    cluster.agreed("sums", &ALL, Sequence(350)).await;

    // While it runs it is left alone.
    let data = cluster.data(2).to_owned();
    let told = doctor(&data, &[]).await;
    told.must_fail(4, &["is in use by a running node (pid", "`althing status`"]);

    // Killed, so that SQLite's own files are there; and looked at, which changes nothing.
    cluster.kill(2);
    let before = everything(&data);
    let (code, told) = diagnosis(&data).await;
    assert_eq!(
        (code, &told["sound"], &told["on_start"]["text"]),
        (0, &true.into(), &"serves as node 2".into())
    );
    assert_eq!(told["identity"]["node"], 2);
    assert_eq!(told["nodes"].as_array().map(Vec::len), Some(3));
    assert_eq!(told["log"]["lost"], 0);
    let sums = community(&told, "sums");
    assert_eq!(sums["voters"].as_object().map(serde_json::Map::len), Some(3), "{sums}");
    assert_eq!(sums["program"]["name"], "counter");
    assert_eq!(sums["on_start"]["does"], "restores");
    let newest = sums["snapshots"][0]["sequence"].as_u64().expect("it has snapshots");
    assert!(
        sums["on_start"]["text"].as_str().is_some_and(|text| text.contains(&newest.to_string())),
        "{sums}"
    );
    let said = doctor(&data, &[]).await.done();
    assert!(said.contains("community sums (id 1)") && said.contains("none is lost"), "{said}");
    assert!(everything(&data) == before, "looking changed something");

    // What it foretold is what comes.
    cluster.restart(2).await;
    cluster.agreed("sums", &ALL, Sequence(350)).await;

    // A component whose bytes are others, in the directory of a node that stores it and was closed.
    let component = fs::read(althing_tests::components::path("counter")).expect("it is built");
    let part = &component[component.len() - 300..][..64];
    let mut flipped = None;
    for id in ALL {
        let _ = cluster.stop(id).await;
        let data = cluster.data(id).to_owned();
        if flip(&data.join("archive.db"), part) {
            flipped = Some(data);
        }
    }
    let told = doctor(&flipped.expect("one stores it, and runs it from there"), &[]).await;
    told.must_fail(1, &["is damaged: component", "its bytes are not those of its name"]);
    assert!(told.stdout.contains("DAMAGED"), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_that_is_gone_or_is_another_is_named_and_what_comes_of_it_is_said() {
    let mut cluster = Cluster::start(1).await;
    cluster.found("sums", "counter").await;
    cluster.kill(1);
    let data = cluster.data(1).to_owned();
    let copy = async |name: &str, change: &dyn Fn(&Path)| {
        let copy = cluster.folder().join(name);
        fs::create_dir(&copy).expect("it is new");
        let files = ["wal.db", "wal.db-wal", "wal.mark", "archive.db", "archive.db-wal", "archive.mark"];
        for file in files.into_iter().chain(["facts", "facts.copy"]) {
            fs::copy(data.join(file), copy.join(file)).expect("a killed node leaves all of them");
        }
        change(&copy);
        diagnosis(&copy).await
    };
    let without =
        |file: &'static str| move |copy: &Path| fs::remove_file(copy.join(file)).expect("it is there");
    let lost = "comes back under fresh replica ids through the other nodes";

    let (code, told) = copy("whole", &|_| ()).await;
    assert_eq!((code, &told["on_start"]["does"]), (0, &"serves".into()), "{told}");
    let (code, told) = copy("wal gone", &without("wal.db-wal")).await;
    assert_eq!(code, 1);
    let what = told["damages"][0]["what"].as_str();
    assert!(what.is_some_and(|what| what.ends_with("that somebody was told of are lost")), "{told}");
    assert!(told["on_start"]["text"].as_str().is_some_and(|text| text.contains(lost)), "{told}");
    let (code, told) = copy("log gone", &without("wal.db")).await;
    assert_eq!((code, &told["damages"][0]["place"]), (1, &"wal.db".into()), "{told}");
    let (code, told) = copy("mark gone", &without("wal.mark")).await;
    assert_eq!((code, &told["damages"][0]["place"]), (1, &"wal.mark".into()), "{told}");
    for file in ["facts", "facts.copy", "archive.mark"] {
        let (code, told) = copy(&format!("{file} gone"), &without(file)).await;
        assert_eq!((code, &told["damages"][0]["place"]), (1, &file.into()), "{told}");
        assert_eq!(told["on_start"]["does"], "serves", "{told}");
    }
    let (code, told) = copy("archive's end gone", &without("archive.db-wal")).await;
    assert_eq!((code, &told["damages"][0]["place"]), (1, &"archive.db".into()), "{told}");
    assert_eq!(
        (&told["identity"]["node"], &told["on_start"]["does"]),
        (&1.into(), &"serves".into()),
        "{told}"
    );
    let foreign = |copy: &Path| fs::write(copy.join("archive.db"), "letters").expect("it can be written");
    let (code, told) = copy("letters", &foreign).await;
    assert_eq!((code, &told["damages"][0]["place"]), (1, &"archive.db".into()), "{told}");
    assert_eq!(told["on_start"]["does"], "ends", "{told}");

    let empty = cluster.folder().join("empty");
    fs::create_dir(&empty).expect("it is new");
    let (code, told) = diagnosis(&empty).await;
    assert_eq!((code, &told["on_start"]["does"]), (0, &"is-nobody".into()), "{told}");
    doctor(&cluster.folder().join("nowhere"), &[]).await.must_fail(2, &["nowhere cannot be read"]);
}
