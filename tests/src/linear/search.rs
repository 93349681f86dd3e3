//! Looking for an order that explains a history: Wing and Gong's search ("Testing and Verifying Concurrent
//! Objects", 1993) with Lowe's memory of what was tried ("Testing for linearizability", 2017).
//!
//! A call whose answer is unknown may be placed anywhere after it was called, or left out: it is given an
//! answer at the end of time that fits any state.

use super::{Call, Model};
use std::collections::HashSet;

/// What the search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none. The most calls that could be ordered, and the answered call that could not follow.
    Violated {
        /// How many.
        ordered: usize,
        /// The index of the call.
        stuck: usize,
    },
    /// It was given up after so many steps.
    TooLong,
}

/// A call begins or is answered.
#[derive(Clone, Copy)]
struct Event {
    call: usize,
    is_answer: bool,
    before: usize,
    after: usize,
}

/// The events in their order, as a list from which calls can be lifted and put back.
struct Timeline {
    events: Vec<Event>,
    /// Where a call's answer stands.
    answers: Vec<usize>,
}

/// The list's head, and its end.
const HEAD: usize = 0;

impl Timeline {
    fn of<M: Model>(calls: &[Call<M::Operation, M::Output>]) -> Self {
        let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * calls.len());
        for (index, call) in calls.iter().enumerate() {
            order.push((call.called, false, index));
            order.push((call.answered.as_ref().map_or(u64::MAX, |(at, _)| *at), true, index));
        }
        // At the same moment calls come first: then they overlap, which allows more.
        order.sort_unstable();
        let mut events = vec![Event { call: usize::MAX, is_answer: false, before: HEAD, after: HEAD }];
        let mut answers = vec![HEAD; calls.len()];
        for (_, is_answer, call) in order {
            let place = events.len();
            events[place - 1].after = place;
            events.push(Event { call, is_answer, before: place - 1, after: HEAD });
            if is_answer {
                answers[call] = place;
            }
        }
        let last = events.len() - 1;
        events[HEAD].before = last;
        Self { events, answers }
    }

    fn first(&self) -> usize {
        self.events[HEAD].after
    }

    fn unlink(&mut self, place: usize) {
        let Event { before, after, .. } = self.events[place];
        self.events[before].after = after;
        self.events[after].before = before;
    }

    fn relink(&mut self, place: usize) {
        let Event { before, after, .. } = self.events[place];
        self.events[before].after = place;
        self.events[after].before = place;
    }

    /// Takes a call and its answer out.
    fn lift(&mut self, place: usize) {
        let answer = self.answers[self.events[place].call];
        self.unlink(place);
        self.unlink(answer);
    }

    /// Puts back what was lifted last.
    fn drop_back(&mut self, place: usize) {
        let answer = self.answers[self.events[place].call];
        self.relink(answer);
        self.relink(place);
    }
}

/// Which calls are ordered, as a set of bits.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Ordered(Vec<u64>);

impl Ordered {
    fn flip(&mut self, call: usize) {
        self.0[call / 64] ^= 1 << (call % 64);
    }
}

