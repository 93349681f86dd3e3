//! What one operation sees and may do: its own writes over the state, within its quotas.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use althing_core::{
    limits,
    overlay::{Access, Overlay, Page, Refused},
    policy::{Policy, Quotas},
    state::{Keyspace, State},
    time::Timestamp,
    transition::{TrapKind, Write},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use std::collections::BTreeMap;

fn quotas() -> Quotas {
    Policy::default().quotas
}

fn overlay(state: &State, access: Access) -> Overlay {
    Overlay::new(state.clone(), quotas(), access)
}

fn with(change: impl FnOnce(&mut Quotas)) -> Overlay {
    let mut quotas = quotas();
    change(&mut quotas);
    Overlay::new(State::default(), quotas, Access::Write)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refused>, kind: TrapKind, message: &str) {
    let refused = result.unwrap_err();
    assert_eq!((refused.kind, refused.message.as_str()), (kind, message));
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(0..3u8, 1..4)
}

fn writes() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    vec((key(), option::of(vec(any::<u8>(), 0..3))), 0..30)
}

fn state_of(model: &Model) -> State {
    let mut state = State::default();
    // Neighbours in the other keyspace must never show.
    state.put(Keyspace::System, &[0], Some(Bytes::from_static(b"hidden")));
    for (key, value) in model {
        state.put(Keyspace::Program, key, Some(value.clone().into()));
    }
    state
}

/// What a scan gives page by page, each page of at most `limit`.
fn scan_all(
    mut scan: impl FnMut(&[u8], u32) -> Result<Page, Refused>,
    start: &[u8],
    limit: u32,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut all, mut start) = (Vec::new(), start.to_vec());
    loop {
        let page = scan(&start, limit).unwrap();
        assert!(page.pairs.len() <= limit as usize);
        all.extend(page.pairs.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        match page.next {
            Some(next) => start = next.to_vec(),
            None => return all,
        }
    }
}

