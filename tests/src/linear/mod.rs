//! Linearizability: whether what clients saw can be explained by one order of their operations, in which
//! each takes effect once between its call and its answer.
//!
//! Two checks that do not trust each other. [`witness`] believes the positions that the answers name and
//! asks whether they are such an order: near-linear, for every history. [`search`] ignores them and looks
//! for an order itself, so that a position that lies is found too: exponential at worst, for samples.
//! Neither knows where a history comes from.

pub mod search;
pub mod witness;

use std::{fmt::Debug, hash::Hash};

/// What is operated on: a deterministic object.
pub trait Model {
    /// What it is at one moment.
    type State: Clone + Eq + Hash + Debug;
    /// What is asked of it.
    type Operation: Clone + Debug;
    /// What it answers.
    type Output: Clone + Eq + Debug;

    /// What it is at first.
    fn initial() -> Self::State;

    /// What an operation makes of a state, and answers.
    fn step(state: &Self::State, operation: &Self::Operation) -> (Self::State, Self::Output);
}

/// One call of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<Operation, Output> {
    /// Whose, for people.
    pub client: String,
    /// What was asked.
    pub operation: Operation,
    /// When it was called, by any clock that all calls share.
    pub called: u64,
    /// When it was answered, and with what; none if that was never known: it may have taken effect at any
    /// time after the call, or not at all.
    pub answered: Option<(u64, Output)>,
}

/// A counter: what the reducer `counter` keeps under one name.
#[derive(Clone, Copy, Debug)]
pub struct Counter;

/// What is asked of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Adds, and answers what it stands at then.
    Add(i64),
    /// Answers what it stands at.
    Read,
}

impl Model for Counter {
    type State = i64;
    type Operation = Count;
    type Output = i64;

    fn initial() -> i64 {
        0
    }

    fn step(state: &i64, operation: &Count) -> (i64, i64) {
        let after = match operation {
            Count::Add(amount) => state + amount,
            Count::Read => *state,
        };
        (after, after)
    }
}
