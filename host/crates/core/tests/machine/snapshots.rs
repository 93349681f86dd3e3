//! Snapshots: equal states, equal chunks; what comes back is what was there.

use crate::stage::{Stage, accepted, submit};
use althing_core::{
    ids::Hash,
    limits::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, PAIR_BYTES_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNKS_MAX},
    machine::Machine,
    policy::Policy,
    snapshot::{
        Chunk, ChunkError, ChunkRef, Cut, Cutter, Manifest, ManifestError, Piece, RestoreError, chunks,
        read_chunk, restore, state_root,
    },
    state::{Keyspace, State},
    testing::Step,
};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A machine cut, encoded, decoded, restored and checked, as a node does it.
pub(crate) fn through_a_snapshot(machine: &Machine) -> Machine {
    let chunks: Vec<Chunk> = chunks(machine.state()).collect();
    let references = chunks.iter().map(Chunk::reference).collect();
    let manifest = Manifest::of(&machine.view(), references).encode();
    let manifest = Manifest::decode(&manifest).unwrap();
    let state = restore(&manifest.chunks, chunks.iter().map(|chunk| &chunk.bytes)).unwrap();
    assert_eq!(&state, machine.state());
    assert_eq!(state.bytes(), machine.state().bytes());
    let restored = Machine::restore(state).unwrap();
    manifest.check(&restored.view()).unwrap();
    restored
}

type Pairs = BTreeMap<u16, u16>;

/// A value of so many bytes, all told by its key and length.
fn value(key: u16, length: u16) -> Bytes {
    vec![(key ^ length) as u8; length.into()].into()
}

fn put(state: &mut State, key: u16, length: Option<u16>) {
    let value = length.map(|length| value(key, length));
    state.put(Keyspace::Program, &key.to_be_bytes(), value);
}

fn state_of(pairs: &Pairs) -> State {
    let mut state = State::default();
    pairs.iter().for_each(|(key, length)| put(&mut state, *key, Some(*length)));
    state
}

/// Up to a few hundred pairs of 0 to 8 KiB: some dozens of chunks.
fn pairs() -> impl Strategy<Value = Pairs> {
    let length = prop_oneof![3 => 0..200u16, 1 => 0..8192u16];
    proptest::collection::btree_map(0..1000u16, length, 0..400)
}

/// A change of some pairs: a new length, or none.
fn changes() -> impl Strategy<Value = Vec<(u16, Option<u16>)>> {
    proptest::collection::vec((0..1000u16, proptest::option::of(0..8192u16)), 0..40)
}

