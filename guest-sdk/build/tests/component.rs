//! What comes out of a build: only our imports, no trace of the machine, the same bytes everywhere; and
//! what an author is told when nothing comes out.

use althing_build::{BuildError, Built, Options, Sdk, build, new_project};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use wasmparser::{Parser, Payload};

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("this is a checkout")
}

/// The names of a component's own imports.
fn imports(component: &[u8]) -> BTreeSet<String> {
    imports_and_exports(component).0
}

/// The names of a component's own imports and exports, without those of the parts it is made of.
fn imports_and_exports(component: &[u8]) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut depth = 0;
    let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
    for payload in Parser::new(0).parse_all(component) {
        match payload.expect("a sound component") {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(
                    section.into_iter().map(|import| import.expect("a sound import").name.name.to_owned()),
                );
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                let names = section.into_iter().map(|export| export.expect("a sound export").name.name);
                exports.extend(names.map(str::to_owned));
            }
            _ => {}
        }
    }
    (imports, exports)
}

#[test]
fn a_reducer_imports_what_its_world_has_and_nothing_else() {
    let built = build(&checkout().join("reducers/counter"), &Options::default()).unwrap();
    let wanted = ["types", "state", "events", "log"].map(|name| format!("althing:reducer/{name}@0.1.0"));
    assert_eq!(imports(&built.bytes), BTreeSet::from(wanted));
    assert_eq!(fs::read(&built.path).unwrap(), built.bytes);
}

#[test]
fn a_validator_exports_nothing_of_the_reducer_it_knows() {
    let built = build(&checkout().join("reducers/spending-limit"), &Options::default()).unwrap();
    let wanted = ["types", "before", "log"].map(|name| format!("althing:reducer/{name}@0.1.0"));
    assert_eq!(imports(&built.bytes), BTreeSet::from(wanted));
}

#[test]
fn a_reducer_with_a_migrate_exports_both_interfaces() {
    let built = build(&checkout().join("tests/guests/remembering"), &Options::default()).unwrap();
    let (imports, exports) = imports_and_exports(&built.bytes);
    let wanted = ["reduction", "migration"].map(|name| format!("althing:reducer/{name}@0.1.0"));
    assert_eq!(exports, BTreeSet::from(wanted));
    assert!(imports.iter().all(|import| import.starts_with("althing:reducer/")), "{imports:?}");
}

fn new_built(parent: &Path, target_dir: &Path) -> Built {
    let project = new_project(parent, "polling", &Sdk::Checkout(checkout())).expect("a project");
    // The workspace's versions: nothing has to be looked up.
    fs::copy(checkout().join("Cargo.lock"), project.join("Cargo.lock")).expect("a copy");
    build(&project, &Options { target_dir: Some(target_dir.to_path_buf()), ..Options::default() })
        .expect("it builds")
}

#[test]
fn a_new_project_gives_the_same_bytes_wherever_it_lies() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // What both depend on is compiled once.
    let target_dir = here.path().join("target");
    let first = new_built(here.path(), &target_dir);
    let second = new_built(there.path(), &target_dir);
    assert_eq!(first.hash, second.hash);
    let home = std::env::home_dir().expect("there is a home");
    for place in [here.path(), &checkout(), &home] {
        let place = place.to_str().unwrap().as_bytes();
        let names_it = first.bytes.windows(place.len()).any(|window| window == place);
        assert!(!names_it, "the component names {}", String::from_utf8_lossy(place));
    }
}

#[test]
fn an_author_is_told_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let target_dir = Some(folder.path().join("target"));
    let options = Options { target_dir, quiet: true, offline: true };
    let nowhere = build(&folder.path().join("nowhere"), &options).unwrap_err();
    assert!(matches!(nowhere, BuildError::Io { .. }), "{nowhere:?}");
    let empty = build(folder.path(), &options).unwrap_err();
    assert!(matches!(empty, BuildError::Manifest { .. }), "{empty:?}");

    let manifest = "[package]\nname = \"bare\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/main.rs"), "fn main() {}").unwrap();
    let binary = build(folder.path(), &options).unwrap_err();
    assert!(matches!(binary, BuildError::NoLibrary { .. }), "{binary:?}");
    fs::write(folder.path().join("src/lib.rs"), "").unwrap();
    let silent = build(folder.path(), &options).unwrap_err();
    assert!(matches!(silent, BuildError::NoExport { .. }), "{silent:?}");
    fs::write(folder.path().join("src/lib.rs"), "fn (").unwrap();
    let broken = build(folder.path(), &options).unwrap_err();
    assert!(matches!(broken, BuildError::Compile { .. }), "{broken:?}");
}
