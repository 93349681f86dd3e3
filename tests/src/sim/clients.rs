//! Who works with the cluster while it is shaken: clients that change something, clients that ask, and
//! subscribers. They are as patient as a good client library, and write down all they were told.

use super::{
    plan::{Fault, Plan},
    record::{Called, OlderRead, Record},
    world::{Doors, community},
};
use crate::{
    linear::{Call, Count},
    programs::{add, total},
};
use althing_consensus::runtime::Runtime;
use althing_core::{
    actor::Actor,
    batch::Operation,
    ids::{OperationName, OperationNumber, Sequence, SessionId},
    refusal::{Code, Refusal, Retry},
    transition::{Outcome, Receipt},
};
use althing_node::{Answer, Consistency, Node, QueryAnswer};
use bytes::Bytes;
use futures::StreamExt as _;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a client waits for one answer before it asks elsewhere.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it waits before it asks again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a client that is soon to give up asks all the same.
const ATTEMPTS_AT_LEAST: u64 = 1;

/// What all clients of one community share.
#[derive(Clone)]
pub struct Desk {
    /// Where they run.
    pub runtime: Runtime,
    /// How they reach the cluster.
    pub doors: Doors,
    /// Where they write.
    pub record: Record,
    /// The community's number.
    pub number: usize,
    /// The run's plan.
    pub plan: Arc<Plan>,
    /// Whether clients shall end after what they are at.
    pub closing: Arc<AtomicBool>,
    /// Whether subscribers shall end too.
    pub leaving: Arc<AtomicBool>,
}

/// What is seen from outside of somebody who works with a community.
#[derive(Default)]
pub struct Seat {
    /// Answers had; for a subscriber, the sequence that it waits for.
    pub reached: AtomicU64,
    /// What it was told last that was no answer.
    pub heard: Mutex<String>,
}

impl Seat {
    fn answered(&self) {
        self.reached.fetch_add(1, Ordering::Relaxed);
    }

    fn hear(&self, what: String) {
        *self.heard.lock().expect("nothing panics while it holds what was heard") = what;
    }
}

impl Desk {
    fn now(&self) -> u64 {
        u64::try_from(self.runtime.monotonic().as_micros()).unwrap_or(u64::MAX)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) || self.record.is_violated()
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.record.is_violated()
    }

    fn community(&self) -> String {
        community(self.number)
    }

    fn rng(&self, salt: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.plan.seed ^ (self.number as u64) << 40 ^ salt << 48)
    }

    async fn pause(&self, rng: &mut SmallRng, most: u64) {
        self.runtime.sleep(Duration::from_millis(rng.random_range(0..=most))).await;
    }

    fn may_happen(&self, rng: &mut SmallRng, fault: Fault) -> bool {
        self.plan.allows(fault) && rng.random_bool(0.1)
    }

    /// Something no refusal may say to a client that does nothing wrong.
    fn must_be_passing(&self, refusal: &Refusal, what: &str, seat: &Seat) {
        seat.hear(format!("{what} was refused: {}: {refusal}", refusal.code));
        // A node that is behind does not know yet what there is.
        let is_behind = matches!(refusal.code, Code::NoCommunity | Code::NoReplica | Code::NoProgram);
        if refusal.code.retry() == Retry::Never && !is_behind {
            self.record.violated(format!("{what} was refused: {}: {refusal}", refusal.code));
        }
    }
}

/// A client that adds to counters, one operation at a time.
pub struct Writer {
    desk: Desk,
    name: String,
    rng: SmallRng,
    session: Option<SessionId>,
    number: u64,
    seat: Arc<Seat>,
}

impl Writer {
    /// The `index`th of a community, seen at its seat.
    #[must_use]
    pub fn new(desk: Desk, index: usize, seat: Arc<Seat>) -> Self {
        let (name, rng) = (format!("writer-{index}"), desk.rng(1 + index as u64));
        Self { desk, name, rng, session: None, number: 0, seat }
    }