fn check_sizes(state: &State, all: &[Chunk]) {
    for (at, chunk) in all.iter().enumerate() {
        let pairs = read_chunk(&chunk.bytes).unwrap();
        assert!(chunk.bytes.len() <= CHUNK_BYTES_MAX || pairs.len() == 1);
        let next = all.get(at + 1).map(|next| next.bytes.len());
        // A chunk may be smaller than the least only if the next pair is what did not fit.
        assert!(chunk.bytes.len() >= CHUNK_BYTES_MIN || next.is_none_or(|next| next > CHUNK_BYTES_MAX / 2));
    }
    let total: usize = all.iter().map(|chunk| read_chunk(&chunk.bytes).unwrap().len()).sum();
    assert_eq!(total, state.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equal_states_give_equal_chunks_whatever_their_histories(pairs in pairs(), junk in changes()) {
        let straight = state_of(&pairs);
        let mut winding = State::default();
        for (key, length) in pairs.iter().rev() {
            put(&mut winding, *key, Some(length / 2));
        }
        for (key, length) in &junk {
            put(&mut winding, *key, *length);
        }
        for (key, _) in &junk {
            put(&mut winding, *key, pairs.get(key).copied());
        }
        for (key, length) in &pairs {
            put(&mut winding, *key, Some(*length));
        }
        prop_assert_eq!(&straight, &winding);
        prop_assert_eq!(straight.bytes(), winding.bytes());
        let all: Vec<Chunk> = chunks(&straight).collect();
        prop_assert_eq!(&all, &chunks(&winding).collect::<Vec<_>>());
        check_sizes(&straight, &all);
        let references: Vec<_> = all.iter().map(Chunk::reference).collect();
        let restored = restore(&references, all.iter().map(|chunk| &chunk.bytes)).unwrap();
        prop_assert_eq!(&restored, &straight);
        prop_assert_eq!(restored.bytes(), straight.bytes());
    }

    #[test]
    fn a_cut_after_changes_is_the_cut_of_the_whole(pairs in pairs(), rounds in proptest::collection::vec(changes(), 1..4)) {
        let mut state = state_of(&pairs);
        let mut cut = Cutter::new(state.clone(), None).finish();
        for changes in rounds {
            let before: Vec<Hash> = cut.chunks().iter().map(|chunk| chunk.hash).collect();
            for (key, length) in changes {
                put(&mut state, key, length);
            }
            let mut cutter = Cutter::new(state.clone(), Some(&cut));
            let pieces: Vec<Piece> = cutter.by_ref().collect();
            let next = cutter.finish();
            let whole: Vec<Chunk> = chunks(&state).collect();
            let references: Vec<ChunkRef> = whole.iter().map(Chunk::reference).collect();
            prop_assert_eq!(next.chunks(), references.clone());
            for (piece, chunk) in pieces.iter().zip(&whole) {
                match piece {
                    Piece::Kept(kept) => prop_assert!(*kept == chunk.reference() && before.contains(&kept.hash)),
                    Piece::New(new) => prop_assert_eq!(new, chunk),
                }
            }
            prop_assert_eq!(next.state(), &state);
            cut = next;
        }
    }
}

/// 4000 pairs of a kilobyte: some sixty chunks.
fn large() -> State {
    state_of(&(0..4000).map(|key| (key, 1000)).collect())
}

#[test]
fn chunks_have_the_size_that_was_meant() {
    let sizes: Vec<usize> = chunks(&large()).map(|chunk| chunk.bytes.len()).collect();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!((40 << 10..90 << 10).contains(&mean), "{mean}");
    assert!(sizes.iter().all(|size| *size <= CHUNK_BYTES_MAX));
}

#[test]
fn one_changed_value_makes_one_new_chunk() {
    let before = large();
    let cut = Cutter::new(before.clone(), None).finish();
    let mut after = before;
    after.put(Keyspace::Program, &2000u16.to_be_bytes(), Some(vec![9; 1000].into()));
    let pieces: Vec<Piece> = Cutter::new(after, Some(&cut)).collect();
    let new = pieces.iter().filter(|piece| matches!(piece, Piece::New(_))).count();
    assert_eq!(new, 1);
}

#[test]
fn an_inserted_pair_moves_no_boundary_far_away() {
    let before = large();
    let cut: Cut = Cutter::new(before.clone(), None).finish();
    let mut after = before;
    after.put(Keyspace::Program, &[0, 0, 1], Some(vec![9; 1000].into()));
    let kept = Cutter::new(after, Some(&cut)).filter(|piece| matches!(piece, Piece::Kept(_))).count();
    assert!(kept * 10 > cut.chunks().len() * 8, "{kept} of {}", cut.chunks().len());
}

#[test]
fn a_pair_larger_than_a_chunk_is_a_chunk_alone() {
    let mut state = State::default();
    for (key, bytes) in [(1u8, 10), (2, CHUNK_BYTES_MAX), (3, 10), (4, 1 << 20), (5, 10)] {
        state.put(Keyspace::Program, &[key], Some(vec![key; bytes].into()));
    }
    let all: Vec<Chunk> = chunks(&state).collect();
    let counts: Vec<usize> = all.iter().map(|chunk| read_chunk(&chunk.bytes).unwrap().len()).collect();
    assert_eq!(counts, [1, 1, 1, 1, 1]);
}

#[test]
fn a_chunk_that_ended_for_the_next_pairs_size_is_cut_again_when_that_changes() {
    let mut state = State::default();
    state.put(Keyspace::Program, &[1], Some(vec![1; 10].into()));
    state.put(Keyspace::Program, &[2], Some(vec![2; CHUNK_BYTES_MAX].into()));
    let cut = Cutter::new(state.clone(), None).finish();
    assert_eq!(cut.chunks().len(), 2);
    state.put(Keyspace::Program, &[2], Some(vec![2; 10].into()));
    let cut = Cutter::new(state.clone(), Some(&cut)).finish();
    let whole: Vec<ChunkRef> = chunks(&state).map(|chunk| chunk.reference()).collect();
    assert_eq!((whole.len(), cut.chunks()), (1, whole));
}

#[test]
fn a_community_is_restored_from_before_its_first_batch() {
    let mut stage = Stage::bare(Policy::default());
    stage.machine = through_a_snapshot(&stage.machine);
    assert_eq!(stage.machine.sequence().0, 0);
    stage.open();
}

#[test]
fn an_empty_state_has_no_chunks() {
    assert_eq!(chunks(&State::default()).count(), 0);
    assert_eq!(Cutter::new(State::default(), None).finish().chunks(), []);
    assert_eq!(restore(&[], Vec::<Bytes>::new()).unwrap(), State::default());
}

#[test]
fn what_is_no_chunk_is_refused() {
    let good = |pairs: &[(&[u8], &[u8])]| {
        let mut state = State::default();
        pairs
            .iter()
            .for_each(|(key, value)| state.put(Keyspace::Program, key, Some(Bytes::copy_from_slice(value))));
        chunks(&state).next().unwrap().bytes.to_vec()
    };
    let (one, two) = (good(&[(b"a", b"1")]), good(&[(b"b", b"2")]));
    assert_eq!(read_chunk(&[]), Err(ChunkError::Empty));
    assert_eq!(read_chunk(&[2]), Err(ChunkError::Newer { found: 2 }));
    assert_eq!(read_chunk(&one[..one.len() - 1]), Err(ChunkError::Damaged { at: 1 }));
    assert_eq!(read_chunk(&[&one[..], &[7]].concat()), Err(ChunkError::Damaged { at: one.len() }));
    assert_eq!(read_chunk(&[&two[..], &one[1..]].concat()), Err(ChunkError::OutOfOrder { at: two.len() }));
    assert_eq!(read_chunk(&[&one[..], &one[1..]].concat()), Err(ChunkError::OutOfOrder { at: one.len() }));
    let no_keyspace = [1, 2, 9, b'a', 0];
    assert_eq!(read_chunk(&no_keyspace), Err(ChunkError::Damaged { at: 1 }));
    let long_number = [1, 0x82, 0, 1, b'a', 0];
    assert_eq!(read_chunk(&long_number), Err(ChunkError::Damaged { at: 1 }));
    assert_eq!(read_chunk(&[1, 2, 1, b'a', 0]).unwrap().len(), 1);
}

#[test]
fn chunks_are_verified_before_they_count() {
    let all: Vec<Chunk> = chunks(&large()).collect();
    let references: Vec<ChunkRef> = all.iter().map(Chunk::reference).collect();
    let bytes: Vec<Bytes> = all.iter().map(|chunk| chunk.bytes.clone()).collect();
    let mut flipped = bytes.clone();
    flipped[3] = [&flipped[3][..100], &[0xff], &flipped[3][101..]].concat().into();
    assert_eq!(restore(&references, flipped), Err(RestoreError::WrongBytes { hash: references[3].hash }));
    assert_eq!(restore(&references, &bytes[..3]), Err(RestoreError::Missing { hash: references[3].hash }));
    let swapped = [references[1], references[0]];
    let out_of_order = RestoreError::OutOfOrder { hash: references[0].hash };
    assert_eq!(restore(&swapped, [&bytes[1], &bytes[0]]), Err(out_of_order));
    let twice = [references[0], references[0]];
    assert!(restore(&twice, [&bytes[0], &bytes[0]]).is_err());
    let one_key = state_of(&Pairs::from([(1, 1)]));
    let two_keys = state_of(&Pairs::from([(1, 1), (2, 1)]));
    let overlapping = [one_key, two_keys].map(|state| chunks(&state).next().unwrap());
    let references = overlapping.each_ref().map(Chunk::reference);
    let out_of_order = RestoreError::OutOfOrder { hash: references[1].hash };
    assert_eq!(restore(&references, overlapping.map(|chunk| chunk.bytes)), Err(out_of_order));
}

#[test]
fn a_damaged_manifest_is_refused() {
    let mut stage = Stage::new();
    let session = stage.open();
    accepted(&stage.one(submit(session, 1, &[Step::Set(vec![1].into(), vec![2].into())])));
    let view = stage.machine.view();
    let references = chunks(view.state()).map(|chunk| chunk.reference()).collect();
    let manifest = Manifest::of(&view, references);
    let bytes = manifest.encode();
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    assert_eq!(bytes[bytes.len() - 32..], manifest.hash().0);
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1;
        assert!(matches!(Manifest::decode(&damaged), Err(ManifestError::Damaged { .. })), "byte {at}");
    }
    assert!(Manifest::decode(&bytes[..bytes.len() - 1]).is_err());
    assert_eq!(Manifest::decode(&bytes[..31]), Err(ManifestError::CutOff { bytes: 31 }));
    let lying = Manifest { state_root: Hash::default(), ..manifest.clone() };
    assert_eq!(Manifest::decode(&lying.encode()), Err(ManifestError::WrongRoot));
    stage.pass(9000);
    let other = manifest.check(&stage.machine.view());
    assert_eq!(other, Err(ManifestError::OtherState { what: "time" }));
}

