//! A community under test: every step in both worlds, and compared.

use crate::{
    error::Refused,
    world::{World, outcome, result},
};
use althing_core::{
    actor::Actor,
    ids::Hash,
    program::{End, Fault},
    transition::{Cause, Outcome, Reply, Transition, Trap},
};
use althing_engine::{QueryProgram, thread::on_guest_thread};
use bytes::Bytes;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A community under test. Any step panics when the host fails, or when the two worlds differ.
pub struct Kit {
    fresh: World,
    kept: World,
    questions: Arc<QueryProgram>,
    actor: Actor,
    compared: usize,
}

/// A timer that fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Its id.
    pub id: Vec<u8>,
    /// What came of it.
    pub outcome: Result<(), Refused>,
}

impl Kit {
    pub(crate) fn new(fresh: World, kept: World, questions: Arc<QueryProgram>) -> Self {
        let mut kit = Self { fresh, kept, questions, actor: Actor::default(), compared: 0 };
        kit.compare();
        kit
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
    /// See [`Refused`].
    pub fn submit(&mut self, operation: &Value) -> Result<Value, Refused> {
        self.submit_bytes(operation.to_string().as_bytes())
    }

    /// Submits whatever a client may send.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn submit_bytes(&mut self, operation: &[u8]) -> Result<Value, Refused> {
        self.batch(&[Bytes::copy_from_slice(operation)]).remove(0)
    }

    /// Submits operations in one batch.
    pub fn submit_all(&mut self, operations: &[Value]) -> Vec<Result<Value, Refused>> {
        let payloads: Vec<_> = operations.iter().map(|operation| operation.to_string().into()).collect();
        self.batch(&payloads)
    }

    fn batch(&mut self, payloads: &[Bytes]) -> Vec<Result<Value, Refused>> {
        let replies = sound(self.fresh.submit(&self.actor, payloads));
        let others = sound(self.kept.submit(&self.actor, payloads));
        self.compare();
        assert_eq!(replies.len(), others.len(), "each operation has one reply");
        replies.iter().map(|reply: &Reply| result(reply).map(|result| json_of(&result))).collect()
    }

    /// Lets time pass; what fired, in order.
    pub fn advance(&mut self, duration: Duration) -> Vec<Fired> {
        let known = self.fresh.history.len();
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let until = self.fresh.now().plus_millis(millis);
        sound(self.fresh.pass(until));
        sound(self.kept.pass(until));
        self.compare();
        self.fresh.history[known..].iter().filter_map(fired).collect()
    }

    /// Asks a question, of both worlds.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn query(&self, question: &Value) -> Result<Value, Refused> {
        let question = question.to_string();
        let answer = self.ask(&self.fresh, question.as_bytes());
        assert_eq!(answer, self.ask(&self.kept, question.as_bytes()), "both worlds answer {question}");
        answer
    }

    fn ask(&self, world: &World, question: &[u8]) -> Result<Value, Refused> {
        let view = world.machine().view();
        let context = view.context(self.actor.clone());
        let fuel = view.policy().quotas.operation_fuel;
        let (questions, overlay) = (&self.questions, view.overlay());
        let asked = on_guest_thread(|| questions.query(&context, question, overlay, fuel));
        let ended = match sound(asked).end {
            End::Accept(result) => Outcome::Accepted { result },
            End::Reject(rejection) => Outcome::Rejected(rejection),
            End::Trap(trap) => Outcome::Trapped(trap),
        };
        outcome(&ended).map(|answer| json_of(&answer))
    }

    /// Everything that happened, from the activation on.
    #[must_use]
    pub fn transitions(&self) -> &[Transition] {
        &self.fresh.history
    }

    /// Every event so far: its name and data.
    #[must_use]
    pub fn events(&self) -> Vec<(String, Value)> {
        let events = self.fresh.history.iter().flat_map(|transition| &transition.events);
        events.map(|event| (event.name.clone(), json_of(&event.data))).collect()
    }

    /// The program's whole state, as bytes.
    ///
    /// # Panics
    /// Never: every page of a state can be read.
    #[must_use]
    pub fn pairs(&self) -> BTreeMap<Bytes, Bytes> {
        let view = self.fresh.machine().view();
        let mut pairs = BTreeMap::new();
        let mut start = Some(Bytes::new());
        while let Some(from) = start {
            let page = view.scan(&from, None, u32::MAX).expect("keys of the state are within bounds");
            pairs.extend(page.pairs);
            start = page.next;
        }
        pairs
    }

    /// Compares what has happened since the last time.
    fn compare(&mut self) {
        let (fresh, kept) = (&self.fresh.history, &self.kept.history);
        for (fresh, kept) in fresh.iter().zip(kept).skip(self.compared) {
            let (fresh, kept) = (comparable(fresh), comparable(kept));
            assert_eq!(
                fresh, kept,
                "the program relies on its own memory: left, in a fresh instance; right, in one that has \
                 served before. Keep in the state what is to be kept"
            );
        }
        assert_eq!(fresh.len(), kept.len(), "both worlds have as many transitions");
        self.compared = fresh.len();
    }
}

/// A transition but for what an instance's age may change.
fn comparable(transition: &Transition) -> Transition {
    let mut transition = Transition { fuel: 0, digest: Hash::default(), ..transition.clone() };
    // A trap's message may tell how far the guest came.
    if let Outcome::Trapped(Trap { message, .. }) = &mut transition.outcome {
        message.clear();
    }
    transition
}

fn fired(transition: &Transition) -> Option<Fired> {
    match &transition.cause {
        Cause::Timer { id, .. } => {
            Some(Fired { id: id.to_vec(), outcome: outcome(&transition.outcome).map(|_| ()) })
        }
        _ => None,
    }
}

/// JSON; no bytes are null, and what is no JSON is a text.
fn json_of(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

fn sound<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|fault| panic!("the host failed, not the program: {fault}"))
}
