//! The files of the repository, read once, with what every rule asks of them: which part is a
//! program and which is a test, and the program without comments and texts.

use super::code;
use anyhow::{Context, Result};
use std::{collections::BTreeSet, fs, ops::Range, path::Path};
use walkdir::{DirEntry, WalkDir};

/// Every file that is ours.
#[derive(Default)]
pub(crate) struct Tree {
    /// In the order of their paths.
    pub(crate) files: Vec<File>,
    /// What lies in the root: files and directories.
    pub(crate) root_entries: Vec<String>,
}

/// A file.
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    /// Its text; empty when it is none.
    pub(crate) text: String,
    /// Rust only: the text with comments and string contents blanked, line for line.
    pub(crate) code: String,
    /// Rust only: whether all of it is compiled for tests alone.
    is_all_test: bool,
    /// Rust only: the lines (from 0) that are compiled for tests alone.
    test_lines: Vec<Range<usize>>,
}

impl Tree {
    /// Reads everything below `root` but what is built, fetched or git's.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(is_ours) {
            let entry = entry.context("walking the tree")?;
            if entry.depth() == 1 {
                tree.root_entries.push(entry.file_name().to_string_lossy().into_owned());
            }
            if !entry.file_type().is_file() {
                continue;
            }
            let path = entry.path().strip_prefix(root).context("a file outside of the root")?;
            let path = path.to_string_lossy().replace('\\', "/");
            let bytes = fs::read(entry.path()).with_context(|| format!("reading {path}"))?;
            tree.files.push(File::new(path, String::from_utf8(bytes).unwrap_or_default()));
        }
        tree.mark_test_modules();
        Ok(tree)
    }

    /// A tree of these files, for the tests of rules.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self {
            files: files
                .iter()
                .map(|(path, text)| File::new((*path).to_owned(), (*text).to_owned()))
                .collect(),
            root_entries: Vec::new(),
        };
        let entries: BTreeSet<_> =
            files.iter().map(|(path, _)| path.split('/').next().unwrap_or(path).to_owned()).collect();
        tree.root_entries = entries.into_iter().collect();
        tree.mark_test_modules();
        tree
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// The file at `path`.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether `path` is a file or a directory with one.
    pub(crate) fn has(&self, path: &str) -> bool {
        let directory = format!("{}/", path.trim_end_matches('/'));
        self.files.iter().any(|file| file.path == path || file.path.starts_with(&directory))
    }

    /// A file that is declared as `#[cfg(test)] mod name;` is a test from its first line on.
    fn mark_test_modules(&mut self) {
        let tests: BTreeSet<String> = self.rust().flat_map(declared_test_modules).collect();
        for file in &mut self.files {
            if tests.contains(&file.path) {
                file.is_all_test = true;
            }
        }
    }
}

impl File {
    fn new(path: String, text: String) -> Self {
        let mut file = Self { path, text, code: String::new(), is_all_test: false, test_lines: Vec::new() };
        if file.is_rust() {
            file.code = code::strip(&file.text);
            file.is_all_test = file.lies_in_tests();
            file.test_lines = file.test_items();
        }
        file
    }

    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether a line (from 0) is compiled for tests alone.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.is_all_test || self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// Whether the whole file is one of tests.
    pub(crate) fn lies_in_tests(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| matches!(part, "tests" | "benches" | "tests.rs"))
    }

    fn test_items(&self) -> Vec<Range<usize>> {
        let lines: Vec<&str> = self.code.lines().collect();
        (0..lines.len()).filter(|&at| is_test_attribute(lines[at])).map(|at| code::item(&lines, at)).collect()
    }
}

fn is_test_attribute(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(any(test,") || line.starts_with("#[test]")
}

/// The paths that `#[cfg(test)] mod name;` in `file` may mean.
fn declared_test_modules(file: &File) -> Vec<String> {
    let lines: Vec<&str> = file.code.lines().collect();
    let mut paths = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if !is_test_attribute(line) {
            continue;
        }
        let Some(name) = lines.get(at + 1).and_then(|next| declared_module(next)) else { continue };
        let (directory, own) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let own = own.trim_end_matches(".rs");
        let base = match own {
            "lib" | "main" | "mod" => directory.to_owned(),
            _ => format!("{directory}/{own}"),
        };
        paths.push(format!("{base}/{name}.rs"));
        paths.push(format!("{base}/{name}/mod.rs"));
    }
    paths
}

fn declared_module(line: &str) -> Option<&str> {
    let words = line.trim().strip_suffix(';')?;
    words.split_once("mod ").map(|(_, name)| name)
}

fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let is_built = name.starts_with("target") && entry.file_type().is_dir();
    let is_fetched = matches!(name.as_ref(), ".git" | "node_modules" | "__pycache__" | ".venv");
    !is_built && !is_fetched && !name.ends_with(".swp")
}

#[cfg(test)]
mod tests {
    use super::Tree;

    #[test]
    fn a_test_module_is_a_test_and_what_stands_above_it_is_not() {
        let text = "//! a\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let tree = Tree::of(&[("src/a.rs", text)]);
        let tests: Vec<usize> = (0..7).filter(|&line| tree.files[0].is_test(line)).collect();
        assert_eq!(tests, [2, 3, 4, 5]);
    }

    #[test]
    fn a_file_declared_for_tests_alone_is_a_test() {
        let tree = Tree::of(&[
            ("src/lib.rs", "//! a\n#[cfg(test)]\npub mod fixture;\n"),
            ("src/fixture.rs", "//! b\n"),
            ("src/other.rs", "//! c\n"),
        ]);
        assert!(tree.files[1].is_test(0));
        assert!(!tree.files[2].is_test(0));
    }
}
