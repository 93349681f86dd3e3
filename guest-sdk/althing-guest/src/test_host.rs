//! A community on the author's machine: tests in plain Rust, in milliseconds, without Wasm.
//!
//! What a test submits goes through the same JSON as a client's operation, timers fire in the order
//! of the contract, and a rejection undoes everything. A panic of the reducer, a trap in the real
//! engine, fails the test. Fuel and quotas are the engine's: see the test kit.

use crate::{
    context::{Actor, Context, OperationId, Timestamp},
    data, dispatch,
    host::memory::{Access, Memory, Overlay},
    reducer::{Migrate, Reducer},
    rejection::Rejected,
    validator::{Change, Validator},
};
use serde_json::Value;
use std::{collections::BTreeMap, marker::PhantomData, time::Duration};

/// 2026-01-01T00:00:00Z: when a test's community begins.
const BEGINNING_MILLIS: u64 = 1_767_225_600_000;

type Watch = Box<dyn Fn(&Context, &[u8], &Change) -> Result<(), Rejected>>;

/// A community that runs `R` in memory.
pub struct TestHost<R: Reducer> {
    memory: Memory,
    time: Timestamp,
    sequence: u64,
    actor: Actor,
    numbers: u64,
    emitted: Vec<Emitted>,
    watches: Vec<Watch>,
    reducer: PhantomData<R>,
}

/// An event as subscribers are told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The position in the history of what emitted it.
    pub sequence: u64,
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: Value,
}

impl<R: Reducer> TestHost<R> {
    /// A community that begins with this configuration.
    ///
    /// # Errors
    /// When the reducer rejects the configuration.
    pub fn new(config: R::Config) -> Result<Self, Rejected> {
        let mut host = Self {
            memory: Memory::default(),
            time: Timestamp { millis: BEGINNING_MILLIS, counter: 0 },
            sequence: 1,
            actor: Actor::default(),
            numbers: 0,
            emitted: Vec::new(),
            watches: Vec::new(),
            reducer: PhantomData,
        };
        let cx = host.context(OperationId::default());
        let config = data::encode(&config);
        host.call(&cx, |cx| dispatch::init::<R>(cx, &config))?;
        Ok(host)
    }

    /// Has a validator watch over what is submitted from now on, after those that already do.
    #[must_use]
    pub fn watched_by<V: Validator>(mut self, config: &V::Config) -> Self {
        let config = data::encode(config);
        self.watches.push(Box::new(move |cx, operation, change| {
            dispatch::validate::<V>(cx, &config, operation, change)
        }));
        self
    }

    /// Submits as this actor, without roles, from now on.
    pub fn as_actor(&mut self, id: &str) -> &mut Self {
        self.as_member(id, &[])
    }

    /// Submits as this actor with these roles from now on.
    pub fn as_member(&mut self, id: &str, roles: &[&str]) -> &mut Self {
        let mut roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
        roles.sort();
        roles.dedup();
        self.actor = Actor { id: id.to_owned(), roles };
        self
    }

    /// Submits an operation.
    ///
    /// # Errors
    /// The rejection that the client would be told: by the reducer, or by a validator.
    pub fn submit(&mut self, operation: R::Operation) -> Result<R::Result, Rejected> {
        self.submit_bytes(&data::encode(&operation)).map(|result| read(&result))
    }

    /// Submits what a client sends: a JSON text, valid or not.
    ///
    /// # Errors
    /// As [`Self::submit`], and `invalid-operation`.
    pub fn submit_json(&mut self, operation: &str) -> Result<Value, Rejected> {
        self.submit_bytes(operation.as_bytes()).map(|result| read(&result))
    }

    fn submit_bytes(&mut self, operation: &[u8]) -> Result<Vec<u8>, Rejected> {
        self.tick(0);
        self.fire_due();
        self.sequence += 1;
        self.numbers += 1;
        let cx = self.context(OperationId { session: 1, number: self.numbers });
        self.decide(&cx, operation, |cx| dispatch::reduce::<R>(cx, operation))
    }

    /// Asks a question.
    ///
    /// # Errors
    /// The reducer's rejection.
    pub fn query(&mut self, query: R::Query) -> Result<R::Answer, Rejected> {
        self.query_bytes(&data::encode(&query)).map(|answer| read(&answer))
    }

    /// Asks what a client asks: a JSON text, valid or not.
    ///
    /// # Errors
    /// As [`Self::query`], and `invalid-query`.
    pub fn query_json(&mut self, query: &str) -> Result<Value, Rejected> {
        self.query_bytes(query.as_bytes()).map(|answer| read(&answer))
    }

    fn query_bytes(&mut self, query: &[u8]) -> Result<Vec<u8>, Rejected> {
        let cx = self.context(OperationId::default());
        let (answer, _) =
            self.memory.run(Overlay::default(), Access::Read, || dispatch::query::<R>(&cx, query));
        answer
    }

