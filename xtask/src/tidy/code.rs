//! As much of Rust's grammar as the rules need: where comments and texts are, where an item ends.
//! Relies on rustfmt: an item ends at the first closing brace in its own column.

use std::ops::Range;

/// `text` with comments and the contents of string and character literals blanked; the same lines,
/// the same columns.
pub(crate) fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, is_blank) = match token(rest) {
            Some(length) => (length, true),
            None => (word(rest).unwrap_or(first.len_utf8()), false),
        };
        let (part, after) = rest.split_at(length);
        if is_blank {
            out.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(part);
        }
        rest = after;
    }
    out
}

/// The lines of the item that begins at line `at`, its attributes first.
pub(crate) fn item(lines: &[&str], at: usize) -> Range<usize> {
    let indent = indent(lines[at]);
    for (end, line) in lines.iter().enumerate().skip(at) {
        let is_head = end == at || line.trim_start().starts_with("#[");
        if line.trim().is_empty() || (is_head && line.trim_end().ends_with(']')) {
            continue;
        }
        let closes = line.trim_end().ends_with(';') || line.trim_end().ends_with('}');
        if self::indent(line) == indent && closes {
            return at..end + 1;
        }
    }
    at..lines.len()
}

/// How far a line is indented.
pub(crate) fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The length of the comment or literal that `rest` begins with.
fn token(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let prefix = rest.len() - body.len();
    if let Some(after) = body.strip_prefix('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        if after[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = prefix + 1 + hashes + 1;
            return Some(rest[start..].find(&close).map_or(rest.len(), |end| start + end + close.len()));
        }
    }
    if body.starts_with('"') {
        return Some(prefix + quoted(body));
    }
    character(body).map(|length| prefix + length)
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `'x'` and `'\n'`, but not the lifetime `'a`.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map(|end| end + 4);
    }
    let first = inner.chars().next()?;
    inner[first.len_utf8()..].starts_with('\'').then(|| first.len_utf8() + 2)
}

/// The length of the identifier that `rest` begins with, so that its last letter is not taken for
/// the prefix of a literal.
fn word(rest: &str) -> Option<usize> {
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (end > 0).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::{item, strip};

    #[test]
    fn comments_and_texts_are_blanked_and_code_is_not() {
        let text = "a(\"dbg!\"); // todo!\nb('\"', 'x', b\"y\\\"z\") /* c /* d */ e */ + f::<'g>();\n";
        let code = strip(text);
        assert_eq!(code.lines().count(), 2);
        assert!(!code.contains("dbg") && !code.contains("todo") && !code.contains('z'));
        assert!(!code.contains('d') && !code.contains("e */"));
        assert!(code.contains("a(") && code.contains("b(") && code.contains("f::<'g>();"));
    }

    #[test]
    fn raw_texts_end_at_their_own_hashes() {
        assert_eq!(strip("r#\"a \" b\"# c").trim(), "c");
        assert_eq!(strip("for r in x { y(br\"z\") }").trim_end(), "for r in x { y(     ) }");
    }

    #[test]
    fn an_item_ends_at_the_brace_in_its_own_column() {
        let lines = ["#[cfg(test)]", "#[derive(Debug)]", "struct A {", "    b: u8,", "}", "fn c() {}"];
        assert_eq!(item(&lines, 0), 0..5);
        assert_eq!(item(&["#[cfg(test)]", "mod a;", "mod b;"], 0), 0..2);
    }
}
