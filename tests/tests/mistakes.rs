//! Mistakes that users make, at the command line as they make them: each ends with an exit code, says
//! what was wrong and what to do, and harms nobody.

use althing_client::NewCommunity;
use althing_tests::{
    cluster::{Cluster, free_address},
    command::{Told, althing},
    components,
};
use std::{
    fs::{self, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

const ADD: &str = r#"{"op":"add","name":"a","amount":1}"#;

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of stories are text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_does_not_fit_is_refused_with_the_reason() {
    let cluster = Cluster::start(1).await;
    cluster.found("sums", "counter").await;
    let servers = cluster.addresses();
    let install = async |name: &str, bytes: &[u8], said: &str| {
        let path = cluster.folder().join(name);
        fs::write(&path, bytes).expect("it can be written");
        let told = althing(&servers, &["program", "install", "sums", text(&path)]).await;
        told.must_fail(1, &[said, "code: bad-component"]);
    };
    let component = |text: &str| wat::parse_str(text).expect("it is sound");
    install("core.wasm", &component("(module)"), "this is a core WebAssembly module").await;
    install("words.wasm", b"what is this?", "this is no valid WebAssembly component").await;
    let whole = components::component("counter");
    install("half.wasm", &whole[..whole.len() / 2], "this is no valid WebAssembly component").await;
    install("empty.wasm", &component("(component)"), "is neither a reducer nor a validator").await;
    let clock = r#"(component (import "wasi:clocks/wall-clock@0.2.0"
        (instance (export "now" (func (result u64))))))"#;
    install("clock.wasm", &component(clock), "`wasi:clocks/wall-clock@0.2.0`, which is not served").await;
    install("huge.wasm", &vec![0; (64 << 20) + 1], "67108865 bytes").await;

    // A validator is no reducer, and a reducer no validator.
    let (counter, limit) = (components::path("counter"), components::path("spending-limit"));
    let told = althing(&servers, &["program", "install", "sums", text(&limit)]).await;
    told.must_fail(1, &["is a validator, a reducer was wanted", "code: bad-component"]);
    let doubled = ["program", "install", "sums", text(&counter), "--validator", text(&counter)];
    althing(&servers, &doubled)
        .await
        .must_fail(1, &["is a reducer, a validator was wanted", "code: bad-component"]);
    let told = althing(&servers, &["program", "install", "sums", "nowhere.wasm"]).await;
    told.must_fail(2, &["nowhere.wasm cannot be read"]);

    // The law is what it was.
    let _ = althing(&servers, &["submit", "sums", ADD, "--fail-on-rejection"]).await.done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_is_refused_with_what_to_do() {
    let cluster = Cluster::start(1).await;
    cluster.found("sums", "counter").await;
    let empty = NewCommunity { name: "empty".to_owned(), ..NewCommunity::default() };
    cluster.client().await.admin().create(empty).await.unwrap();
    let servers = cluster.addresses();
    let ask = async |arguments: &[&str]| althing(&servers, arguments).await;

    // What the program does not understand, the program rejects: by name, with the place.
    for operation in
        [r#"{"op":"multiply"}"#, r#"{"op":"add","name":7,"amount":1}"#, r#"{"op":"add"}"#, "add 1"]
    {
        let told = ask(&["submit", "sums", operation, "--fail-on-rejection"]).await;
        assert_eq!(told.code, 3, "{told:#?}");
        assert!(told.stdout.contains("invalid-operation"), "{told:#?}");
    }
    let told = ask(&["query", "sums", r#"{"query":"average"}"#]).await;
    assert_eq!(told.code, 3, "{told:#?}");

    for arguments in [
        &["submit", "nobody", ADD] as &[&str],
        &["query", "nobody", "{}"],
        &["watch", "nobody"],
        &["history", "nobody"],
        &["community", "show", "nobody"],
        &["program", "show", "nobody"],
    ] {
        ask(arguments).await.must_fail(1, &["no community", "code: no-community", "althing community list"]);
    }
    ask(&["submit", "empty", ADD]).await.must_fail(1, &["code: no-program", "althing program install"]);
    ask(&["query", "empty", "{}"]).await.must_fail(1, &["code: no-program"]);
    ask(&["community", "create", "sums"]).await.must_fail(1, &["code: community-exists", "another name"]);
    ask(&["community", "create", "Bad Name"]).await.must_fail(1, &["code: bad-request"]);
    ask(&["community", "create", "five", "--voters", "5"]).await.must_fail(1, &["code: bad-members"]);
    ask(&["community", "delete", "sums"]).await.must_fail(2, &["--yes"]);

    let (ledger, limit) = (components::path("ledger"), components::path("spending-limit"));
    let install = ["program", "install", "empty", text(&ledger), "--validator", text(&limit)];
    ask(&install).await.must_fail(1, &["spending-limit needs a configuration", "code: bad-config"]);
    // One that is there and does not fit is the program's to judge.
    let unfit = format!("{}={}", text(&limit), r#"{"limit":"much"}"#);
    let told = ask(&["program", "install", "empty", text(&ledger), "--config", r#"{"treasurer":1}"#]).await;
    assert_eq!(told.code, 3, "{told:#?}");
    assert!(told.stdout.contains("invalid-config"), "{told:#?}");
    let fits = ["program", "install", "empty", text(&ledger), "--validator", &unfit];
    let _ = ask(&fits).await.done();
    let told = ask(&["submit", "empty", r#"{"op":"open","account":"a"}"#, "--fail-on-rejection"]).await;
    assert_eq!(told.code, 3, "a law that cannot work accepts nothing: {told:#?}");
    assert!(told.stdout.contains("invalid-config"), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_or_a_node_the_command_line_says_so_in_time() {
    let mut cluster = Cluster::start(3).await;
    cluster.found("sums", "counter").await;
    let servers = cluster.addresses();
    cluster.kill(2);
    cluster.kill(3);
    // The first may be taken in before the leader knows that it is alone: that is not known then.
    let first = althing(&servers, &["submit", "sums", ADD, "--patience", "4"]).await;
    assert!([4, 5].contains(&first.code), "{first:#?}");
    let told = althing(&servers, &["submit", "sums", ADD, "--patience", "4"]).await;
    told.must_fail(4, &["code: no-leader", "too few voters are up"]);
    cluster.kill(1);
    let told = althing(&servers, &["submit", "sums", ADD, "--patience", "4"]).await;
    told.must_fail(4, &["no node answers at", "Is the node running?"]);
}

/// Tries to serve, which must fail.
async fn serve(data: &Path, more: &[&str]) -> Told {
    let mut arguments = vec!["serve", "--data", text(data)];
    for option in ["--listen", "--peer-listen"] {
        if !more.contains(&option) {
            arguments.extend([option, "127.0.0.1:0"]);
        }
    }
    arguments.extend(more);
    althing(&[], &arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_serve_says_why_and_touches_nothing() {
    let cluster = Cluster::start(1).await;
    let data = cluster.data(1);
    serve(data, &[]).await.must_fail(1, &["another process (pid", "stop it, or choose another directory"]);

    let fresh = |name: &str| cluster.folder().join(name);
    let taken = cluster.api(1);
    serve(&fresh("a"), &["--bootstrap", "--listen", &taken]).await.must_fail(1, &[&taken, "in use"]);
    let taken = cluster.peer(1);
    serve(&fresh("b"), &["--bootstrap", "--peer-listen", &taken]).await.must_fail(1, &[&taken, "in use"]);
    serve(&fresh("c"), &[]).await.must_fail(1, &["belongs to no cluster yet", "--bootstrap", "--join"]);
    let both = ["--bootstrap", "--join", "127.0.0.1:1"];
    serve(&fresh("d"), &both).await.must_fail(2, &["cannot be used with"]);
    let file = fresh("file");
    fs::write(&file, "not a folder").unwrap();
    serve(&file, &["--bootstrap"]).await.must_fail(1, &[text(&file), "cannot be used"]);

    assert!(cluster.status(1).await.is_some(), "the node that was there first goes on");
    let nobody = free_address();
    let told = serve(&fresh("e"), &["--join", &nobody]).await;
    told.must_fail(1, &[&nobody, "took this one in"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_is_damaged_foreign_or_newer_is_refused() {
    let mut cluster = Cluster::start(1).await;
    cluster.found("sums", "counter").await;
    assert!(cluster.stop(1).await.success());
    let data = cluster.data(1).to_path_buf();
    let spoilt = |name: &str, file: &str, spoil: &dyn Fn(&Path)| {
        let copy = cluster.folder().join(name);
        copy_folder(&data, &copy);
        spoil(&copy.join(file));
        (copy.clone(), copy.join(file))
    };
    let foreign_log = ["is not the file that was written", "knows no other node that could take it back"];
    let damaged_log = ["is damaged", "must not vote with that"];
    let foreign_archive = ["is not a file of an Althing store", "archive.db"];
    let damaged_archive = ["is damaged", "come back as a new replica"];
    for (file, foreign_words, damaged_words) in
        [("wal.db", foreign_log, damaged_log), ("archive.db", foreign_archive, damaged_archive)]
    {
        // SQLite keeps the format's number in the header of the file.
        let newer = |path: &Path| overwrite(path, 60, &9999_u32.to_be_bytes());
        let (copy, path) = spoilt(&format!("newer-{file}"), file, &newer);
        let told = serve(&copy, &[]).await;
        told.must_fail(1, &[text(&path), "has format 9999", "start the newer version"]);

        let foreign = |path: &Path| fs::write(path, "Dear diary, today I lost my node.").unwrap();
        let (copy, path) = spoilt(&format!("foreign-{file}"), file, &foreign);
        serve(&copy, &[]).await.must_fail(1, &[text(&path), foreign_words[0], foreign_words[1]]);

        let damage = |path: &Path| {
            let half = fs::metadata(path).unwrap().len() / 8192 * 4096;
            overwrite(path, half, &[0xa5; 4096]);
        };
        let (copy, path) = spoilt(&format!("damaged-{file}"), file, &damage);
        let told = serve(&copy, &[]).await;
        told.must_fail(1, &[text(&path), damaged_words[0], damaged_words[1]]);
    }
    // What was copied from is as good as ever.
    cluster.restart(1).await;
    let _ = althing(&cluster.addresses(), &["submit", "sums", ADD, "--fail-on-rejection"]).await.done();
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("it is there");
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes)).expect("it can be written");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    let entries: Vec<PathBuf> =
        fs::read_dir(from).expect("it is there").map(|entry| entry.expect("it can be read").path()).collect();
    for path in entries.iter().filter(|path| path.is_file()) {
        fs::copy(path, to.join(path.file_name().expect("it has one"))).expect("it can be copied");
    }
}