    /// Replaces the program by itself, as if it came from `from_version`.
    ///
    /// # Errors
    /// The reducer's rejection, which keeps the state as it was.
    pub fn migrate(&mut self, from_version: &str, config: &R::Config) -> Result<(), Rejected>
    where
        R: Migrate,
    {
        self.tick(0);
        self.sequence += 1;
        let cx = self.context(OperationId::default());
        let config = data::encode(config);
        self.call(&cx, |cx| dispatch::migrate::<R>(cx, from_version, &config))
    }

    /// Lets time pass, with each timer firing at its own moment, as in an idle community. What became
    /// of each is given back in order.
    pub fn advance(&mut self, duration: Duration) -> Vec<Result<(), Rejected>> {
        let until = self.time.after(duration);
        let mut fired = Vec::new();
        while let Some(at) = self.memory.timers.values().map(|timer| timer.at).min().filter(|at| *at <= until)
        {
            self.tick(at.millis.saturating_sub(self.time.millis));
            self.time = self.time.max(at);
            fired.extend(self.fire_due());
        }
        self.time = self.time.max(until);
        fired
    }

    /// Reads the state directly: `host.look(|| TOTALS.get("votes"))`.
    pub fn look<T>(&mut self, read: impl FnOnce() -> T) -> T {
        self.memory.run(Overlay::default(), Access::Read, read).0
    }

    /// Every event so far, in order.
    #[must_use]
    pub fn events(&self) -> &[Emitted] {
        &self.emitted
    }

    /// The whole state, as bytes: equal states have equal pairs.
    #[must_use]
    pub const fn pairs(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.memory.pairs
    }

    /// How many timers are set.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.memory.timers.len()
    }

    /// The time of the last batch.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// The last position of the history.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Runs what is due now, in order of time and id; what they schedule for now runs with the next
    /// batch.
    fn fire_due(&mut self) -> Vec<Result<(), Rejected>> {
        let now = self.time;
        let mut due: Vec<_> = self
            .memory
            .timers
            .iter()
            .filter(|(_, timer)| timer.at <= now)
            .map(|(id, timer)| (timer.at, id.clone()))
            .collect();
        due.sort();
        due.into_iter().filter_map(|(at, id)| self.fire(at, &id)).collect()
    }

    /// Runs one timer, unless one before it has taken it back or put it off.
    fn fire(&mut self, at: Timestamp, id: &[u8]) -> Option<Result<(), Rejected>> {
        let timer = self.memory.timers.get(id).filter(|timer| timer.at == at)?.clone();
        self.memory.timers.remove(id);
        self.sequence += 1;
        let cx = Context { actor: Actor::default(), ..self.context(OperationId::default()) };
        let payload = timer.payload;
        let fired =
            self.decide(&cx, &payload, |cx| dispatch::on_timer::<R>(cx, &payload).map(|()| Vec::new()));
        Some(fired.map(|_| ()))
    }

    /// Runs a call, then the validators over what it did; all of it counts, or nothing.
    fn decide(
        &mut self,
        cx: &Context,
        operation: &[u8],
        call: impl FnOnce(&Context) -> Result<Vec<u8>, Rejected>,
    ) -> Result<Vec<u8>, Rejected> {
        let (result, mut overlay) = self.memory.run(Overlay::default(), Access::Write, || call(cx));
        let result = result?;
        let change = overlay.change(result.clone());
        for watch in &self.watches {
            let verdict;
            (verdict, overlay) = self.memory.run(overlay, Access::Read, || watch(cx, operation, &change));
            verdict?;
        }
        self.fold(cx, &overlay);
        Ok(result)
    }

    /// Runs a call that no validator watches.
    fn call(
        &mut self,
        cx: &Context,
        call: impl FnOnce(&Context) -> Result<(), Rejected>,
    ) -> Result<(), Rejected> {
        let (result, overlay) = self.memory.run(Overlay::default(), Access::Write, || call(cx));
        result?;
        self.fold(cx, &overlay);
        Ok(())
    }

    fn fold(&mut self, cx: &Context, overlay: &Overlay) {
        self.memory.fold(overlay);
        self.emitted.extend(overlay.events.iter().map(|(name, data)| Emitted {
            sequence: cx.sequence,
            name: name.clone(),
            data: read(data),
        }));
    }

    fn context(&self, operation: OperationId) -> Context {
        Context {
            community: 1,
            sequence: self.sequence,
            time: self.time,
            actor: self.actor.clone(),
            operation,
        }
    }

    /// The next batch's time: later, by so many milliseconds or by the least there is.
    fn tick(&mut self, millis: u64) {
        self.time = match self.time {
            Timestamp { millis: now, counter } if millis == 0 && counter < u16::MAX => {
                Timestamp { millis: now, counter: counter + 1 }
            }
            Timestamp { millis: now, .. } => Timestamp { millis: now + millis.max(1), counter: 0 },
        };
    }
}

fn read<T: serde::de::DeserializeOwned>(json: &[u8]) -> T {
    serde_json::from_slice(json).unwrap_or_else(|error| {
        panic!(
            "{} does not read what it wrote, {}: {error}",
            std::any::type_name::<T>(),
            String::from_utf8_lossy(json)
        )
    })
}
