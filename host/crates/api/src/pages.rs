//! Transitions in messages of a bounded size.

use althing_core::transition::{Cause, Outcome, Transition};
use althing_proto::v1;

/// What a message of transitions may hold, in bytes, unless a single one is larger: half of what
/// foreign clients take without being told otherwise.
const BYTES_MAX: usize = 2 << 20;
/// What a transition takes beside its texts and bytes, at most; and each thing that it holds.
const OVERHEAD_BYTES: usize = 128;
const ITEM_OVERHEAD_BYTES: usize = 32;

/// All of them, in as many messages as it takes.
pub(crate) fn split(transitions: Vec<Transition>) -> Vec<Vec<v1::Transition>> {
    let mut pages = Vec::new();
    let mut rest = transitions.into_iter().peekable();
    while rest.peek().is_some() {
        pages.push(page(&mut rest));
    }
    pages
}

/// As many of the first as one message holds.
pub(crate) fn first(transitions: Vec<Transition>) -> Vec<v1::Transition> {
    page(&mut transitions.into_iter().peekable())
}

fn page(transitions: &mut std::iter::Peekable<impl Iterator<Item = Transition>>) -> Vec<v1::Transition> {
    let mut page = Vec::new();
    let mut bytes = 0;
    while let Some(transition) =
        transitions.next_if(|transition| page.is_empty() || bytes + size(transition) <= BYTES_MAX)
    {
        bytes += size(&transition);
        page.push(transition.into());
    }
    page
}

/// About how many bytes a transition takes in a message, and never fewer.
fn size(transition: &Transition) -> usize {
    let Transition { cause, outcome, writes, events, timers, .. } = transition;
    let writes =
        writes.iter().map(|write| write.key.len() + write.value.as_ref().map_or(0, |value| value.len()));
    let events = events.iter().map(|event| event.name.len() + event.data.len());
    let timers =
        timers.iter().map(|timer| timer.id.len() + timer.set.as_ref().map_or(0, |set| set.payload.len()));
    let items = writes.chain(events).chain(timers).map(|bytes| bytes + ITEM_OVERHEAD_BYTES);
    OVERHEAD_BYTES + size_of_cause(cause) + size_of_outcome(outcome) + items.sum::<usize>()
}

fn size_of_cause(cause: &Cause) -> usize {
    let (actor, bytes) = match cause {
        Cause::Operation { actor, payload, .. } => (Some(actor), payload.len()),
        Cause::Timer { id, payload } => (None, id.len() + payload.len()),
        Cause::OpenSession { actor } => (Some(actor), 0),
        Cause::Activate { actor, program } => (Some(actor), program.0.len()),
        Cause::SetPolicy => (None, 0),
        Cause::Import(origin) => (None, origin.cluster.len() + origin.name.len() + OVERHEAD_BYTES),
    };
    let roles = actor.iter().flat_map(|actor| &actor.roles).map(|role| role.len() + ITEM_OVERHEAD_BYTES);
    bytes + actor.map_or(0, |actor| actor.id.len()) + roles.sum::<usize>()
}

fn size_of_outcome(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Accepted { result } => result.len(),
        Outcome::Rejected(rejection) => rejection.code.len() + rejection.message.len(),
        Outcome::Trapped(trap) => trap.kind.code().len() + trap.message.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::{first, split};
    use althing_core::{
        ids::{Hash, Sequence},
        time::Timestamp,
        transition::{Cause, Outcome, Transition, Write},
    };
    use bytes::Bytes;

    fn transition(sequence: u64, bytes: usize) -> Transition {
        let value = Some(Bytes::from(vec![0; bytes]));
        Transition {
            sequence: Sequence(sequence),
            time: Timestamp::new(1, 0),
            cause: Cause::SetPolicy,
            outcome: Outcome::Accepted { result: Bytes::new() },
            writes: vec![Write { key: Bytes::from_static(b"key"), value }],
            events: vec![],
            timers: vec![],
            fuel: 0,
            digest: Hash::default(),
        }
    }

    fn sequences(page: &[althing_proto::v1::Transition]) -> Vec<u64> {
        page.iter().map(|transition| transition.sequence).collect()
    }

    #[test]
    fn pages_are_bounded_and_nothing_is_lost() {
        let pages = split((1..=5).map(|sequence| transition(sequence, 900 << 10)).collect());
        let pages: Vec<_> = pages.iter().map(|page| sequences(page)).collect();
        assert_eq!(pages, [vec![1, 2], vec![3, 4], vec![5]]);
        assert!(split(vec![]).is_empty());
    }

    #[test]
    fn one_that_is_larger_than_a_page_comes_alone() {
        let pages = split(vec![transition(1, 1), transition(2, 5 << 20), transition(3, 1)]);
        let pages: Vec<_> = pages.iter().map(|page| sequences(page)).collect();
        assert_eq!(pages, [vec![1], vec![2], vec![3]]);
        assert_eq!(sequences(&first(vec![transition(7, 5 << 20), transition(8, 1)])), [7]);
    }
}
