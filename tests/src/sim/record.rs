//! What was seen in a run: by clients, by subscribers, and by looking at the replicas. Written while it runs,
//! judged afterwards ([`super::invariants`]); what contradicts at once is a violation at once.

use super::plan::Fault;
use crate::linear::{Call, Count};
use althing_core::{
    ids::{Hash, OperationName, ReplicaId, Sequence},
    transition::Transition,
};
use althing_node::{ReplicaStatus, Role};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// A client's call, and what it was told beside the answer.
#[derive(Clone, Debug)]
pub struct Called {
    /// The counter.
    pub key: usize,
    /// The call.
    pub call: Call<Count, i64>,
    /// The operation's name; none for reads.
    pub name: Option<OperationName>,
    /// Where the answer says that it stands.
    pub position: Option<Sequence>,
}

/// A read that did not ask for the newest.
#[derive(Clone, Debug)]
pub struct OlderRead {
    /// The counter.
    pub key: usize,
    /// What was asked for: nothing older than this.
    pub at_least: Sequence,
    /// Where the answer says that it stands.
    pub position: Sequence,
    /// The answer.
    pub value: i64,
}

/// A replica at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When, in microseconds.
    pub at: u64,
    /// Which.
    pub replica: ReplicaId,
    /// The node's how-manieth life.
    pub life: u64,
    /// What it was.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The last index in its log.
    pub last: u64,
    /// The last it knew to be committed.
    pub committed: u64,
    /// The last it had executed.
    pub applied: u64,
}

/// What was seen of one community.
#[derive(Default)]
pub struct Seen {
    /// Every call that was made.
    pub calls: Vec<Called>,
    /// Reads at a consistency other than linearizable.
    pub older_reads: Vec<OlderRead>,
    /// The history, as far as any subscriber was told.
    pub history: BTreeMap<Sequence, Transition>,
    /// Every digest that anybody named, and who did first.
    pub digests: BTreeMap<Sequence, (Hash, String)>,
    /// Every look at a replica, in order.
    pub looks: Vec<Look>,
}

/// What was seen in a run.
#[derive(Default)]
struct Inner {
    communities: Vec<Seen>,
    fired: BTreeMap<Fault, u64>,
    violations: Vec<String>,
}

/// The record of a run; cheap to clone.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Inner>>);

impl Record {
    /// An empty one.
    #[must_use]
    pub fn new(communities: usize) -> Self {
        let communities = (0..communities).map(|_| Seen::default()).collect();
        Self(Arc::new(Mutex::new(Inner { communities, ..Inner::default() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while it holds the record")
    }

    /// A fault has happened.
    pub fn fired(&self, fault: Fault) {
        *self.inner().fired.entry(fault).or_default() += 1;
    }

    /// Something was seen that may never be.
    pub fn violated(&self, what: String) {
        self.inner().violations.push(what);
    }

    /// Whether something was.
    #[must_use]
    pub fn is_violated(&self) -> bool {
        !self.inner().violations.is_empty()
    }

    /// A call was made; with its answer, if it came.
    pub fn called(&self, community: usize, called: Called) {
        self.inner().communities[community].calls.push(called);
    }

    /// A read other than a linearizable one was answered.
    pub fn read(&self, community: usize, read: OlderRead) {
        self.inner().communities[community].older_reads.push(read);
    }

    /// Somebody names the digest at a sequence.
    pub fn digest(&self, community: usize, sequence: Sequence, digest: Hash, who: &str) {
        let mut inner = self.inner();
        let digests = &mut inner.communities[community].digests;
        let (known, by) = digests.entry(sequence).or_insert_with(|| (digest, who.to_owned())).clone();
        if known != digest {
            let what = format!("at sequence {sequence} {by} has the digest {known}, {who} has {digest}");
            inner.violations.push(what);
        }
    }

    /// Somebody was told a transition.
    pub fn told(&self, community: usize, transition: &Transition, who: &str) {
        self.digest(community, transition.sequence, transition.digest, who);
        let mut inner = self.inner();
        let history = &mut inner.communities[community].history;
        let known = history.entry(transition.sequence).or_insert_with(|| transition.clone());
        if known != transition {
            let what = format!("{who} was told {transition:?}, others {known:?}");
            inner.violations.push(what);
        }
    }

    /// A replica was looked at.
    pub fn looked(&self, community: usize, at: u64, (node, life): (u64, u64), status: &ReplicaStatus) {
        self.digest(community, status.sequence, status.digest, &format!("the replica on node {node}"));
        let look = Look {
            at,
            replica: status.replica,
            life,
            role: status.role,
            term: status.term,
            last: status.last_index,
            committed: status.committed_index,
            applied: status.applied_index,
        };
        self.inner().communities[community].looks.push(look);
    }

    /// Ends the record: what was seen of each community, what happened, what may never be.
    #[must_use]
    pub fn close(&self) -> (Vec<Seen>, BTreeMap<Fault, u64>, Vec<String>) {
        let inner = std::mem::take(&mut *self.inner());
        (inner.communities, inner.fired, inner.violations)
    }
}
