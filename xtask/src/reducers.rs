//! `cargo xtask reducers`: every reducer, validator and test guest as a component, at
//! `target/components/<name>.wasm`.
//!
//! How a component is made is `althing-build`'s business alone, so these have the hashes that an
//! author's `althing build` would give them.

use crate::{steps, workspace::Workspace};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders of guest crates.
const SHELVES: &[&str] = &["reducers", "tests/guests"];

/// The verb.
pub(crate) fn run() -> Result<()> {
    build_all(&Workspace::load()?)
}

/// Builds all of them.
pub(crate) fn build_all(workspace: &Workspace) -> Result<()> {
    steps::run_here("reducers", || {
        let components = workspace.components();
        fs::create_dir_all(&components).with_context(|| format!("making {}", components.display()))?;
        for guest in guests(workspace.root())? {
            build(&guest, workspace.target(), &components)?;
        }
        Ok(())
    })
}

/// Builds one reducer; where its component is.
pub(crate) fn build_one(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let components = workspace.components();
    steps::run_here(name, || {
        fs::create_dir_all(&components).with_context(|| format!("making {}", components.display()))?;
        build(&workspace.root().join("reducers").join(name), workspace.target(), &components)
    })?;
    Ok(components.join(format!("{name}.wasm")))
}

fn build(guest: &Path, target: &Path, components: &Path) -> Result<()> {
    let name = guest.file_name().expect("a guest is in a folder of a shelf").to_string_lossy();
    let options =
        althing_build::Options { target_dir: Some(target.to_path_buf()), quiet: true, offline: false };
    let built = althing_build::build(guest, &options).with_context(|| format!("building {name}"))?;
    let path = components.join(format!("{name}.wasm"));
    fs::copy(&built.path, &path).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("   {name:<16} {:>8} bytes  {}", built.bytes.len(), &built.hash[..16]);
    Ok(())
}

/// The folders of guest crates, by name.
fn guests(root: &Path) -> Result<Vec<PathBuf>> {
    let mut guests = Vec::new();
    for shelf in SHELVES.iter().map(|shelf| root.join(shelf)).filter(|shelf| shelf.is_dir()) {
        for entry in fs::read_dir(&shelf).with_context(|| format!("reading {}", shelf.display()))? {
            let folder = entry.with_context(|| format!("reading {}", shelf.display()))?.path();
            if folder.join("Cargo.toml").is_file() {
                guests.push(folder);
            }
        }
    }
    guests.sort();
    ensure!(!guests.is_empty(), "there are no guest crates in {SHELVES:?}");
    Ok(guests)
}

#[cfg(test)]
mod tests {
    use super::guests;

    #[test]
    fn every_folder_with_a_manifest_is_a_guest() {
        let root = tempfile::tempdir().expect("a directory can be made");
        for folder in ["reducers/b", "reducers/a", "reducers/notes", "tests/guests/c"] {
            std::fs::create_dir_all(root.path().join(folder)).expect("a directory can be made");
        }
        assert!(guests(root.path()).is_err(), "none is an error, not an empty success");
        for folder in ["reducers/b", "reducers/a", "tests/guests/c"] {
            std::fs::write(root.path().join(folder).join("Cargo.toml"), "").expect("a file can be made");
        }
        let found = guests(root.path()).expect("there are some");
        let names: Vec<_> = found.iter().map(|path| path.file_name().expect("a name")).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
