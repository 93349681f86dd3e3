//! A state may be anybody's: whoever makes one up can put anything into it. What is restored is a community that
//! goes on, and what is at odds with itself is none.

use crate::stage::{Stage, accepted, append, schedule, submit};
use althing_core::{
    codec,
    header::Header,
    machine::Machine,
    records::BadState,
    state::{Keyspace, State},
};
use bytes::Bytes;

/// The state of a community with a program, a session, kept answers and a timer.
fn state() -> State {
    let mut stage = Stage::new();
    let session = stage.open();
    accepted(&stage.one(submit(session, 1, &[append("k", "v")])));
    accepted(&stage.one(submit(session, 2, &[schedule("t", 2000, &[append("k", "!")])])));
    stage.machine.state().clone()
}

/// What becomes of the state when one of its own records is another; none: is not there.
fn restored_with(key: &[u8], value: Option<Vec<u8>>) -> Result<Machine, BadState> {
    let mut state = state();
    state.put(Keyspace::System, key, value.map(Bytes::from));
    Machine::restore(state)
}

fn with_header(change: impl FnOnce(&mut Header)) -> Result<Machine, BadState> {
    let mut header = Header::read(&state()).unwrap();
    change(&mut header);
    restored_with(b"header", Some(codec::encode(&header)))
}

/// `timers: 0` with one set was taken once; when it fired, the count went below nothing.
#[test]
fn a_state_that_counts_other_timers_or_sessions_than_it_has_is_no_community() {
    assert!(with_header(|_| ()).is_ok());
    for other in [0, 2, u64::MAX] {
        assert_eq!(with_header(|header| header.timers = other).err(), Some(BadState::AtOdds { of: "timer" }));
        assert_eq!(
            with_header(|header| header.sessions = other).err(),
            Some(BadState::AtOdds { of: "session" })
        );
    }
}

#[test]
fn a_state_that_lacks_any_one_of_its_records_is_no_community() {
    let state = state();
    let keys: Vec<Bytes> = state.range(Keyspace::System, b"", None).map(|(key, _)| key).collect();
    let kinds = ["header", "policy", "program", "session/answer/", "session/id/", "session/look/", "timer/"];
    for kind in kinds {
        assert!(keys.iter().any(|key| key.starts_with(kind.as_bytes())), "there is a {kind}");
    }
    // Which programs there were is for people to read.
    for key in keys.iter().filter(|key| !key.starts_with(b"program/at/")) {
        assert!(restored_with(key, None).is_err(), "without {key:?}");
    }
}

#[test]
fn a_state_with_a_record_that_belongs_to_nothing_is_no_community() {
    let number = |number: u64| number.to_be_bytes();
    let stray = [
        [&b"timer/at/"[..], &number(9), b"nobody"].concat(),
        b"timer/at/short".to_vec(),
        [&b"session/look/"[..], &number(9), &number(9)].concat(),
        // A second time at which the only session, the second transition, is looked at.
        [&b"session/look/"[..], &number(9), &number(2)].concat(),
        [&b"session/answer/"[..], &number(9), &number(1)].concat(),
        [&b"session/answer/"[..], &number(2), &number(3), b"more"].concat(),
        b"session/id/short".to_vec(),
        b"program/at/short".to_vec(),
    ];
    for key in stray {
        assert!(restored_with(&key, Some(Vec::new())).is_err(), "with {key:?}");
    }
}

/// The next session to be opened would be that one.
#[test]
fn a_state_with_a_session_of_a_later_transition_is_no_community() {
    let later = with_header(|header| header.sequence.0 = 1);
    assert_eq!(later.err(), Some(BadState::AtOdds { of: "session" }));
}
