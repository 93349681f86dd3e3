//! Clients that submit as long as they are let, and the account that is settled afterwards: each
//! operation that was answered happened once, where the answer says; none happened twice; none that
//! was said not to have happened did.
//!
//! Works on a community that runs `counter`: worker `w` adds 1, 2, 3, … to its own counter, so every
//! payload is another.

use crate::{programs::add, replicas::actor, wait::eventually};
use althing_client::{Client, Community, SubmitError, Submitted};
use althing_core::{
    ids::{OperationNumber, SessionId},
    transition::{Cause, Outcome, Transition},
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};
use tokio::task::JoinHandle;

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    community: String,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    totals: Arc<Vec<Totals>>,
    workers: Vec<JoinHandle<Vec<Sent>>>,
}

/// What is known of a worker's counter while it is at work. It only goes up.
#[derive(Debug, Default)]
pub struct Totals {
    sent: AtomicI64,
    answered: AtomicI64,
    known: AtomicI64,
}

/// An operation, and what its client was told.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The session.
    pub session: SessionId,
    /// What was submitted.
    pub payload: Bytes,
    /// What became of it.
    pub became: Became,
}

/// What a client was told.
#[derive(Clone, Debug)]
pub enum Became {
    /// It was executed.
    Answered(Submitted),
    /// It was not.
    NotExecuted,
    /// Nobody knows.
    Unknown(OperationNumber),
}

impl Load {
    /// Lets so many clients begin, each with a session of its own, one operation at a time.
    #[must_use]
    pub fn start(client: &Client, community: &str, workers: usize) -> Self {
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let totals = Arc::new((0..workers).map(|_| Totals::default()).collect::<Vec<_>>());
        let workers = (0..workers).map(|worker| {
            let community = client.community(community);
            tokio::spawn(work(community, worker, is_over.clone(), answered.clone(), totals.clone()))
        });
        let workers = workers.collect();
        Self { community: community.to_owned(), is_over, answered, totals, workers }
    }

    /// What is known of each worker's counter.
    #[must_use]
    pub fn totals(&self) -> Arc<Vec<Totals>> {
        self.totals.clone()
    }

    /// The community that they work on.
    #[must_use]
    pub fn community(&self) -> &str {
        &self.community
    }

    /// How many operations have been answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Waits until so many more operations have been answered.
    pub async fn goes_on_for(&self, more: u64) {
        let wanted = self.answered() + more;
        eventually(&format!("{wanted} operations are answered"), async || {
            (self.answered() >= wanted).then_some(())
        })
        .await;
    }

    /// Lets the clients finish; everything they sent.
    ///
    /// # Panics
    /// When a client met something that it should not have.
    pub async fn finish(self) -> Vec<Sent> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut sent = Vec::new();
        for worker in self.workers {
            sent.extend(worker.await.expect("no client panics"));
        }
        sent
    }
}

impl Totals {
    /// What it stands at, at most: everything that was sent counted.
    #[must_use]
    pub fn sent(&self) -> i64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// What it stands at, at least.
    #[must_use]
    pub fn known(&self) -> i64 {
        self.known.load(Ordering::SeqCst)
    }

    /// It stood at that.
    pub fn learn(&self, total: i64) {
        self.known.fetch_max(total, Ordering::SeqCst);
    }

    /// So much will be added, if it is.
    fn send(&self, amount: i64) {
        self.sent.fetch_add(amount, Ordering::SeqCst);
    }

    /// So much was added.
    fn answer(&self, amount: i64) {
        self.learn(self.answered.fetch_add(amount, Ordering::SeqCst) + amount);
    }
}

async fn work(
    community: Community,
    worker: usize,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    totals: Arc<Vec<Totals>>,
) -> Vec<Sent> {
    let session = community.open_session(actor(&format!("worker {worker}"))).await;
    let session = session.expect("a session can be opened");
    let mut sent = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let amount = sent.len() as i64 + 1;
        let payload = add(&counter(worker), amount);
        totals[worker].send(amount);
        let became = match session.submit(payload.clone()).await {
            Ok(submitted) => {
                totals[worker].answer(amount);
                answered.fetch_add(1, Ordering::SeqCst);
                Became::Answered(submitted)
            }
            Err(SubmitError::NotExecuted { .. }) => Became::NotExecuted,
            Err(SubmitError::Unknown { number, .. }) => Became::Unknown(number),
            Err(error @ SubmitError::Refused(_)) => panic!("refused: {error}"),
        };
        sent.push(Sent { session: session.id(), payload, became });
    }
    sent
}

/// The counter of a worker.
#[must_use]
pub fn counter(worker: usize) -> String {
    format!("worker-{worker}")
}

/// Settles the account: see the module's words. `history` begins with the first transition. Gives
/// what each counter must stand at.
///
/// # Panics
/// When something happened that should not have, or did not that should.
#[must_use]
pub fn settle(history: &[Transition], sent: &[Sent]) -> BTreeMap<String, i64> {
    assert_eq!(history.first().map(|first| first.sequence.0), Some(1), "the history is whole");
    let mut executed: BTreeMap<&Bytes, &Transition> = BTreeMap::new();
    let mut totals = BTreeMap::new();
    for transition in history {
        let Cause::Operation { payload, .. } = &transition.cause else { continue };
        let earlier = executed.insert(payload, transition);
        assert!(earlier.is_none(), "executed twice: {transition:?}");
        assert!(matches!(transition.outcome, Outcome::Accepted { .. }), "{transition:?}");
        let operation: serde_json::Value = serde_json::from_slice(payload).expect("it was JSON");
        let name = operation["name"].as_str().expect("a counter has a name").to_owned();
        *totals.entry(name).or_default() += operation["amount"].as_i64().expect("an amount is a number");
    }
    for operation in sent {
        let found = executed.get(&operation.payload);
        match &operation.became {
            Became::Unknown(_) => {}
            Became::NotExecuted => assert!(found.is_none(), "executed all the same: {operation:?}"),
            Became::Answered(submitted) => {
                let found = found.unwrap_or_else(|| panic!("answered, and lost: {operation:?}"));
                assert_eq!(found.receipt(), submitted.receipt, "the receipt tells another story");
            }
        }
    }
    totals
}