#[test]
fn a_manifest_of_a_state_that_cannot_be_is_refused() {
    let view = Stage::new().machine.view();
    let decoded = |chunks: Vec<ChunkRef>| Manifest::decode(&Manifest::of(&view, chunks).encode());
    let named = |number: usize, bytes: u64| {
        let mut hash = Hash::default();
        hash.0[..8].copy_from_slice(&number.to_be_bytes());
        ChunkRef { hash, bytes }
    };
    let many = |count: usize, bytes: u64| (0..count).map(|number| named(number, bytes)).collect::<Vec<_>>();
    let largest = PAIR_BYTES_MAX as u64;
    assert!(decoded(many(3, largest)).is_ok());
    let nothing = ManifestError::NoSuchState { chunks: 0, bytes: 0 };
    assert_eq!(decoded(Vec::new()), Err(nothing));
    let count = SNAPSHOT_CHUNKS_MAX + 1;
    let too_many = ManifestError::NoSuchState { chunks: count, bytes: 5 * count as u64 };
    assert_eq!(decoded(many(count, 5)), Err(too_many));
    let enough = (SNAPSHOT_BYTES_MAX / largest) as usize;
    assert!(decoded(many(enough, largest)).is_ok());
    let beyond = ManifestError::NoSuchState { chunks: enough + 1, bytes: SNAPSHOT_BYTES_MAX + largest };
    assert_eq!(decoded(many(enough + 1, largest)), Err(beyond));
    for bytes in [0, 4, largest + 1] {
        let wrong = ManifestError::NoSuchChunk { hash: named(1, bytes).hash, bytes };
        assert_eq!(decoded(vec![named(0, 100), named(1, bytes)]), Err(wrong));
    }
    let huge = decoded(vec![named(0, u64::MAX), named(1, u64::MAX)]);
    assert_eq!(huge, Err(ManifestError::NoSuchState { chunks: 2, bytes: u64::MAX }));
    let twice = ManifestError::Repeated { hash: named(7, 100).hash };
    assert_eq!(decoded(vec![named(7, 100), named(8, 100), named(7, 100)]), Err(twice));
}

