//! What one operation has written so far, over the state it began with.
//!
//! The guest reads through it and sees its own writes; accepting folds it into the state, anything
//! else drops it. Quotas are counted here, so a broken quota is the same on every replica.
//! It owns what it needs (the base is an O(1) clone), so a Wasm store can hold it.

use crate::{
    limits,
    policy::Quotas,
    state::{Keyspace, State},
    time::Timestamp,
    transition::{Event, TimerChange, TrapKind, Write},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Bound};

/// What a guest is doing, hence what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A reducer deciding: everything.
    Write,
    /// A query or a validator: reading only.
    Read,
}

/// A host call that traps: a quota broken, or a misuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// [`TrapKind::Quota`] or [`TrapKind::Misuse`].
    pub kind: TrapKind,
    /// Which quota, what was asked, what is allowed.
    pub message: String,
}

/// A page of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Ascending.
    pub pairs: Vec<(Bytes, Bytes)>,
    /// Where to go on; none at the end.
    pub next: Option<Bytes>,
}

/// What a timer is set to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerSet {
    /// When it fires.
    pub at: Timestamp,
    /// What it carries.
    pub payload: Bytes,
}

/// One operation's view of the state. Created by the machine, lent to the guest, folded or dropped.
#[derive(Debug)]
pub struct Overlay {
    base: State,
    access: Access,
    quotas: Quotas,
    writes: BTreeMap<Bytes, Option<Bytes>>,
    events: Vec<Event>,
    timers: BTreeMap<Bytes, Option<TimerSet>>,
    used: Used,
}

/// What the quotas count.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    write_bytes: u64,
    event_bytes: u64,
    timer_changes: u32,
    calls: u64,
}

/// What an operation wrote, taken out of its overlay.
#[derive(Debug, Default)]
pub struct Written {
    /// The last write of each key, ascending.
    pub writes: Vec<Write>,
    /// In the order of their emission.
    pub events: Vec<Event>,
    /// The last change of each timer, ascending by id.
    pub timers: Vec<TimerChange>,
}

impl Overlay {
    /// An empty overlay over `base`.
    #[must_use]
    pub fn new(base: State, quotas: Quotas, access: Access) -> Self {
        Self {
            base,
            access,
            quotas,
            writes: BTreeMap::new(),
            events: Vec::new(),
            timers: BTreeMap::new(),
            used: Used::default(),
        }
    }

