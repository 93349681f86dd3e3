//! Checking the order that the answers themselves name.
//!
//! Every answer says at which position of the history it stands: an operation at its own, a read after
//! one. That order must explain every answer, and must not contradict what was seen: what was answered
//! before another was called stands before it.

use super::{Call, Model};
use std::{collections::BTreeMap, fmt};

/// A call, and where its answer says that it stands.
#[derive(Clone, Debug)]
pub struct Placed<Operation, Output> {
    /// The call. One without an answer has no place here.
    pub call: Call<Operation, Output>,
    /// The position.
    pub position: u64,
    /// Whether it stands after that position, as a read does, rather than at it.
    pub is_read: bool,
}

/// How an order contradicts what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// It stands before something that was answered before it was called.
    Backwards {
        /// Who, what and where.
        what: String,
        /// The position that was answered before.
        already: u64,
    },
    /// Its answer is not what the history makes at its position.
    Wrong {
        /// Who, what and where.
        what: String,
        /// What it should be.
        expected: String,
    },
    /// The history has something else there, or nothing.
    Missing {
        /// Who, what and where.
        what: String,
    },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backwards { what, already } => {
                write!(f, "{what} was called after position {already} was answered")
            }
            Self::Wrong { what, expected } => write!(f, "{what} should have been answered {expected}"),
            Self::Missing { what } => write!(f, "{what} is not in the history"),
        }
    }
}

/// Checks calls on one object against the history of its operations by position.
///
/// # Errors
/// The first contradiction.
pub fn check<M: Model>(
    history: &BTreeMap<u64, M::Operation>,
    calls: &[Placed<M::Operation, M::Output>],
) -> Result<(), Contradiction>
where
    M::Operation: PartialEq,
{
    forwards(calls)?;
    answers::<M>(history, calls)
}

/// What was answered before a call stands before it: one pass by time.
fn forwards<Operation: fmt::Debug, Output: fmt::Debug>(
    calls: &[Placed<Operation, Output>],
) -> Result<(), Contradiction> {
    let mut answered: Vec<(u64, u64)> =
        calls.iter().filter_map(|placed| Some((placed.call.answered.as_ref()?.0, placed.position))).collect();
    answered.sort_unstable();
    let mut by_call: Vec<&Placed<Operation, Output>> = calls.iter().collect();
    by_call.sort_by_key(|placed| placed.call.called);
    let mut answered = answered.into_iter().peekable();
    let mut furthest = 0;
    for placed in by_call {
        while let Some((_, position)) = answered.next_if(|(at, _)| *at < placed.call.called) {
            furthest = furthest.max(position);
        }
        let is_behind = if placed.is_read { placed.position < furthest } else { placed.position <= furthest };
        if is_behind {
            return Err(Contradiction::Backwards { what: said(placed), already: furthest });
        }
    }
    Ok(())
}

/// Every answer is what the history makes there: one pass by position.
fn answers<M: Model>(
    history: &BTreeMap<u64, M::Operation>,
    calls: &[Placed<M::Operation, M::Output>],
) -> Result<(), Contradiction>
where
    M::Operation: PartialEq,
{
    let mut by_position: Vec<_> = calls.iter().collect();
    by_position.sort_by_key(|placed| (placed.position, placed.is_read));
    let mut state = M::initial();
    let mut made = history.iter().peekable();
    let mut output = None;
    for placed in by_position {
        while let Some((position, operation)) = made.next_if(|(position, _)| **position <= placed.position) {
            let (next, answer) = M::step(&state, operation);
            state = next;
            output = Some((*position, operation, answer));
        }
        let expected = match (&output, placed.is_read) {
            (_, true) => M::step(&state, &placed.call.operation).1,
            (Some((position, operation, answer)), false)
                if *position == placed.position && **operation == placed.call.operation =>
            {
                answer.clone()
            }
            _ => return Err(Contradiction::Missing { what: said(placed) }),
        };
        let Some((_, seen)) = &placed.call.answered else { continue };
        if *seen != expected {
            return Err(Contradiction::Wrong { what: said(placed), expected: format!("{expected:?}") });
        }
    }
    Ok(())
}

fn said<Operation: fmt::Debug, Output: fmt::Debug>(placed: &Placed<Operation, Output>) -> String {
    let Call { client, operation, called, answered } = &placed.call;
    let position = placed.position;
    format!("{operation:?} of {client}, called at {called}, answered {answered:?} for position {position},")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Count, Counter},
        *,
    };
    use Count::{Add, Read};

    fn placed(operation: Count, called: u64, at: u64, output: i64, position: u64) -> Placed<Count, i64> {
        let call = Call { client: "a".to_owned(), operation, called, answered: Some((at, output)) };
        Placed { call, position, is_read: operation == Read }
    }

    fn history() -> BTreeMap<u64, Count> {
        BTreeMap::from([(3, Add(1)), (5, Add(2))])
    }

    fn verdict(calls: &[Placed<Count, i64>]) -> Result<(), Contradiction> {
        check::<Counter>(&history(), calls)
    }

    #[test]
    fn an_order_that_explains_everything_is_taken() {
        let calls = [
            placed(Add(1), 1, 4, 1, 3),
            placed(Add(2), 2, 6, 3, 5),
            placed(Read, 2, 3, 0, 2),
            placed(Read, 5, 6, 1, 4),
            placed(Read, 7, 8, 3, 5),
        ];
        assert_eq!(verdict(&calls), Ok(()));
    }

    #[test]
    fn a_stale_read_goes_backwards() {
        let stale = [placed(Add(2), 1, 2, 3, 5), placed(Read, 3, 4, 1, 3)];
        assert!(matches!(verdict(&stale), Err(Contradiction::Backwards { already: 5, .. })));
        let by_readers = [placed(Read, 1, 2, 3, 5), placed(Read, 3, 4, 1, 4)];
        assert!(matches!(verdict(&by_readers), Err(Contradiction::Backwards { already: 5, .. })));
    }

    #[test]
    fn an_operation_behind_one_that_was_answered_goes_backwards() {
        let late = [placed(Add(2), 1, 2, 3, 5), placed(Add(1), 3, 4, 1, 3)];
        assert!(matches!(verdict(&late), Err(Contradiction::Backwards { .. })));
        let read_of_the_future = [placed(Read, 1, 2, 3, 5), placed(Add(2), 3, 4, 3, 5)];
        assert!(matches!(verdict(&read_of_the_future), Err(Contradiction::Backwards { .. })));
    }

    #[test]
    fn an_answer_that_the_history_does_not_make_is_wrong() {
        assert!(matches!(verdict(&[placed(Add(2), 1, 2, 2, 5)]), Err(Contradiction::Wrong { .. })));
        assert!(matches!(verdict(&[placed(Read, 1, 2, 3, 4)]), Err(Contradiction::Wrong { .. })));
    }

    #[test]
    fn an_operation_that_the_history_does_not_hold_is_missing() {
        assert!(matches!(verdict(&[placed(Add(1), 1, 2, 1, 4)]), Err(Contradiction::Missing { .. })));
        assert!(matches!(verdict(&[placed(Add(7), 1, 2, 7, 3)]), Err(Contradiction::Missing { .. })));
        assert!(matches!(verdict(&[placed(Add(1), 1, 2, 1, 2)]), Err(Contradiction::Missing { .. })));
    }
}