#[test]
fn a_state_root_says_which_chunks_in_which_order() {
    let [a, b] = [1, 2].map(|byte| ChunkRef { hash: Hash([byte; 32]), bytes: 5 });
    assert_ne!(state_root(&[a, b]), state_root(&[b, a]));
    assert_ne!(state_root(&[a]), state_root(&[a, a]));
    assert_ne!(state_root(&[a]), state_root(&[ChunkRef { bytes: 6, ..a }]));
}

#[test]
fn a_view_stays_as_it_was_while_the_machine_goes_on() {
    let mut stage = Stage::new();
    let session = stage.open();
    let set = |number, value: &'static [u8]| {
        let step = Step::Set(Bytes::from_static(b"k"), Bytes::from_static(value));
        submit(session, number, &[step])
    };
    accepted(&stage.one(set(1, b"old")));
    let view = stage.machine.view();
    accepted(&stage.one(set(2, b"new")));
    assert_eq!(view.get(b"k").unwrap().unwrap(), "old");
    assert_eq!(view.scan(b"", None, 10).unwrap().pairs.len(), 1);
    assert!(view.overlay().set(b"k", b"mine").is_err(), "a query only reads");
    let context = view.context(crate::stage::actor("reader"));
    assert_eq!((context.sequence, context.time), (view.sequence(), view.time()));
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    is_shared(&view);
}
