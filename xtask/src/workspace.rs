//! Where things are: the root, the target directory, the packages. Asked of `cargo metadata` once.

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};
use std::path::{Path, PathBuf};

/// The workspace as cargo sees it.
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo, without resolving dependencies: works offline, and on a tree that does not build.
    pub(crate) fn load() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let metadata = MetadataCommand::new()
            .manifest_path(manifest)
            .no_deps()
            .exec()
            .context("asking cargo metadata")?;
        Ok(Self { metadata })
    }

    /// The directory that holds the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// Where cargo builds.
    pub(crate) fn target(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// Where built components are put, as `<name>.wasm`.
    pub(crate) fn components(&self) -> PathBuf {
        self.target().join("components")
    }

    /// Cargo's own words.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
