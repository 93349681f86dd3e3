//! No file names a place on somebody's machine.

use super::{Finding, tree::Tree};

/// In two parts, so that this file does not find itself.
const PLACES: &[(&str, &str)] = &[("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/")];

/// Checks every text.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (at, line) in file.text.lines().enumerate() {
            let mut places = PLACES.iter().map(|(begin, end)| format!("{begin}{end}"));
            if let Some(place) = places.find(|place| names_place(line, place)) {
                let what =
                    format!("names {place}, a place on one machine: say it relative to the repository");
                findings.push(Finding::new(&file.path, at + 1, what));
            }
        }
    }
    findings
}

/// Whether `place` stands there as the beginning of a path, not in the middle of one.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | '/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found_and_part_of_another_path_is_not() {
        let bad = format!("a\nsee `/wo{}main`\n", "rk/");
        let good = format!("https://example.org/wo{}a\n", "rk/");
        let findings = check(&Tree::of(&[("docs/a.md", &bad), ("docs/b.md", &good)]));
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].path.as_str(), findings[0].line), ("docs/a.md", 2));
    }
}
