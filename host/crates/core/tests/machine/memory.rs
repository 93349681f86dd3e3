//! Memory that is not what it was: which of it a cut shows, which the next one hides, and what finds it.
//! The flips are real: made behind the program's back, in the bytes themselves.

use althing_core::{
    snapshot::{Cut, Cutter, PairDifference, Rechecked, chunks, first_difference},
    state::{Keyspace, State},
};
use bytes::Bytes;
use std::{fs::OpenOptions, os::unix::fs::FileExt};

/// 400 pairs of a kilobyte: several chunks.
fn state() -> State {
    let mut state = State::default();
    for key in 0..400_u16 {
        state.put(Keyspace::Program, &key.to_be_bytes(), Some(vec![key as u8; 1000].into()));
    }
    state
}

/// Flips the last bit of some bytes, as a cosmic ray would: nobody who holds them is told.
fn flip(bytes: &Bytes) {
    let last = bytes.len() - 1;
    let flipped = bytes[last] ^ 1;
    let memory = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
    memory.write_all_at(&[flipped], bytes.as_ptr().addr() as u64 + last as u64).unwrap();
    assert_eq!(std::hint::black_box(bytes)[last], flipped);
}

fn value(state: &State, key: u16) -> &Bytes {
    state.get(Keyspace::Program, &key.to_be_bytes()).unwrap()
}

fn rechecked(cut: &Cut) -> Vec<Rechecked> {
    let next = |last: &Rechecked| cut.recheck(Some(&last.first));
    std::iter::successors(cut.recheck(None), next).collect()
}

#[test]
fn every_chunk_is_rechecked_once_and_is_what_it_was() {
    let cut = Cutter::new(state(), None).finish();
    let known: Vec<_> = rechecked(&cut).iter().map(|chunk| chunk.known).collect();
    assert_eq!(known, cut.chunks());
    assert!(known.len() > 4 && rechecked(&cut).iter().all(Rechecked::is_sound));
    assert_eq!(Cutter::new(State::default(), None).finish().recheck(None), None);
}

#[test]
fn a_flip_where_nothing_was_written_is_hidden_from_the_next_cut_and_found_by_a_recheck() {
    let before = Cutter::new(state(), None).finish();
    let mut newer = before.state().clone();
    flip(value(&newer, 300));
    newer.put(Keyspace::Program, &7_u16.to_be_bytes(), Some("another".into()));
    let after = Cutter::new(newer, Some(&before)).finish();

    let told = |cut: &Cut| -> Vec<_> { cut.chunks().iter().map(|chunk| chunk.hash).collect() };
    let new = told(&after).into_iter().filter(|hash| !told(&before).contains(hash)).count();
    assert_eq!(new, 1, "only the chunk that was written to is another: the cut does not know");
    let damaged: Vec<_> = rechecked(&after).into_iter().filter(|chunk| !chunk.is_sound()).collect();
    let [damaged] = &damaged[..] else { panic!("one chunk: {damaged:?}") };
    assert!(damaged.first[1..] <= 300_u16.to_be_bytes()[..]);
}

#[test]
fn a_flip_beside_something_written_is_in_the_next_cut() {
    let before = Cutter::new(state(), None).finish();
    let whole: Vec<_> = chunks(before.state()).collect();
    let mut newer = before.state().clone();
    flip(value(&newer, 300));
    let place = value(&newer, 300).clone();
    newer.put(Keyspace::Program, &301_u16.to_be_bytes(), Some("another".into()));
    let mut right = before.state().clone();
    right.put(Keyspace::Program, &300_u16.to_be_bytes(), Some(vec![300_u16 as u8; 1000].into()));
    right.put(Keyspace::Program, &301_u16.to_be_bytes(), Some("another".into()));

    let own = Cutter::new(newer, Some(&before)).finish();
    let other = Cutter::new(right.clone(), None).finish();
    assert_ne!(own.chunks(), other.chunks(), "the state root is another than that of a sound replica");
    assert_eq!(own.chunks().len(), whole.len());
    let at = own.chunks().iter().zip(other.chunks()).position(|(own, other)| *own != other).unwrap();
    let [own, other] = [own.state(), other.state()].map(|state| chunks(state).nth(at).unwrap().bytes);
    let difference = PairDifference {
        key: [&[1], &300_u16.to_be_bytes()[..]].concat().into(),
        own: Some(place),
        other: Some(value(&right, 300).clone()),
    };
    assert_eq!(first_difference(&own, &other), Ok(Some(difference)));
    assert_eq!(first_difference(&own, &own), Ok(None));
}

#[test]
fn a_pair_that_one_chunk_lacks_is_told_as_such() {
    let chunk = |pairs: &[(u8, &'static str)]| {
        let mut state = State::default();
        for (key, value) in pairs {
            state.put(Keyspace::Program, &[*key], Some(Bytes::from_static(value.as_bytes())));
        }
        chunks(&state).next().unwrap().bytes
    };
    let (all, lacks) = (chunk(&[(1, "a"), (2, "b"), (3, "c")]), chunk(&[(1, "a"), (3, "c")]));
    let told = first_difference(&lacks, &all).unwrap().unwrap();
    assert_eq!((&told.key[..], told.own, told.other), (&[1, 2][..], None, Some("b".into())));
    let told = first_difference(&all, &lacks).unwrap().unwrap();
    assert_eq!((&told.key[..], told.own, told.other), (&[1, 2][..], Some("b".into()), None));
    assert!(first_difference(&all, &[9]).is_err());
}
