//! Quarantine: what a replica does that is not what the majority is (promise P7), in what it did or, in
//! [`state`], in what it holds.
//!
//! From the moment that it knows, it answers nothing: no read, no proposal, no peer that compares. It
//! hands leadership over if it has it, and its group stops. That is remembered, so that a restart does
//! not bring it back ([`remembered`]); the evidence is kept, in the log and as a file; `althing member rebuild`
//! ends it.

mod record;
pub(crate) mod state;

pub(crate) use record::{remembered, suspects};

use crate::{
    community::{Community, Hosted},
    node::Node,
    peer::{HistoryRead, ReadHistory, method},
    refuse,
};
use althing_consensus::peers::Lane;
use althing_core::{
    codec,
    ids::{CommunityId, Hash, NodeId, ReplicaId, Sequence},
    transition::Transition,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// The fact under which the quarantined replicas of a node are remembered.
pub(crate) const FACT: &str = "quarantined";
/// How long handing leadership over may take before the group is stopped all the same.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(500);
/// How long one page, manifest or chunk of evidence may take.
const EVIDENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// Transitions compared at a time for evidence.
const PAGE: u32 = 256;
/// How far back the first difference is looked for.
const LOOK_BACK: u64 = 16_384;

/// A replica of this node that serves nothing any more, because it was found to differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The community.
    pub community: CommunityId,
    /// Its name.
    pub name: String,
    /// The replica.
    pub replica: ReplicaId,
    /// Where it was found to differ; it may have begun before.
    pub sequence: Sequence,
    /// For people.
    pub why: String,
}

/// What was noticed.
pub(crate) struct Difference {
    /// Up to where the replica is known to have been right.
    pub(crate) agreed: Sequence,
    /// Where it was compared.
    pub(crate) at: Sequence,
    pub(crate) own: Hash,
    /// What a majority has there; none if there is no majority.
    pub(crate) majority: Option<Hash>,
    /// A node whose replica has another digest, the majority's if there is one.
    pub(crate) witness: Option<NodeId>,
}

/// The quarantined replicas of a node, by community.
pub(crate) type QuarantinedHere = BTreeMap<CommunityId, Quarantined>;