    /// Works until it shall end.
    pub async fn work(mut self) {
        while !self.desk.is_closing() {
            let Some(session) = self.session().await else { continue };
            let (key, amount) =
                (self.rng.random_range(0..self.desk.plan.keys), self.rng.random_range(1..100));
            self.number += 1;
            self.add(session, key, amount).await;
            self.desk.pause(&mut self.rng, 60).await;
        }
    }

    fn actor(&self) -> Actor {
        Actor { id: self.name.clone(), roles: Vec::new() }
    }

    async fn session(&mut self) -> Option<SessionId> {
        if self.session.is_none() {
            let door = self.desk.doors.any(&mut self.rng);
            let opened = match door {
                Some(door) => {
                    let community = self.desk.community();
                    let opening = door.open_session(&community, self.actor());
                    self.desk.runtime.timeout(PATIENCE, opening).await
                }
                None => None,
            };
            match opened {
                Some(Ok(opened)) => {
                    self.number = 0;
                    self.session = Some(SessionId(opened.receipt.sequence.0));
                }
                Some(Err(refusal)) => self.desk.must_be_passing(&refusal, "opening a session", &self.seat),
                None => self.seat.hear("opening a session: nothing".to_owned()),
            }
            if self.session.is_none() {
                self.desk.runtime.sleep(PAUSE).await;
            }
        }
        self.session
    }

    /// Adds, asking again until there is an answer, or until it gives up.
    async fn add(&mut self, session: SessionId, key: usize, amount: i64) {
        let operation = Operation {
            session,
            number: OperationNumber(self.number),
            acknowledged: OperationNumber(self.number - 1),
            after: OperationNumber(0),
            actor: self.actor(),
            payload: add(&key.to_string(), amount),
        };
        let called = self.desk.now();
        let gives_up = self.desk.may_happen(&mut self.rng, Fault::GivenUp);
        let receipt = self.ask_until_answered(&operation, gives_up).await;
        let answered = receipt.as_ref().map(|receipt| (self.desk.now(), self.value(receipt, &operation)));
        let call = Call { client: self.name.clone(), operation: Count::Add(amount), called, answered };
        let name = Some(OperationName { session, number: operation.number });
        let position = receipt.as_ref().map(|receipt| receipt.sequence);
        self.desk.record.called(self.desk.number, Called { key, call, name, position });
        match receipt {
            Some(receipt) => {
                let who = format!("the receipt of {}", self.name);
                self.desk.record.digest(self.desk.number, receipt.sequence, receipt.digest, &who);
                self.seat.answered();
            }
            // Nobody knows what became of it, so its session is not used again.
            None => self.session = None,
        }
    }

    async fn ask_until_answered(&mut self, operation: &Operation, gives_up: bool) -> Option<Receipt> {
        let mut first: Option<Receipt> = None;
        for attempt in 0_u64.. {
            if self.desk.record.is_violated() {
                return first;
            }
            if gives_up && attempt >= ATTEMPTS_AT_LEAST {
                if first.is_none() {
                    self.desk.record.fired(Fault::GivenUp);
                }
                return first;
            }
            let Some(door) = self.desk.doors.any(&mut self.rng) else {
                self.desk.runtime.sleep(PAUSE).await;
                continue;
            };
            match self.ask_once(&door, operation.clone()).await {
                Some(Ok(receipt)) => {
                    if let Some(first) = &first
                        && *first != receipt
                    {
                        let what = format!("{operation:?} was answered {first:?}, and again {receipt:?}");
                        self.desk.record.violated(what);
                    }
                    first = Some(receipt);
                    if !self.desk.may_happen(&mut self.rng, Fault::LostAnswer) {
                        return first;
                    }
                    self.desk.record.fired(Fault::LostAnswer);
                }
                Some(Err(refusal)) => {
                    self.desk.must_be_passing(&refusal, &format!("{operation:?}"), &self.seat);
                    self.desk.runtime.sleep(PAUSE).await;
                }
                None => self.seat.hear(format!("{operation:?} through node {}: nothing", door.id())),
            }
        }
        first
    }

