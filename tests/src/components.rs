//! Components for the stories: those that `cargo xtask reducers` has built, or built here when they
//! are missing or older than their sources.

use crate::process::target;
use bytes::Bytes;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

/// Folders of guest crates.
const SHELVES: [&str; 2] = ["reducers", "tests/guests"];
/// What every guest is made of besides its own folder.
const INGREDIENTS: [&str; 3] = ["guest-sdk/althing-guest", "guest-sdk/macros", "wit"];

/// Only one test of this process builds at a time.
static BUILDING: Mutex<()> = Mutex::new(());

/// The bytes of a component.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn component(name: &str) -> Bytes {
    fs::read(path(name)).expect("it was just built").into()
}

/// Where a component lies, for the command line.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let path = target().join("components").join(name).with_extension("wasm");
    let _building = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = path.parent().expect("it has one");
    fs::create_dir_all(folder).expect("the target directory can be written");
    // Test binaries of other packages may build the same.
    let lock = File::create(folder.join("lock")).expect("the target directory can be written");
    lock.lock().expect("a file can be locked");
    if !is_fresh(&path, name) {
        build(name, &path);
    }
    path
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

fn sources(name: &str) -> PathBuf {
    let folder = SHELVES.iter().map(|shelf| workspace().join(shelf).join(name));
    let mut folder = folder.filter(|folder| folder.join("Cargo.toml").is_file());
    folder.next().unwrap_or_else(|| panic!("no guest is called {name}"))
}

fn is_fresh(path: &Path, name: &str) -> bool {
    let Ok(built) = fs::metadata(path).and_then(|metadata| metadata.modified()) else { return false };
    let ingredients = INGREDIENTS.iter().map(|folder| workspace().join(folder));
    std::iter::once(sources(name)).chain(ingredients).all(|folder| newest(&folder) < built)
}

/// When something below a folder was last changed.
fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let changed = entries.map(|entry| match entry.path() {
        path if path.is_dir() => newest(&path),
        path => fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH),
    });
    changed.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn build(name: &str, path: &Path) {
    let options = althing_build::Options { target_dir: Some(target()), quiet: true, offline: false };
    let built = althing_build::build(&sources(name), &options)
        .unwrap_or_else(|error| panic!("{name} cannot be built: {error}"));
    // Whole or not at all: others read without the lock.
    let fresh = path.with_extension("new");
    fs::write(&fresh, built.bytes).and_then(|()| fs::rename(&fresh, path)).expect("it can be written");
}