proptest! {
    #[test]
    fn reads_and_scans_show_the_state_with_the_writes_over_it(
        base in proptest::collection::btree_map(key(), vec(any::<u8>(), 0..3), 0..30),
        writes in writes(),
        probes in vec(key(), 1..10),
        start in vec(0..3u8, 0..4),
        end in option::of(vec(0..3u8, 0..4)),
        limit in 1..5u32,
    ) {
        let state = state_of(&base);
        let mut overlay = overlay(&state, Access::Write);
        let mut model = base.clone();
        let mut last = BTreeMap::new();
        for (key, value) in writes {
            match &value {
                Some(value) => {
                    overlay.set(&key, value).unwrap();
                    model.insert(key.clone(), value.clone());
                }
                None => {
                    overlay.delete(&key).unwrap();
                    model.remove(&key);
                }
            }
            last.insert(key, value);
        }
        for key in &probes {
            prop_assert_eq!(overlay.get(key).unwrap().map(|value| value.to_vec()), model.get(key).cloned());
            prop_assert_eq!(overlay.get_before(key).unwrap().map(|value| value.to_vec()), base.get(key).cloned());
        }
        let is_in = |key: &Vec<u8>| *key >= start && end.as_ref().is_none_or(|end| key < end);
        let range = |model: &Model| -> Vec<(Vec<u8>, Vec<u8>)> {
            model.iter().filter(|(key, _)| is_in(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let end = end.as_deref();
        prop_assert_eq!(scan_all(|from, limit| overlay.scan(from, end, limit), &start, limit), range(&model));
        prop_assert_eq!(scan_all(|from, limit| overlay.scan_before(from, end, limit), &start, limit), range(&base));
        let written = overlay.into_written().writes;
        let wanted: Vec<Write> = last
            .into_iter()
            .map(|(key, value)| Write { key: key.into(), value: value.map(Bytes::from) })
            .collect();
        prop_assert_eq!(written, wanted);
    }
}

#[test]
fn a_page_is_bounded_in_pairs_and_in_bytes_and_never_empty_before_the_end() {
    let mut state = State::default();
    for number in 0..1100u32 {
        state.put(Keyspace::Program, &number.to_be_bytes(), Some(Bytes::new()));
    }
    for number in [2000u32, 2001, 2002] {
        let value = vec![1; limits::VALUE_BYTES_MAX * 2 / 3];
        state.put(Keyspace::Program, &number.to_be_bytes(), Some(value.into()));
    }
    let mut overlay = overlay(&state, Access::Read);
    let all = overlay.scan(&[], None, u32::MAX).unwrap();
    assert_eq!(all.pairs.len(), limits::SCAN_PAIRS_MAX as usize);
    assert_eq!(overlay.scan(&[], None, 0).unwrap().pairs.len(), 1);
    let big = overlay.scan(&2000u32.to_be_bytes(), None, 10).unwrap();
    assert_eq!(big.pairs.len(), 1, "two are more than a page may have");
    assert_eq!(big.next.unwrap(), 2001u32.to_be_bytes().as_slice());
}

#[test]
fn what_only_reads_cannot_write() {
    let mut overlay = overlay(&State::default(), Access::Read);
    let (kind, end) = (TrapKind::Misuse, "was called where the state can only be read");
    refused(overlay.set(b"k", b""), kind, &format!("state.set {end}"));
    refused(overlay.delete(b"k"), kind, &format!("state.delete {end}"));
    refused(overlay.emit("e", b""), kind, &format!("events.emit {end}"));
    refused(overlay.schedule(b"t", Timestamp::MAX, b""), kind, &format!("timers.schedule {end}"));
    refused(overlay.cancel(b"t"), kind, &format!("timers.cancel {end}"));
}

#[test]
fn a_validator_sees_the_state_after_and_before_and_changes_neither() {
    let mut state = State::default();
    state.put(Keyspace::Program, b"k", Some(Bytes::from_static(b"old")));
    let mut overlay = overlay(&state, Access::Write);
    overlay.set(b"k", b"new").unwrap();
    let mut shown = overlay.read_only();
    assert_eq!(shown.get(b"k").unwrap().unwrap(), "new");
    assert_eq!(shown.get_before(b"k").unwrap().unwrap(), "old");
    assert_eq!(shown.writes().count(), 1);
    assert!(shown.set(b"k", b"mine").is_err());
}

#[test]
fn keys_values_and_ids_out_of_bounds_are_misuse_or_over_quota() {
    let mut overlay = overlay(&State::default(), Access::Write);
    refused(overlay.get(b""), TrapKind::Misuse, "a key has 0 bytes, it must have 1 to 1024");
    refused(overlay.set(&[0; 1025], b""), TrapKind::Misuse, "a key has 1025 bytes, it must have 1 to 1024");
    overlay.set(&[0; 1024], b"").unwrap();
    let message = "quota value_bytes: 1048577 asked, 1048576 allowed";
    refused(overlay.set(b"k", &[0; (1 << 20) + 1]), TrapKind::Quota, message);
    refused(overlay.emit("", b""), TrapKind::Misuse, "an event's name has 0 bytes, it must have 1 to 128");
    let message = "a timer's id has 257 bytes, it must have 1 to 256";
    refused(overlay.schedule(&[0; 257], Timestamp::MAX, b""), TrapKind::Misuse, message);
    let message = "a timer's payload has 65537 bytes, it must have 0 to 65536";
    refused(overlay.schedule(b"t", Timestamp::MAX, &[0; 65_537]), TrapKind::Misuse, message);
    let message = "quota key_bytes: 3 asked, 2 allowed";
    refused(with(|quotas| quotas.key_bytes = 2).get(b"abc"), TrapKind::Quota, message);
}

#[test]
fn quotas_count_keys_bytes_events_and_timers() {
    let mut writes = with(|quotas| quotas.writes = 2);
    for key in [b"a", b"b", b"a"] {
        writes.set(key, b"").unwrap();
    }
    refused(writes.delete(b"c"), TrapKind::Quota, "quota writes: 3 asked, 2 allowed");

    let mut bytes = with(|quotas| quotas.write_bytes = 10);
    bytes.set(b"a", b"123456789").unwrap();
    bytes.set(b"a", b"12345678").unwrap();
    refused(bytes.set(b"b", b"1"), TrapKind::Quota, "quota write_bytes: 11 asked, 10 allowed");
    bytes.delete(b"a").unwrap();
    bytes.set(b"b", b"12345678").unwrap();

    let mut events = with(|quotas| {
        quotas.events = 2;
        quotas.event_bytes = 6;
    });
    events.emit("e", b"12").unwrap();
    refused(events.emit("e", b"123"), TrapKind::Quota, "quota event_bytes: 7 asked, 6 allowed");
    events.emit("e", b"1").unwrap();
    refused(events.emit("e", b""), TrapKind::Quota, "quota events: 3 asked, 2 allowed");

    let mut timers = with(|quotas| quotas.timer_changes = 1);
    timers.schedule(b"t", Timestamp::MAX, b"").unwrap();
    refused(timers.cancel(b"t"), TrapKind::Quota, "quota timer_changes: 2 asked, 1 allowed");
}

#[test]
fn host_calls_are_counted() {
    let mut overlay = overlay(&State::default(), Access::Read);
    for _ in 0..limits::HOST_CALLS_MAX {
        overlay.get(b"k").unwrap();
    }
    refused(overlay.get(b"k"), TrapKind::Quota, "quota host calls: 1048577 asked, 1048576 allowed");
    overlay.read_only().get(b"k").unwrap();
}
