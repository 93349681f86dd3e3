//! A patch of the exam: what it breaks, after which real bug, which check must find it, and the difference.

use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where they lie, from the root.
pub(super) const FOLDER: &str = "tests/exam";

/// One patch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Patch {
    /// Its file's name without the ending.
    pub(super) name: String,
    /// What it breaks.
    pub(super) what: String,
    /// What must fail: `sim` with its arguments, or a `cargo` command.
    pub(super) check: String,
    /// Its file.
    pub(super) path: PathBuf,
}

/// All of them, in the order of their names.
pub(super) fn read_all(root: &Path) -> Result<Vec<Patch>> {
    let entries = fs::read_dir(root.join(FOLDER)).with_context(|| format!("reading {FOLDER}"))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()
        .with_context(|| format!("reading {FOLDER}"))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        parse(path, &text)
    };
    paths.into_iter().map(read).collect()
}

fn parse(path: PathBuf, text: &str) -> Result<Patch> {
    let header: Vec<&str> = text.lines().take_while(|line| !line.starts_with("--- ")).collect();
    let told = |word: &str| header.iter().find_map(|line| line.strip_prefix(word)).map(str::trim);
    let what = header.first().copied().unwrap_or_default();
    ensure!(!what.is_empty(), "{}: the first line says what it breaks", path.display());
    ensure!(told("after:").is_some(), "{}: a line `after: …` names the real bug", path.display());
    let check =
        told("check:").with_context(|| format!("{}: a line `check: …` names the check", path.display()))?;
    let is_known = ["sim ", "cargo test "].iter().any(|kind| check.starts_with(kind));
    ensure!(is_known, "{}: a check begins with `sim` or `cargo test`", path.display());
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Patch { name, what: what.to_owned(), check: check.to_owned(), path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_header_says_what_is_broken_and_what_must_find_it() {
        let text = "A vote is lost.\nafter: a bug\ncheck: sim --seeds 3\n\n--- a/x\n+++ b/x\n";
        let patch = parse("tests/exam/01-vote.patch".into(), text).expect("it is complete");
        assert_eq!(
            (&*patch.name, &*patch.what, &*patch.check),
            ("01-vote", "A vote is lost.", "sim --seeds 3")
        );
        for broken in ["", "A.\ncheck: sim 1\n", "A.\nafter: b\n", "A.\nafter: b\ncheck: rm -r\n"] {
            assert!(parse("x.patch".into(), broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn every_patch_of_the_exam_still_applies() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root");
        let patches = read_all(root).expect("every patch is complete");
        assert!(patches.len() >= 20, "{} patches", patches.len());
        for patch in patches {
            let check =
                Command::new("git").args(["apply", "--check"]).arg(&patch.path).current_dir(root).output();
            let check = check.expect("git is here");
            let said = String::from_utf8_lossy(&check.stderr);
            assert!(check.status.success(), "{} does not apply any more: {said}", patch.name);
        }
    }
}
