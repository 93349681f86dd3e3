//! What a document points at is there: relative links everywhere, and the files that the
//! architecture and the book name in backticks.

use super::{
    Finding,
    tree::{File, Tree},
};

/// Documents whose backticked paths are checked too, from the root.
const NAMING: &[&str] =
    &["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "docs/determinism.md", "docs/reference/formats.md"];

/// What a path in backticks may begin with, to be taken for one of ours.
const ROOTS: &[&str] =
    &[".ci/", "docs/", "examples/", "guest-sdk/", "host/", "reducers/", "tests/", "wit/", "xtask/"];

/// Checks every Markdown document.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (at, line) in file.text.lines().enumerate() {
            for target in link_targets(line) {
                if !leads_somewhere(tree, file, target) {
                    let what = format!("links to {target}, which is not there: mend the link");
                    findings.push(Finding::new(&file.path, at + 1, what));
                }
            }
            for path in named_paths(file, line) {
                if !tree.has(path) {
                    let what = format!("names `{path}`, which is not there: mend the name");
                    findings.push(Finding::new(&file.path, at + 1, what));
                }
            }
        }
    }
    findings
}

/// The targets of `[text](target)` that are no addresses.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| {
        !target.contains("://") && !target.starts_with(['#', '<']) && !target.contains("mailto:")
    })
}

fn leads_somewhere(tree: &Tree, file: &File, target: &str) -> bool {
    let target = target.split(['#', ' ']).next().unwrap_or_default();
    let mut parts: Vec<&str> = file.path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            name => parts.push(name),
        }
    }
    parts.is_empty() || tree.has(&parts.join("/"))
}

/// The paths in backticks; a pattern or a list of names (`*`, `{`, `<`, `…`) is none.
fn named_paths<'a>(file: &File, line: &'a str) -> impl Iterator<Item = &'a str> {
    let is_naming = NAMING.contains(&file.path.as_str());
    let quoted = line.split('`').skip(1).step_by(2).filter(move |_| is_naming);
    quoted.filter(|text| {
        ROOTS.iter().any(|root| text.starts_with(root)) && !text.contains(['*', '{', '<', '…', ' '])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_link_is_found_and_a_live_one_is_not() {
        let text = "[a](guides/b.md#part) [c](../README.md) [d](https://example.org) [e](gone.md)\n";
        let tree = Tree::of(&[("docs/a.md", text), ("docs/guides/b.md", ""), ("README.md", "")]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("gone.md"));
    }

    #[test]
    fn the_architecture_names_only_what_is_there() {
        let text = "`host/src/main.rs` `host/gone.rs` `wit/` `host/crates/{a,b}` `docs/*`\n";
        let tree =
            Tree::of(&[("ARCHITECTURE.md", text), ("host/src/main.rs", "//! a\n"), ("wit/types.wit", "")]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("host/gone.rs"));
    }
}
