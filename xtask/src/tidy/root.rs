//! The root is a table of contents: nothing lies there but what is on this list.

use super::{Finding, tree::Tree};

const ALLOWED: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "docs",
    "examples",
    "guest-sdk",
    "host",
    "reducers",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
    "wit",
    "xtask",
];

/// Checks what lies in the root.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let stray = tree.root_entries.iter().filter(|entry| !ALLOWED.contains(&entry.as_str()));
    stray
        .map(|entry| {
            let what =
                "does not belong into the root: move it, or add it to ALLOWED in xtask/src/tidy/root.rs";
            Finding::new(entry, 1, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_file_in_the_root_is_found() {
        let tree = Tree::of(&[("notes.txt", ""), ("README.md", ""), ("host/notes.txt", "")]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "notes.txt");
    }
}