/// Looks for an order of `calls` that `M` explains, in at most `steps_max` steps.
#[must_use]
pub fn search<M: Model>(calls: &[Call<M::Operation, M::Output>], steps_max: u64) -> Verdict {
    let mut timeline = Timeline::of::<M>(calls);
    let mut ordered = Ordered(vec![0; calls.len().div_ceil(64)]);
    let mut tried: HashSet<(Ordered, M::State)> = HashSet::new();
    let mut path: Vec<(usize, M::State)> = Vec::new();
    let (mut state, mut place) = (M::initial(), timeline.first());
    let (mut best, mut stuck) = (0, 0);
    for _ in 0..steps_max {
        if place == HEAD {
            return Verdict::Linearizable;
        }
        let Event { call, is_answer, after, .. } = timeline.events[place];
        if is_answer {
            if calls[call].answered.is_none() {
                // Only calls of which nobody knows are left.
                return Verdict::Linearizable;
            }
            if path.len() >= best {
                (best, stuck) = (path.len(), call);
            }
            // Its call must come before this: take back the last choice.
            let Some((last, before)) = path.pop() else {
                return Verdict::Violated { ordered: best, stuck };
            };
            state = before;
            ordered.flip(timeline.events[last].call);
            timeline.drop_back(last);
            place = timeline.events[last].after;
            continue;
        }
        let (next, output) = M::step(&state, &calls[call].operation);
        let fits = calls[call].answered.as_ref().is_none_or(|(_, seen)| *seen == output);
        if fits {
            ordered.flip(call);
            if tried.insert((ordered.clone(), next.clone())) {
                path.push((place, std::mem::replace(&mut state, next)));
                timeline.lift(place);
                place = timeline.first();
                continue;
            }
            ordered.flip(call);
        }
        place = after;
    }
    Verdict::TooLong
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Count, Counter},
        *,
    };

    type Seen = Call<Count, i64>;

    fn call(client: &str, operation: Count, called: u64, answered: impl Into<Option<(u64, i64)>>) -> Seen {
        Call { client: client.to_owned(), operation, called, answered: answered.into() }
    }

    fn verdict(calls: &[Seen]) -> Verdict {
        search::<Counter>(calls, 1_000_000)
    }

    #[test]
    fn what_overlaps_may_be_ordered_either_way() {
        use Count::{Add, Read};
        let history = [
            call("a", Add(1), 1, (10, 3)),
            call("b", Add(2), 2, (9, 2)),
            call("c", Read, 3, (4, 0)),
            call("c", Read, 5, (8, 2)),
            call("c", Read, 11, (12, 3)),
        ];
        assert_eq!(verdict(&history), Verdict::Linearizable);
    }

    #[test]
    fn a_read_of_what_was_before_an_answer_is_found() {
        use Count::{Add, Read};
        let stale = [call("a", Add(1), 1, (2, 1)), call("b", Read, 3, (4, 0))];
        assert_eq!(verdict(&stale), Verdict::Violated { ordered: 1, stuck: 1 });
    }

    #[test]
    fn a_lost_and_a_doubled_addition_are_found() {
        use Count::{Add, Read};
        let lost = [call("a", Add(1), 1, (2, 1)), call("a", Add(2), 3, (4, 2)), call("b", Read, 5, (6, 2))];
        assert!(matches!(verdict(&lost), Verdict::Violated { .. }));
        let doubled = [call("a", Add(1), 1, (2, 1)), call("b", Read, 3, (4, 2))];
        assert!(matches!(verdict(&doubled), Verdict::Violated { .. }));
    }

    #[test]
    fn time_that_goes_back_between_two_readers_is_found() {
        use Count::{Add, Read};
        let back = [call("a", Add(1), 1, (10, 1)), call("b", Read, 2, (3, 1)), call("c", Read, 4, (5, 0))];
        assert!(matches!(verdict(&back), Verdict::Violated { .. }));
        let forth = [call("a", Add(1), 1, (10, 1)), call("b", Read, 2, (3, 0)), call("c", Read, 4, (5, 1))];
        assert_eq!(verdict(&forth), Verdict::Linearizable);
    }

    #[test]
    fn an_unanswered_call_may_have_happened_late_or_never() {
        use Count::{Add, Read};
        let never = [call("a", Add(5), 1, None), call("b", Read, 2, (3, 0))];
        let late = [call("a", Add(5), 1, None), call("b", Read, 2, (3, 0)), call("b", Read, 4, (5, 5))];
        let undone = [call("a", Add(5), 1, None), call("b", Read, 2, (3, 5)), call("b", Read, 4, (5, 0))];
        assert_eq!(verdict(&never), Verdict::Linearizable);
        assert_eq!(verdict(&late), Verdict::Linearizable);
        assert!(matches!(verdict(&undone), Verdict::Violated { .. }));
    }

    #[test]
    fn it_gives_up_when_it_is_told_to() {
        let mut calls: Vec<Seen> = (0..12).map(|at| call("a", Count::Add(1 << at), at, None)).collect();
        calls.push(call("b", Count::Read, 20, (21, -1)));
        assert_eq!(search::<Counter>(&calls, 1000), Verdict::TooLong);
    }
}
