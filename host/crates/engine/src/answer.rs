//! What a guest's answer means: accepted, rejected, or beyond its bounds.

use crate::bindings::types;
use althing_core::{
    limits::{REJECTION_CODE_BYTES_MAX, REJECTION_MESSAGE_BYTES_MAX},
    program::End,
    transition::{Rejection, Trap, TrapKind},
};
use bytes::Bytes;

/// What a guest export returns: nothing or a result, or a rejection.
pub(crate) type Answer<T> = Result<T, types::Rejection>;

/// The end of a call that gives a result of at most `bytes_max` bytes.
pub(crate) fn end(answer: Result<Answer<Vec<u8>>, Trap>, bytes_max: u32, validator: Option<u32>) -> End {
    match answer {
        Err(trap) => End::Trap(trap),
        Ok(Err(rejection)) => rejected(rejection, validator),
        Ok(Ok(result)) if result.len() as u64 > u64::from(bytes_max) => End::Trap(Trap {
            kind: TrapKind::Quota,
            message: format!("quota result_bytes: {} asked, {bytes_max} allowed", result.len()),
            validator,
        }),
        Ok(Ok(result)) => End::Accept(Bytes::from(result)),
    }
}

/// The end of a call that gives no result.
pub(crate) fn end_without_result(answer: Result<Answer<()>, Trap>, validator: Option<u32>) -> End {
    end(answer.map(|answer| answer.map(|()| Vec::new())), 0, validator)
}

/// A rejection, if it is as `wit/types.wit` asks.
fn rejected(rejection: types::Rejection, validator: Option<u32>) -> End {
    let types::Rejection { code, message } = rejection;
    let wrong = if !is_code(&code) {
        Some(format!(
            "a rejection's code must be 1 to {REJECTION_CODE_BYTES_MAX} bytes of lower-case words joined by `-`"
        ))
    } else if message.len() > REJECTION_MESSAGE_BYTES_MAX {
        Some(format!(
            "a rejection's message has {} bytes, at most {REJECTION_MESSAGE_BYTES_MAX} are allowed",
            message.len()
        ))
    } else {
        None
    };
    match wrong {
        None => End::Reject(Rejection { code, message, validator }),
        Some(message) => End::Trap(Trap { kind: TrapKind::Misuse, message, validator }),
    }
}

fn is_code(code: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    code.len() <= REJECTION_CODE_BYTES_MAX && code.split('-').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_lower_case_words_joined_by_dashes() {
        for code in ["no-funds", "overdraft", "rule-3b"] {
            assert!(is_code(code), "{code}");
        }
        for code in ["", "-", "No", "no funds", "no-", "a--b", &"x".repeat(65)] {
            assert!(!is_code(code), "{code}");
        }
    }
}
