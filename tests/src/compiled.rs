//! Compiled components, kept from one story to the next: compiling is slow in a build without
//! optimisation, and every node of every story would do it again.
//!
//! A file's name says by which engine it was made, and nodes believe it only by its checksum; so what
//! is old is just not found.

use crate::process::target;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Gives a node that starts for the first time what others have compiled.
pub(crate) fn give(data: &Path) {
    let _ = copy(&kept(), &data.join("compiled"));
}

/// Keeps what a node has compiled.
pub(crate) fn keep(data: &Path) {
    let _ = copy(&data.join("compiled"), &kept());
}

fn kept() -> PathBuf {
    target().join("components").join("compiled")
}

/// Copies what is missing; each file whole or not at all, and so that it outlives a power cut. What fails only costs time.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let there = to.join(&name);
        if path.extension().is_none_or(|extension| extension != "code") || there.exists() {
            continue;
        }
        let fresh =
            to.join(format!("{}.{}.tmp", name.to_string_lossy(), SmallRng::from_os_rng().random::<u64>()));
        fs::copy(&path, &fresh)?;
        fs::File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, &there)?;
    }
    fs::File::open(to)?.sync_all()
}