impl Node {
    /// The replicas here that are quarantined.
    #[must_use]
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.quarantined_here().values().cloned().collect()
    }

    /// Why a replica must not be started, if it must not.
    pub(crate) fn is_quarantined(&self, hosted: &Hosted) -> Option<String> {
        let all = self.quarantined_here();
        let found = all.get(&hosted.community).filter(|found| found.replica == hosted.replica)?;
        Some(found.why.clone())
    }

    /// Takes a replica out of service for good, because of what it did.
    pub(crate) async fn quarantine(&self, here: &Arc<Community>, difference: Difference) {
        let quarantined = self.take_out(here, difference.at, words(&difference), true).await;
        let evidence = self.evidence(here, &quarantined, &difference).await;
        self.keep_evidence(&quarantined, &evidence);
    }

    /// From here on a replica serves nothing; unless it is `for_good`, only until the node is started again.
    async fn take_out(
        &self,
        here: &Arc<Community>,
        at: Sequence,
        why: String,
        for_good: bool,
    ) -> Quarantined {
        // First of all: from here on it answers nothing.
        here.set_quarantined(why.clone());
        metrics::counter!("althing_quarantines_total").increment(1);
        tracing::error!(community = %here.id(), name = here.hosted.name, replica = %here.hosted.replica, why, "a replica is quarantined");
        let quarantined = Quarantined {
            community: here.id(),
            name: here.hosted.name.clone(),
            replica: here.hosted.replica,
            sequence: at,
            why,
        };
        if !self.has_its_place(here) {
            return quarantined;
        }
        if for_good {
            self.quarantined_here().insert(here.id(), quarantined.clone());
            self.remember_quarantined().await;
        }
        here.group.transfer_leadership(None, HAND_OVER_TIMEOUT).await;
        if self.has_its_place(here) {
            self.shared().consensus.stop(here.id()).await;
        }
        quarantined
    }

    /// Whether no other replica has come in the place of this one: what it did is not that one's doing.
    fn has_its_place(&self, here: &Arc<Community>) -> bool {
        self.hosted(here.id()).is_some_and(|now| Arc::ptr_eq(&now, here))
    }

    /// A replica is gone, and with it its quarantine.
    pub(crate) async fn end_quarantine(&self, community: CommunityId) {
        if self.quarantined_here().remove(&community).is_some() {
            self.remember_quarantined().await;
        }
    }

    async fn remember_quarantined(&self) {
        let record = codec::encode(&self.quarantined());
        if let Err(error) = self.shared().store.archive.put_fact(FACT, record.into()).await {
            tracing::error!(error = refuse::chain(&error), "a quarantine could not be remembered");
        }
    }

    /// Both transitions of the first sequence that is known to differ, as far as they are held.
    async fn evidence(&self, here: &Community, who: &Quarantined, difference: &Difference) -> Value {
        let first = match difference.witness {
            Some(witness) => self.first_difference(here, difference, witness).await,
            None => None,
        };
        let (own, theirs) = first.unzip();
        json!({
            "community": who.community.0,
            "name": who.name,
            "replica": who.replica.0,
            "node": self.id().0,
            "why": who.why,
            "compared_at": difference.at.0,
            "agreed_up_to": difference.agreed.0,
            "own_digest": difference.own.to_string(),
            "majority_digest": difference.majority.map(|digest| digest.to_string()),
            "witness_node": difference.witness.map(|node| node.0),
            "own_transition": own.as_ref().map(shown),
            "witness_transition": theirs.as_ref().map(shown),
        })
    }

    async fn first_difference(
        &self,
        here: &Community,
        difference: &Difference,
        witness: NodeId,
    ) -> Option<(Transition, Transition)> {
        let oldest = here.feed.oldest().await.ok()?;
        let back = difference.at.0.saturating_sub(LOOK_BACK);
        let mut from = difference.agreed.next().max(oldest).max(Sequence(back));
        while from <= difference.at {
            let question = ReadHistory { from, limit: PAGE, wait: false };
            let theirs: HistoryRead = self
                .peers()
                .ask(witness, Lane::Bulk, here.id(), method::HISTORY, &question, EVIDENCE_TIMEOUT)
                .await
                .ok()?;
            let own = here.feed.read(from, PAGE as usize).await.ok()?;
            let mut pairs = own.into_iter().zip(theirs.transitions);
            let last = pairs.try_fold(None, |_, (own, theirs)| match own == theirs {
                true => Ok(Some(own.sequence)),
                false => Err(Box::new((own, theirs))),
            });
            match last {
                Err(pair) => return Some(*pair),
                Ok(last) => from = last?.next(),
            }
        }
        None
    }

    /// Writes the evidence where the node keeps it. Small, and once in a replica's life.
    fn keep_evidence(&self, who: &Quarantined, evidence: &Value) {
        let Some(folder) = self.evidence_folder() else {
            tracing::error!(%evidence, "the evidence of a difference");
            return;
        };
        let name =
            format!("community-{}-replica-{}-sequence-{}.json", who.community, who.replica, who.sequence);
        let file: PathBuf = folder.join(name);
        let written =
            std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, format!("{evidence:#}\n")));
        match written {
            Ok(()) => tracing::error!(file = %file.display(), "the evidence of a difference is kept"),
            Err(error) => {
                tracing::error!(%error, %evidence, "the evidence of a difference could not be kept")
            }
        }
    }
}

fn words(difference: &Difference) -> String {
    let Difference { at, own, majority, .. } = difference;
    match majority {
        Some(majority) => format!(
            "quarantined: at sequence {at} its digest is {own}, a majority has {majority}; bring it back with `althing member rebuild`"
        ),
        None => format!(
            "quarantined: at sequence {at} its digest is {own}, and no digest has a majority; keep the data directories \
             of all its nodes, and report it"
        ),
    }
}

/// A transition as JSON, in which bytes are text where they are, and hexadecimal where not.
fn shown(transition: &Transition) -> Value {
    readable(serde_json::to_value(transition).unwrap_or_default())
}

fn readable(value: Value) -> Value {
    match value {
        Value::Array(items) => match bytes(&items) {
            Some(bytes) => Value::String(text(bytes)),
            None => items.into_iter().map(readable).collect(),
        },
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, readable(value))).collect())
        }
        other => other,
    }
}

/// Bytes as text where they are, and in hexadecimal where not.
fn text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text,
        Ok(text) => hex::encode(text),
        Err(error) => hex::encode(error.into_bytes()),
    }
}

/// What a list of numbers stands for: nothing else in a transition is one.
fn bytes(items: &[Value]) -> Option<Vec<u8>> {
    if items.is_empty() {
        return None;
    }
    items.iter().map(|item| u8::try_from(item.as_u64()?).ok()).collect()
}

#[cfg(test)]
pub(crate) mod tests;
