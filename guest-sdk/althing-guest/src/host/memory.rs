//! The host of a test: state in memory, with the same rules as the real one's.
//!
//! A call works on an overlay that is folded into the state or dropped; misuse panics, as it traps
//! there. Not judged here: fuel, memory, and the quotas of a community's policy.

use super::Page;
use crate::{
    context::Timestamp,
    log::Level,
    validator::{Change, Write},
};
use std::{cell::RefCell, collections::BTreeMap, ops::Bound};

const KEY_BYTES_MAX: usize = 1024;
const VALUE_BYTES_MAX: usize = 1 << 20;
const EVENT_NAME_BYTES_MAX: usize = 128;
const TIMER_ID_BYTES_MAX: usize = 256;
const TIMER_PAYLOAD_BYTES_MAX: usize = 64 << 10;
const SCAN_PAIRS_MAX: u32 = 1024;
const SCAN_BYTES_MAX: usize = 1 << 20;

type Bytes = Vec<u8>;

/// What a guest is doing, hence what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Deciding: everything.
    Write,
    /// Answering or validating: reading only.
    Read,
}

/// A timer that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) at: Timestamp,
    pub(crate) payload: Bytes,
}

/// What is kept between calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) pairs: BTreeMap<Bytes, Bytes>,
    pub(crate) timers: BTreeMap<Bytes, Timer>,
}

/// What one call has done so far.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    pub(crate) writes: BTreeMap<Bytes, Option<Bytes>>,
    pub(crate) events: Vec<(String, Bytes)>,
    pub(crate) timers: BTreeMap<Bytes, Option<Timer>>,
}