    /// The quotas it counts against.
    #[must_use]
    pub const fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The same view, for reading only: what a validator gets.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.access = Access::Read;
        self.used.calls = 0;
        self
    }

    /// What was written. The base is dropped.
    #[must_use]
    pub fn into_written(self) -> Written {
        Written {
            writes: self.writes.into_iter().map(|(key, value)| Write { key, value }).collect(),
            events: self.events,
            timers: self.timers.into_iter().map(|(id, set)| TimerChange { id, set }).collect(),
        }
    }

    /// What a validator is shown of the writes so far.
    pub fn writes(&self) -> impl Iterator<Item = Write> + '_ {
        self.writes.iter().map(|(key, value)| Write { key: key.clone(), value: value.clone() })
    }

    /// The events so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The value of a program key, own writes included.
    ///
    /// # Errors
    /// A key out of bounds, or too many host calls.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, Refused> {
        self.call()?;
        self.check_key(key)?;
        Ok(match self.writes.get(key) {
            Some(written) => written.clone(),
            None => self.base.get(Keyspace::Program, key).cloned(),
        })
    }

    /// The value of a program key before the operation.
    ///
    /// # Errors
    /// A key out of bounds, or too many host calls.
    pub fn get_before(&mut self, key: &[u8]) -> Result<Option<Bytes>, Refused> {
        self.call()?;
        self.check_key(key)?;
        Ok(self.base.get(Keyspace::Program, key).cloned())
    }

    /// Writes a program key.
    ///
    /// # Errors
    /// Read-only access, a key or value out of bounds, a quota broken.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refused> {
        self.call()?;
        self.check_writable("state.set")?;
        self.check_key(key)?;
        within("value_bytes", value.len() as u64, self.quotas.value_bytes.into())?;
        self.write(key, Some(Bytes::copy_from_slice(value)))
    }

    /// Deletes a program key; nothing happens when it is not there.
    ///
    /// # Errors
    /// Read-only access, a key out of bounds, a quota broken.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Refused> {
        self.call()?;
        self.check_writable("state.delete")?;
        self.check_key(key)?;
        self.write(key, None)
    }

    /// A page of program keys, own writes included.
    ///
    /// # Errors
    /// Bounds out of bounds, or too many host calls.
    pub fn scan(&mut self, start: &[u8], end: Option<&[u8]>, limit: u32) -> Result<Page, Refused> {
        self.call()?;
        self.check_scan(start, end)?;
        if end.is_some_and(|end| end <= start) {
            return Ok(Page::default());
        }
        let high = end.map_or(Bound::Unbounded, Bound::Excluded);
        let written = self
            .writes
            .range::<[u8], _>((Bound::Included(start), high))
            .map(|(key, value)| (key.clone(), value.clone()));
        Ok(page(merge(self.base.range(Keyspace::Program, start, end), written), limit))
    }

    /// A page of program keys as they were before the operation.
    ///
    /// # Errors
    /// Bounds out of bounds, or too many host calls.
    pub fn scan_before(&mut self, start: &[u8], end: Option<&[u8]>, limit: u32) -> Result<Page, Refused> {
        self.call()?;
        self.check_scan(start, end)?;
        let pairs = self.base.range(Keyspace::Program, start, end).map(|(key, value)| (key, value.clone()));
        Ok(page(pairs, limit))
    }

    /// Emits an event.
    ///
    /// # Errors
    /// Read-only access, a name out of bounds, a quota broken.
    pub fn emit(&mut self, name: &str, data: &[u8]) -> Result<(), Refused> {
        self.call()?;
        self.check_writable("events.emit")?;
        sized("an event's name", name.len(), 1, limits::EVENT_NAME_BYTES_MAX)?;
        let bytes = self.used.event_bytes + (name.len() + data.len()) as u64;
        within("event_bytes", bytes, self.quotas.event_bytes)?;
        within("events", self.events.len() as u64 + 1, self.quotas.events.into())?;
        self.used.event_bytes = bytes;
        self.events.push(Event { name: name.to_owned(), data: Bytes::copy_from_slice(data) });
        Ok(())
    }

    /// Sets a timer.
    ///
    /// # Errors
    /// Read-only access, an id or payload out of bounds, a quota broken.
    pub fn schedule(&mut self, id: &[u8], at: Timestamp, payload: &[u8]) -> Result<(), Refused> {
        self.call()?;
        self.check_timer("timers.schedule", id)?;
        sized("a timer's payload", payload.len(), 0, limits::TIMER_PAYLOAD_BYTES_MAX)?;
        let set = TimerSet { at, payload: Bytes::copy_from_slice(payload) };
        self.timers.insert(Bytes::copy_from_slice(id), Some(set));
        Ok(())
    }

    /// Takes a timer back; whether there was one.
    ///
    /// # Errors
    /// Read-only access, an id out of bounds, a quota broken.
    pub fn cancel(&mut self, id: &[u8]) -> Result<bool, Refused> {
        self.call()?;
        self.check_timer("timers.cancel", id)?;
        let was_set = match self.timers.get(id) {
            Some(change) => change.is_some(),
            None => crate::timers::is_set(&self.base, id),
        };
        self.timers.insert(Bytes::copy_from_slice(id), None);
        Ok(was_set)
    }

    fn call(&mut self) -> Result<(), Refused> {
        self.used.calls += 1;
        within("host calls", self.used.calls, limits::HOST_CALLS_MAX)
    }

    fn write(&mut self, key: &[u8], value: Option<Bytes>) -> Result<(), Refused> {
        let added = (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64;
        let replaced =
            self.writes.get(key).map(|old| (key.len() + old.as_ref().map_or(0, Bytes::len)) as u64);
        let bytes = self.used.write_bytes + added - replaced.unwrap_or(0);
        within("write_bytes", bytes, self.quotas.write_bytes)?;
        let count = self.writes.len() as u64 + u64::from(replaced.is_none());
        within("writes", count, self.quotas.writes.into())?;
        self.used.write_bytes = bytes;
        self.writes.insert(Bytes::copy_from_slice(key), value);
        Ok(())
    }

    fn check_writable(&self, what: &str) -> Result<(), Refused> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(misuse(format!("{what} was called where the state can only be read"))),
        }
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Refused> {
        sized("a key", key.len(), 1, limits::KEY_BYTES_MAX)?;
        within("key_bytes", key.len() as u64, self.quotas.key_bytes.into())
    }

    fn check_scan(&self, start: &[u8], end: Option<&[u8]>) -> Result<(), Refused> {
        sized("a scan's start", start.len(), 0, limits::KEY_BYTES_MAX + 1)?;
        sized("a scan's end", end.map_or(0, <[u8]>::len), 0, limits::KEY_BYTES_MAX + 1)
    }

    fn check_timer(&mut self, what: &str, id: &[u8]) -> Result<(), Refused> {
        self.check_writable(what)?;
        sized("a timer's id", id.len(), 1, limits::TIMER_ID_BYTES_MAX)?;
        self.used.timer_changes += 1;
        within("timer_changes", self.used.timer_changes.into(), self.quotas.timer_changes.into())
    }
}

