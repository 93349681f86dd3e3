//! Quarantine for what a replica holds: its history is right, and its state is not what that came to.
//! Memory that was damaged where nothing has read or written since shows in no digest. It shows in the
//! state root of a snapshot, or in a chunk that is encoded again and is another.

use super::{EVIDENCE_TIMEOUT, text};
use crate::{community::Community, node::Node, peer::method, roots::Root};
use althing_consensus::peers::Lane;
use althing_core::{
    ids::{CommunityId, Hash, NodeId, Sequence},
    snapshot::{ChunkRef, Manifest, PairDifference, Rechecked, first_difference},
    state::Keyspace,
    view::View,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// What is shown of a value, in bytes.
const SHOWN_BYTES_MAX: usize = 1024;

/// A state root that is not the majority's, at a digest that is.
pub(crate) struct OtherRoot {
    pub(crate) own: Root,
    /// What a majority has there; none if there is no majority.
    pub(crate) majority: Option<Hash>,
    /// A node whose replica has another root, the majority's if there is one.
    pub(crate) witness: NodeId,
}

impl Node {
    /// Takes a replica out of service for good, because of the state root of its snapshot.
    pub(crate) async fn quarantine_for_root(&self, here: &Arc<Community>, difference: OtherRoot) {
        let OtherRoot { own, majority, witness } = difference;
        let quarantined = self.take_out(here, own.sequence, words(own, majority), true).await;
        let pair = self.first_pair(here.id(), own.sequence, witness).await;
        let evidence = json!({
            "community": quarantined.community.0,
            "name": quarantined.name,
            "replica": quarantined.replica.0,
            "node": self.id().0,
            "why": quarantined.why,
            "compared_at": own.sequence.0,
            "digest": own.digest.to_string(),
            "own_state_root": own.root.to_string(),
            "majority_state_root": majority.map(|root| root.to_string()),
            "witness_node": witness.0,
            "first_pair": pair.map(|pair| shown(pair, "witness_value")),
        });
        self.keep_evidence(&quarantined, &evidence);
    }

    /// Takes a replica out of service, because a chunk of its live state is another than when it was cut.
    /// One that has no other replica to come back from is not kept out for good: what it stored is sound.
    pub(crate) async fn quarantine_for_memory(&self, here: &Arc<Community>, view: &View, chunk: &Rechecked) {
        let is_alone = here.status().voters.len() < 2;
        let at = view.sequence();
        let what = format!(
            "quarantined: the chunk {} of its live state, cut at sequence {at}, is another by now: memory of this \
             machine was damaged",
            chunk.known.hash
        );
        let remedy = match is_alone {
            true => "start this node again: it restores the snapshot and executes the log above it",
            false => "bring it back with `althing member rebuild`",
        };
        let quarantined = self.take_out(here, at, format!("{what}; {remedy}"), !is_alone).await;
        let stored = self.shared().store.archive.chunk(chunk.known.hash).await.ok().flatten();
        let pair = stored.and_then(|stored| first_difference(&chunk.found.bytes, &stored).ok()?);
        let evidence = json!({
            "community": quarantined.community.0,
            "name": quarantined.name,
            "replica": quarantined.replica.0,
            "node": self.id().0,
            "why": quarantined.why,
            "cut_at": at.0,
            "digest": view.digest().to_string(),
            "chunk": chunk.known.hash.to_string(),
            "chunk_now": chunk.found.hash.to_string(),
            "first_pair": pair.map(|pair| shown(pair, "stored_value")),
        });
        self.keep_evidence(&quarantined, &evidence);
    }

    /// The first pair in which the snapshots of this node and of a witness differ.
    async fn first_pair(
        &self,
        community: CommunityId,
        at: Sequence,
        witness: NodeId,
    ) -> Option<PairDifference> {
        let archive = &self.shared().store.archive;
        let records = archive.snapshots(community).await.ok()?;
        let own = records.into_iter().find(|record| record.sequence == at)?;
        let theirs: Option<Bytes> = self
            .peers()
            .ask(witness, Lane::Bulk, community, method::MANIFEST, &at, EVIDENCE_TIMEOUT)
            .await
            .ok()?;
        let [own, theirs] = [own.manifest, theirs?].map(|manifest| Manifest::decode(&manifest).ok());
        // The same chunks lie before it, so both begin with the same key.
        let mut pairs = own?.chunks.into_iter().zip(theirs?.chunks);
        let (own, theirs): (ChunkRef, ChunkRef) = pairs.find(|(own, theirs)| own != theirs)?;
        let own = archive.chunk(own.hash).await.ok()??;
        let fetched: Bytes = self
            .peers()
            .ask(witness, Lane::Bulk, community, method::CHUNK, &theirs.hash, EVIDENCE_TIMEOUT)
            .await
            .ok()?;
        first_difference(&own, &fetched).ok()?
    }
}

fn words(own: Root, majority: Option<Hash>) -> String {
    let Root { sequence, root, .. } = own;
    match majority {
        Some(majority) => format!(
            "quarantined: at sequence {sequence} its digest is the majority's, and its state is not: its root is {root}, \
             theirs {majority}; memory of this machine was damaged; bring it back with `althing member rebuild`"
        ),
        None => format!(
            "quarantined: at sequence {sequence} its digest is that of the others, its state root is {root}, and no state \
             root has a majority; keep the data directories of all its nodes, and report it"
        ),
    }
}

fn shown(pair: PairDifference, other: &str) -> Value {
    let PairDifference { key, own, other: theirs } = pair;
    let keyspace = match key.first() {
        Some(&byte) if byte == Keyspace::System as u8 => "system",
        _ => "program",
    };
    let cut = |value: Bytes| text(value.slice(..value.len().min(SHOWN_BYTES_MAX)).into());
    json!({
        "keyspace": keyspace,
        "key": text(key.slice(key.len().min(1)..).into()),
        "own_value": own.map(cut),
        other: theirs.map(cut),
    })
}
