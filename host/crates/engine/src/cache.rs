//! Compiled components on disk: one file each, replaced as a whole, believed only by checksum.
//!
//! A file's name says what it was compiled from and by what: component, fingerprint, and wasmtime's own
//! compatibility hash, so another engine never finds it. A damaged file is as good as none.

use crate::artifact::Artifact;
use althing_core::ids::Hash;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// The directory, and the engine whose code lies in it.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    engine: String,
    temporary: AtomicU64,
}

/// The cache directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the cache of compiled components {path:?} cannot be used")]
pub struct CacheError {
    /// Which file or directory.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Cache {
    pub(crate) fn open(directory: &Path, fingerprint: Hash, compatibility: u64) -> Result<Self, CacheError> {
        let broken = |source| CacheError { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(broken)?;
        let engine = format!("{}-{compatibility:016x}", hex::encode(&fingerprint.0[..8]));
        let cache = Self { directory: directory.to_owned(), engine, temporary: AtomicU64::new(0) };
        cache.remove_leftovers().map_err(broken)?;
        Ok(cache)
    }

    fn path(&self, component: Hash) -> PathBuf {
        self.directory.join(format!("{component}-{}.code", self.engine))
    }

    /// The artifact of a component; none if it is not there or damaged, in which case it is removed.
    pub(crate) fn get(&self, component: Hash) -> Option<Artifact> {
        let path = self.path(component);
        let bytes = fs::read(&path).ok()?;
        match Artifact::from_bytes(&bytes) {
            Ok(artifact) => Some(artifact),
            Err(error) => {
                tracing::warn!(%component, %error, "a cached component is damaged and will be compiled again");
                self.remove(component);
                None
            }
        }
    }

    /// Keeps an artifact: durable once this returns.
    pub(crate) fn put(&self, component: Hash, artifact: &Artifact) -> Result<(), CacheError> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!("{component}.{}.{number}.tmp", std::process::id()));
        let written = write_durably(&temporary, &artifact.to_bytes())
            .and_then(|()| fs::rename(&temporary, self.path(component)))
            .and_then(|()| File::open(&self.directory)?.sync_all());
        written.map_err(|source| {
            let _ = fs::remove_file(&temporary);
            CacheError { path: self.path(component), source }
        })
    }

    /// Forgets a component.
    pub(crate) fn remove(&self, component: Hash) {
        let _ = fs::remove_file(self.path(component));
    }

    /// Takes away what a killed process left half written.
    fn remove_leftovers(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