/// Two ascending sequences as one; where both have a key, `written` wins, and its `None` hides it.
fn merge<'a>(
    base: impl Iterator<Item = (Bytes, &'a Bytes)>,
    written: impl Iterator<Item = (Bytes, Option<Bytes>)>,
) -> impl Iterator<Item = (Bytes, Bytes)> {
    let mut base = base.peekable();
    let mut written = written.peekable();
    std::iter::from_fn(move || {
        loop {
            let take_base = match (base.peek(), written.peek()) {
                (None, None) => return None,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((below, _)), Some((above, _))) => {
                    if below == above {
                        base.next();
                        false
                    } else {
                        below < above
                    }
                }
            };
            if take_base {
                return base.next().map(|(key, value)| (key, value.clone()));
            }
            if let Some((key, Some(value))) = written.next() {
                return Some((key, value));
            }
        }
    })
}

/// As many pairs as `limit` and the host's page bounds allow; at least one if there is one.
fn page(pairs: impl Iterator<Item = (Bytes, Bytes)>, limit: u32) -> Page {
    let limit = limit.clamp(1, limits::SCAN_PAIRS_MAX) as usize;
    let mut page = Page::default();
    let mut bytes = 0;
    for (key, value) in pairs {
        bytes += (key.len() + value.len()) as u64;
        let full = page.pairs.len() == limit || bytes > limits::SCAN_BYTES_MAX;
        if full && !page.pairs.is_empty() {
            page.next = Some(key);
            break;
        }
        page.pairs.push((key, value));
    }
    page
}

fn misuse(message: String) -> Refused {
    Refused { kind: TrapKind::Misuse, message }
}

fn within(quota: &str, asked: u64, allowed: u64) -> Result<(), Refused> {
    if asked <= allowed {
        return Ok(());
    }
    Err(Refused {
        kind: TrapKind::Quota,
        message: format!("quota {quota}: {asked} asked, {allowed} allowed"),
    })
}

fn sized(what: &str, bytes: usize, min: usize, max: usize) -> Result<(), Refused> {
    if (min..=max).contains(&bytes) {
        return Ok(());
    }
    Err(misuse(format!("{what} has {bytes} bytes, it must have {min} to {max}")))
}
