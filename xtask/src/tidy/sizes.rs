//! Files of one idea, functions of one screen: the worst one is what counts.

use super::{Finding, code, tree::Tree};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Checks every Rust file that is no test.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !file.lies_in_tests()) {
        let lines: Vec<&str> = file.code.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            let what =
                format!("{} lines: a file holds one idea in at most {FILE_LINES_MAX}; split it", lines.len());
            findings.push(Finding::new(&file.path, 1, what));
        }
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = function(line) else { continue };
            let length = code::item(&lines, at).len();
            if length > FUNCTION_LINES_MAX {
                let what = format!(
                    "fn {name} has {length} lines: a function fits a screen, {FUNCTION_LINES_MAX} at most; split it"
                );
                findings.push(Finding::new(&file.path, at + 1, what));
            }
        }
    }
    findings
}

/// The name of the function whose head this line is.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_head = before.split_whitespace().all(|word| {
        matches!(word, "pub" | "const" | "async" | "unsafe" | "extern" | "default")
            || word.starts_with("pub(")
    });
    let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (is_head && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_function_is_found_and_one_of_seventy_lines_is_not() {
        let long = format!("//! a\npub(crate) async fn b() {{\n{}}}\n", "    c();\n".repeat(69));
        let fits = format!("//! a\nfn b() {{\n{}}}\n", "    c();\n".repeat(68));
        let tree = Tree::of(&[("src/long.rs", &long), ("src/fits.rs", &fits)]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].path.as_str(), findings[0].line), ("src/long.rs", 2));
    }

    #[test]
    fn a_long_file_is_found_unless_it_holds_tests() {
        let long = format!("//! a\n{}", "// b\n".repeat(600));
        assert_eq!(check(&Tree::of(&[("src/a.rs", &long)])).len(), 1);
        assert!(check(&Tree::of(&[("a/tests/b.rs", &long)])).is_empty());
    }
}
