//! Decision records are numbered without gaps, listed in their index, and of one form.

use super::{Finding, tree::Tree};

const DIRECTORY: &str = "docs/decisions/";
const INDEX: &str = "docs/decisions/README.md";
const HEADINGS: &[&str] = &["## Context", "## Decision", "## Consequences", "## Alternatives refused"];

/// Checks the records and their index.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let records: Vec<_> = tree
        .files
        .iter()
        .filter(|file| file.path.starts_with(DIRECTORY) && file.path.ends_with(".md") && file.path != INDEX)
        .collect();
    if records.is_empty() {
        return Vec::new();
    }
    let index = tree.file(INDEX).map_or("", |file| file.text.as_str());
    let mut findings = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let name = &record.path[DIRECTORY.len()..];
        if !name.starts_with(&format!("{:04}-", at + 1)) {
            let what = format!("should be number {:04}: records count from 0001 without gaps", at + 1);
            findings.push(Finding::new(&record.path, 1, what));
        }
        if !index.contains(&format!("({name})")) {
            findings.push(Finding::new(&record.path, 1, format!("is not listed in {INDEX}: add a line")));
        }
        for heading in HEADINGS {
            if !record.text.lines().any(|line| line == *heading) {
                findings.push(Finding::new(&record.path, 1, format!("has no `{heading}`: add it")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "# a\n## Context\n## Decision\n## Consequences\n## Alternatives refused\n";

    #[test]
    fn a_gap_an_unlisted_record_and_a_missing_part_are_found() {
        let index = "[1](0001-a.md) [3](0003-c.md)";
        let tree = Tree::of(&[
            ("docs/decisions/0001-a.md", WHOLE),
            ("docs/decisions/0003-c.md", WHOLE),
            ("docs/decisions/README.md", index),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("0002"));

        let tree = Tree::of(&[("docs/decisions/0001-a.md", "# a\n"), ("docs/decisions/README.md", "")]);
        assert_eq!(check(&tree).len(), 1 + HEADINGS.len());
    }

    #[test]
    fn whole_records_in_order_are_fine() {
        let tree =
            Tree::of(&[("docs/decisions/0001-a.md", WHOLE), ("docs/decisions/README.md", "[a](0001-a.md)")]);
        assert!(check(&tree).is_empty());
    }
}
