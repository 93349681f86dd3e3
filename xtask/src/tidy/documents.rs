//! Every Rust file says first what it is for, and is named after it.

use super::{Finding, tree::Tree};

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "misc", "shared"];

/// Rust files that are the input of a test, read as they are: a line more would change the test.
const FIXTURES: &[&str] = &["/tests/ui/"];

/// Checks every Rust file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let is_fixture = FIXTURES.iter().any(|part| file.path.contains(part));
        let first = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if !first.starts_with("//!") && !is_fixture {
            let what = "the file does not open with `//!`: say what it is for, promises, and refuses to know";
            findings.push(Finding::new(&file.path, 1, what));
        }
        let mut names = file.path.split('/').map(|part| part.trim_end_matches(".rs"));
        if let Some(name) = names.find(|name| EMPTY_NAMES.contains(name)) {
            let what = format!("`{name}` names no idea: call it after what is in it");
            findings.push(Finding::new(&file.path, 1, what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_module_docs_is_found() {
        let tree = Tree::of(&[("src/a.rs", "fn a() {}\n"), ("src/b.rs", "//! b\n"), ("src/c.rs", "")]);
        let found: Vec<_> = check(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["src/a.rs", "src/c.rs"]);
    }

    #[test]
    fn a_name_that_says_nothing_is_found_for_files_and_directories() {
        let tree = Tree::of(&[("src/utils.rs", "//! a\n"), ("src/common/b.rs", "//! b\n")]);
        assert_eq!(check(&tree).len(), 2);
    }
}
