//! The demo's account: a line for each thing that happened, readable at a glance.

use std::time::Duration;

/// Tells one thing.
pub(crate) fn tell(what: &str, how: &str) {
    println!("{what:<11} {how}");
}

/// A number as people read it: 4566 is `4,566`.
pub(crate) fn number(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many a second.
pub(crate) fn rate(count: usize, took: Duration) -> String {
    let per_second = count as f64 / took.as_secs_f64().max(0.001);
    format!("{:.1} s, {}/s", took.as_secs_f64(), number(per_second as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_between_thousands() {
        assert_eq!(number(7), "7");
        assert_eq!(number(4566), "4,566");
        assert_eq!(number(1_000_000), "1,000,000");
        assert_eq!(rate(3000, Duration::from_secs(2)), "2.0 s, 1,500/s");
    }
}