#[derive(Debug)]
struct Running {
    memory: Memory,
    overlay: Overlay,
    access: Access,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

impl Memory {
    /// Runs a call over this memory and `overlay`, both of which come back. Tests that run side by
    /// side have a thread each, and so a host each.
    pub(crate) fn run<T>(
        &mut self,
        overlay: Overlay,
        access: Access,
        call: impl FnOnce() -> T,
    ) -> (T, Overlay) {
        let running = Running { memory: std::mem::take(self), overlay, access };
        RUNNING.with_borrow_mut(|slot| {
            assert!(slot.is_none(), "a host was called from within another host's call");
            *slot = Some(running);
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        let running = RUNNING.take().expect("only this function takes it");
        *self = running.memory;
        match ended {
            Ok(value) => (value, running.overlay),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Makes what a call did true.
    pub(crate) fn fold(&mut self, overlay: &Overlay) {
        for (key, value) in &overlay.writes {
            match value {
                Some(value) => self.pairs.insert(key.clone(), value.clone()),
                None => self.pairs.remove(key),
            };
        }
        for (id, timer) in &overlay.timers {
            match timer {
                Some(timer) => self.timers.insert(id.clone(), timer.clone()),
                None => self.timers.remove(id),
            };
        }
    }
}

impl Overlay {
    /// What a validator is shown.
    pub(crate) fn change(&self, result: Bytes) -> Change {
        Change {
            result,
            writes: self
                .writes
                .iter()
                .map(|(key, value)| Write { key: key.clone(), value: value.clone() })
                .collect(),
            events: self.events.clone(),
        }
    }
}

fn with<T>(what: impl FnOnce(&mut Running) -> T) -> T {
    RUNNING.with_borrow_mut(|slot| {
        what(slot.as_mut().expect(
            "the state is there while a reducer runs: in a test, go through TestHost, or `host.look(|| …)`",
        ))
    })
}

pub(crate) fn get(key: &[u8]) -> Option<Bytes> {
    sized("a key", key.len(), 1, KEY_BYTES_MAX);
    with(|running| match running.overlay.writes.get(key) {
        Some(written) => written.clone(),
        None => running.memory.pairs.get(key).cloned(),
    })
}

pub(crate) fn get_before(key: &[u8]) -> Option<Bytes> {
    sized("a key", key.len(), 1, KEY_BYTES_MAX);
    with(|running| running.memory.pairs.get(key).cloned())
}

pub(crate) fn set(key: &[u8], value: &[u8]) {
    sized("a key", key.len(), 1, KEY_BYTES_MAX);
    sized("a value", value.len(), 0, VALUE_BYTES_MAX);
    with_writable("state.set", |running| running.overlay.writes.insert(key.to_vec(), Some(value.to_vec())));
}

pub(crate) fn delete(key: &[u8]) {
    sized("a key", key.len(), 1, KEY_BYTES_MAX);
    with_writable("state.delete", |running| running.overlay.writes.insert(key.to_vec(), None));
}

pub(crate) fn scan(start: &[u8], end: &[u8], limit: u32) -> Page {
    with(|running| page(&running.memory.pairs, &running.overlay.writes, start, end, limit))
}

pub(crate) fn scan_before(start: &[u8], end: &[u8], limit: u32) -> Page {
    with(|running| page(&running.memory.pairs, &BTreeMap::new(), start, end, limit))
}

pub(crate) fn emit(name: &str, data: &[u8]) {
    sized("an event's name", name.len(), 1, EVENT_NAME_BYTES_MAX);
    with_writable("events.emit", |running| running.overlay.events.push((name.to_owned(), data.to_vec())));
}

pub(crate) fn schedule(id: &[u8], at: Timestamp, payload: &[u8]) {
    sized("a timer's id", id.len(), 1, TIMER_ID_BYTES_MAX);
    sized("a timer's payload", payload.len(), 0, TIMER_PAYLOAD_BYTES_MAX);
    with_writable("timers.schedule", |running| {
        running.overlay.timers.insert(id.to_vec(), Some(Timer { at, payload: payload.to_vec() }))
    });
}

pub(crate) fn cancel(id: &[u8]) -> bool {
    sized("a timer's id", id.len(), 1, TIMER_ID_BYTES_MAX);
    with_writable("timers.cancel", |running| match running.overlay.timers.insert(id.to_vec(), None) {
        Some(changed) => changed.is_some(),
        None => running.memory.timers.contains_key(id),
    })
}

pub(crate) fn log(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

fn with_writable<T>(what: &str, change: impl FnOnce(&mut Running) -> T) -> T {
    with(|running| {
        assert!(running.access == Access::Write, "{what} was called where the state can only be read");
        change(running)
    })
}

/// A page of `pairs` as `writes` would leave them.
fn page(
    pairs: &BTreeMap<Bytes, Bytes>,
    writes: &BTreeMap<Bytes, Option<Bytes>>,
    start: &[u8],
    end: &[u8],
    limit: u32,
) -> Page {
    let mut page = Page::default();
    if end <= start {
        return page;
    }
    let limit = limit.clamp(1, SCAN_PAIRS_MAX) as usize;
    let range = (Bound::Included(start), Bound::Excluded(end));
    let mut written = writes.range::<[u8], _>(range).peekable();
    let mut stored = pairs.range::<[u8], _>(range).peekable();
    let mut bytes = 0;
    loop {
        let next = match (stored.peek(), written.peek()) {
            (None, None) => return page,
            (Some((below, _)), Some((above, _))) if below < above => stored.next(),
            (Some(_), None) => stored.next(),
            (below, Some((above, _))) => {
                if below.is_some_and(|(below, _)| below == above) {
                    stored.next();
                }
                written.next().and_then(|(key, value)| Some((key, value.as_ref()?)))
            }
        };
        let Some((key, value)) = next else { continue };
        bytes += key.len() + value.len();
        if !page.pairs.is_empty() && (page.pairs.len() == limit || bytes > SCAN_BYTES_MAX) {
            page.next = Some(key.clone());
            return page;
        }
        page.pairs.push((key.clone(), value.clone()));
    }
}

fn sized(what: &str, bytes: usize, min: usize, max: usize) {
    assert!((min..=max).contains(&bytes), "{what} has {bytes} bytes, it must have {min} to {max}");
}
