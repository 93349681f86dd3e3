//! A copy of the tree, to be broken and mended again.

use super::patch::Patch;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use walkdir::WalkDir;

/// The copy, and where it is built.
pub(super) struct Scratch {
    /// The copied tree.
    tree: PathBuf,
    /// Its target directory.
    target: PathBuf,
}

impl Scratch {
    /// Makes the copy what the tree is. Only files that differ are written, so that little is built again.
    pub(super) fn fill(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target().join("exam");
        let scratch = Self { tree: folder.join("tree"), target: folder.join("target") };
        fs::create_dir_all(&scratch.tree).context("making a folder for the copy")?;
        let files = files(workspace.root())?;
        for old in WalkDir::new(&scratch.tree) {
            let old = old.context("walking the copy")?;
            let path = old.path().strip_prefix(&scratch.tree).context("a file outside of the copy")?;
            if old.file_type().is_file() && !files.contains(path) {
                fs::remove_file(old.path()).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        for file in &files {
            copy(&workspace.root().join(file), &scratch.tree.join(file))
                .with_context(|| format!("copying {}", file.display()))?;
        }
        Ok(scratch)
    }

    /// A command in the copy, which builds there.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        // Each patch changes a few lines: what they have no part in is not optimised again.
        command.env("CARGO_INCREMENTAL", "1");
        // The copy lies in a repository and is none: paths are from its own root.
        command.env("GIT_CEILING_DIRECTORIES", self.tree.parent().unwrap_or(&self.tree));
        command
    }

    /// The simulator as it was built last.
    pub(super) fn simulator(&self) -> PathBuf {
        self.target.join("release/simulate")
    }

    /// Breaks the copy.
    pub(super) fn apply(&self, patch: &Patch) -> Result<()> {
        self.git_apply(patch, &[])
    }

    /// Mends it.
    pub(super) fn take_back(&self, patch: &Patch) -> Result<()> {
        self.git_apply(patch, &["--reverse"])
    }

    fn git_apply(&self, patch: &Patch, options: &[&str]) -> Result<()> {
        let mut command = self.command("git");
        let status = command.arg("apply").args(options).arg(&patch.path).status().context("starting git")?;
        ensure!(status.success(), "{} does not apply", patch.path.display());
        Ok(())
    }
}

/// What git knows of and what it would add, from the root, as far as it is there.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listed = command.output().context("starting git")?;
    ensure!(listed.status.success(), "git does not list the files of the tree");
    let names = String::from_utf8(listed.stdout).context("a file's name is no text")?;
    let files = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    Ok(files.filter(|file| root.join(file).is_file()).collect())
}

/// Copies a file unless it is there as it is.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    Ok(fs::write(to, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_it_was_is_not_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("deep/to"));
        let written = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).expect("it is there");
        fs::write(&from, "one").expect("it can be written");
        copy(&from, &to).expect("it can be copied");
        let before = written(&to);
        copy(&from, &to).expect("it can be copied");
        assert_eq!(written(&to), before);
        fs::write(&from, "two").expect("it can be written");
        copy(&from, &to).expect("it can be copied");
        assert_eq!(fs::read(&to).expect("it is there"), b"two");
    }
}
