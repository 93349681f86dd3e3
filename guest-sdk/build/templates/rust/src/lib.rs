//! A poll: everyone has one vote, and may change it.
//!
//! This is a whole program for a community. Change what can be done (`Operation`), what is kept
//! (`VOTES`), and what is refused (`Refusal`); `cargo test` says whether it holds together, `althing dev`
//! runs it.

use althing_guest::prelude::*;
use std::collections::BTreeMap;

/// The state: who votes for what. One fact, one key.
pub const VOTES: Map<String, String> = Map::new("vote");

/// What a community sets when it installs the program: `{"choices": ["tea", "coffee"]}`.
#[config]
pub struct Config {
    /// What can be voted for.
    pub choices: Vec<String>,
}

/// The choices, kept from the configuration.
const CHOICES: Value<Vec<String>> = Value::new("choices");

/// What members can do: `{"op": "vote", "choice": "tea"}`.
#[operation]
pub enum Operation {
    /// Votes for a choice, in place of an earlier vote.
    Vote { choice: String },
    /// Takes the vote back.
    Withdraw,
}

/// What can be asked: `{"query": "tally"}`.
#[query]
pub enum Query {
    /// How many voted for each choice.
    Tally,
}

/// What subscribers are told.
#[event]
pub enum Event {
    /// Somebody voted.
    Voted { who: String, choice: String },
}

/// What is refused, and what people are told.
#[derive(Debug, Rejection)]
pub enum Refusal {
    #[reject("{choice:?} is no choice: choose one of {choices:?}")]
    NoSuchChoice { choice: String, choices: Vec<String> },
    #[reject("you have not voted")]
    NoVote,
}

pub struct Poll;

#[reducer(scope = "per-batch")]
impl Reducer for Poll {
    type Event = Event;

    fn init(_: &Context, config: Config) -> Result<(), Refusal> {
        CHOICES.set(&config.choices);
        Ok(())
    }

    fn reduce(cx: &Context, operation: Operation) -> Result<(), Refusal> {
        let who = &cx.actor.id;
        match operation {
            Operation::Vote { choice } => {
                let choices = CHOICES.get_or_default();
                if !choices.contains(&choice) {
                    return Err(Refusal::NoSuchChoice { choice, choices });
                }
                VOTES.set(who, &choice);
                Self::emit(Event::Voted { who: who.clone(), choice });
            }
            Operation::Withdraw if VOTES.has(who) => VOTES.delete(who),
            Operation::Withdraw => return Err(Refusal::NoVote),
        }
        Ok(())
    }

    fn query(_: &Context, Query::Tally: Query) -> Result<BTreeMap<String, u64>, Refusal> {
        let mut tally = BTreeMap::new();
        for (_, choice) in VOTES.iter() {
            *tally.entry(choice).or_default() += 1;
        }
        Ok(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll() -> TestHost<Poll> {
        TestHost::new(Config { choices: vec!["tea".into(), "coffee".into()] }).unwrap()
    }

    fn vote(choice: &str) -> Operation {
        Operation::Vote { choice: choice.into() }
    }

    #[test]
    fn everyone_has_one_vote_and_may_change_it() {
        let mut host = poll();
        host.as_actor("ann").submit(vote("tea")).unwrap();
        host.as_actor("bob").submit(vote("tea")).unwrap();
        host.as_actor("bob").submit(vote("coffee")).unwrap();
        let tally = host.query(Query::Tally).unwrap();
        assert_eq!(tally, BTreeMap::from([("coffee".into(), 1), ("tea".into(), 1)]));
    }

    #[test]
    fn what_is_no_choice_is_refused_and_changes_nothing() {
        let mut host = poll();
        let refused = host.as_actor("ann").submit(vote("milk")).unwrap_err();
        assert_eq!(refused.code, "no-such-choice");
        assert_eq!(host.submit(Operation::Withdraw).unwrap_err().code, "no-vote");
    }
}