    async fn ask_once(&self, door: &Node, operation: Operation) -> Option<Result<Receipt, Refusal>> {
        let community = self.desk.community();
        let submitted = door.submit(&community, vec![operation]);
        let outcomes = self.desk.runtime.timeout(PATIENCE, submitted).await?;
        let outcome = outcomes.and_then(|mut all| all.pop().expect("one outcome for one operation"));
        Some(outcome.map(|submitted| submitted.receipt))
    }

    fn value(&self, receipt: &Receipt, operation: &Operation) -> i64 {
        match &receipt.outcome {
            Outcome::Accepted { result } => number(result),
            other => {
                self.desk.record.violated(format!("{operation:?} came to {other:?}"));
                i64::MIN
            }
        }
    }
}

fn number(json: &Bytes) -> i64 {
    serde_json::from_slice(json).unwrap_or(i64::MIN)
}

/// A client that asks: mostly for the newest, sometimes for what a node has.
pub async fn read(desk: Desk, index: usize, seat: Arc<Seat>) {
    let mut rng = desk.rng(100 + index as u64);
    let mut newest = Sequence(0);
    while !desk.is_closing() {
        desk.pause(&mut rng, 120).await;
        let Some(door) = desk.doors.any(&mut rng) else { continue };
        let key = rng.random_range(0..desk.plan.keys);
        let consistency = match rng.random_range(0..10) {
            0 => Consistency::Local,
            1 => Consistency::AtLeast(newest),
            _ => Consistency::Linearizable,
        };
        let (called, community) = (desk.now(), desk.community());
        let asked = door.query(&community, Actor::default(), total(&key.to_string()), consistency);
        let answer = match desk.runtime.timeout(PATIENCE, asked).await {
            Some(Ok(answer)) => answer,
            Some(Err(refusal)) => {
                desk.must_be_passing(&refusal, "a query", &seat);
                continue;
            }
            None => {
                seat.hear(format!("a query, {consistency:?}, through node {}: nothing", door.id()));
                continue;
            }
        };
        let Some(value) = given(&desk, &answer) else { continue };
        desk.record.digest(desk.number, answer.sequence, answer.digest, "an answer");
        newest = newest.max(answer.sequence);
        if consistency == Consistency::Linearizable {
            let answered = Some((desk.now(), value));
            let call = Call { client: format!("reader-{index}"), operation: Count::Read, called, answered };
            let called = Called { key, call, name: None, position: Some(answer.sequence) };
            desk.record.called(desk.number, called);
            seat.answered();
        } else {
            let at_least = if let Consistency::AtLeast(wanted) = consistency { wanted } else { Sequence(0) };
            let position = answer.sequence;
            desk.record.read(desk.number, OlderRead { key, at_least, position, value });
        }
    }
}

fn given(desk: &Desk, answer: &QueryAnswer) -> Option<i64> {
    match &answer.answer {
        Answer::Given(value) => Some(number(value)),
        other => {
            desk.record.violated(format!("a query was answered {other:?}"));
            None
        }
    }
}

/// A subscriber: follows from the first transition on, goes on at another node when one is lost, and shows
/// which transition it waits for.
pub async fn follow(desk: Desk, index: usize, seat: Arc<Seat>) {
    let mut rng = desk.rng(200 + index as u64);
    let who = format!("subscriber-{index}");
    let mut next = Sequence(1);
    while !desk.is_leaving() {
        desk.pause(&mut rng, 100).await;
        let Some(door) = desk.doors.any(&mut rng) else { continue };
        let Ok(mut stream) = door.subscribe(&desk.community(), next).await else { continue };
        while let Some(Some(page)) = desk.runtime.timeout(PATIENCE, stream.next()).await {
            let page = match page {
                Ok(page) => page,
                Err(refusal) => {
                    seat.hear(format!("node {}: {}: {refusal}", door.id(), refusal.code));
                    break;
                }
            };
            for transition in &page {
                if transition.sequence != next {
                    let what = format!("{who} was told {} where {next} follows", transition.sequence);
                    desk.record.violated(what);
                }
                desk.record.told(desk.number, transition, &who);
                next = transition.sequence.next();
                seat.reached.store(next.0, Ordering::Relaxed);
            }
            if desk.is_leaving() {
                return;
            }
        }
    }
}
