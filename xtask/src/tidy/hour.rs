//! The newcomer's hour in ARCHITECTURE.md: the lines of what it asks to read, counted, are what it
//! says, and no more than an hour holds.

use super::{Finding, tree::Tree};

const DOCUMENT: &str = "ARCHITECTURE.md";
const HEADING: &str = "## A newcomer's hour";
/// What stands before the number that is checked.
const TOTAL: &str = "Lines to read: ";
/// What about 1,800 lines may be, so that not every line added to one of the files needs another.
const LINES_MAX: usize = 1890;
/// How far the printed number may be from the true one, as one part in so many.
const TOLERANCE: usize = 20;

/// Checks the number.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.file(DOCUMENT) else {
        return vec![Finding::new(DOCUMENT, 1, "is not there: it is where a newcomer begins")];
    };
    let mut lines = document.text.lines().enumerate().skip_while(|(_, line)| *line != HEADING).skip(1);
    let mut read = 0;
    for (at, line) in lines.by_ref().take_while(|(_, line)| !line.starts_with("## ")) {
        if let Some(total) = line.strip_prefix(TOTAL) {
            return judge(at + 1, total, read).into_iter().collect();
        }
        let paths = line.split('`').skip(1).step_by(2).filter(|_| line.starts_with('|'));
        read += paths.map(|path| count(tree, path)).sum::<usize>();
    }
    vec![Finding::new(DOCUMENT, 1, format!("has no `{HEADING}` with a line `{TOTAL}…` after its table"))]
}

/// The lines of a file, or of the files in a directory.
fn count(tree: &Tree, path: &str) -> usize {
    let is_meant = |file: &str| file == path || (path.ends_with('/') && file.starts_with(path));
    tree.files.iter().filter(|file| is_meant(&file.path)).map(|file| file.text.lines().count()).sum()
}

fn judge(line: usize, total: &str, read: usize) -> Option<Finding> {
    let digits: String = total.chars().filter(char::is_ascii_digit).collect();
    let said: usize = digits.parse().unwrap_or(0);
    if said.abs_diff(read) > read / TOLERANCE {
        return Some(Finding::new(
            DOCUMENT,
            line,
            format!("the hour has {read} lines, not {said}: mend the number"),
        ));
    }
    (read > LINES_MAX).then(|| {
        let what = format!("the hour has {read} lines, {LINES_MAX} at most: something is in the wrong place");
        Finding::new(DOCUMENT, line, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(total: &str, lines: usize) -> Vec<Finding> {
        let text = format!("# a\n{HEADING}\n| `src/a.rs` | b |\n{TOTAL}{total}.\n## next\n");
        check(&Tree::of(&[("ARCHITECTURE.md", &text), ("src/a.rs", &"//! a\n".repeat(lines))]))
    }

    #[test]
    fn the_number_must_be_the_true_one_and_within_the_hour() {
        assert!(findings("100", 100).is_empty());
        assert!(findings("1,700", 1700).is_empty());
        assert_eq!(findings("100", 200).len(), 1);
        assert_eq!(findings("1900", 1900).len(), 1);
    }

    #[test]
    fn an_architecture_without_the_hour_is_found() {
        assert_eq!(check(&Tree::of(&[("ARCHITECTURE.md", "# a\n")])).len(), 1);
    }
}
