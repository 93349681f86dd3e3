//! Saying no: a code for programs, a message for people.

use crate::data::Nothing;

/// Longest code, in bytes; the contract's bound.
const CODE_BYTES_MAX: usize = 64;
/// Longest message, in bytes; the contract's bound.
const MESSAGE_BYTES_MAX: usize = 4096;

/// `Result<T>` is enough for a reducer that rejects with [`Rejected`]; one with its own rejections
/// writes `Result<T, Refusal>`.
pub type Result<T = (), E = Rejected> = std::result::Result<T, E>;

/// A rejection on the wire, and the plainest one to write. It undoes everything the call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Stable, for programs: lower-case words joined by `-`.
    pub code: String,
    /// For people: what was wrong and what to do.
    pub message: String,
}

impl Rejected {
    /// A rejection of this code, which must be lower-case words joined by `-`, at most 64 bytes. A
    /// message beyond 4096 bytes is cut.
    ///
    /// # Panics
    /// On a code that is none: a mistake in the reducer, which would break every client's `match`.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        assert!(is_code(code), "{code:?} is no code: lower-case words joined by `-`, at most 64 bytes");
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self { code: code.to_owned(), message }
    }
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Rejected {}

/// What can be said as a no. `#[derive(Rejection)]` makes it of an enum.
pub trait Rejection {
    /// The code and the message.
    fn into_rejected(self) -> Rejected;
}

impl Rejection for Rejected {
    fn into_rejected(self) -> Rejected {
        self
    }
}

impl Rejection for Nothing {
    fn into_rejected(self) -> Rejected {
        match self {}
    }
}

fn is_code(code: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    code.len() <= CODE_BYTES_MAX && code.split('-').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_letters() {
        let message = Rejected::new("too-long", "ä".repeat(4000)).message;
        assert_eq!(message.len(), MESSAGE_BYTES_MAX);
        assert!(message.chars().all(|letter| letter == 'ä'));
    }

    #[test]
    #[should_panic(expected = "is no code")]
    fn a_code_with_a_blank_is_a_mistake() {
        let _ = Rejected::new("not good", "");
    }
}
