//! The transitions that come along with an imported state, so that history and subscribers begin before
//! it: checked against the digest chain that ends in the state, and kept as any history is.

use crate::{node::Node, peer::method, refuse};
use althing_consensus::peers::Lane;
use althing_core::{
    codec::{self, DecodeError},
    digest,
    ids::{CommunityId, Hash, NodeId},
    refusal::{Code, Refusal},
    snapshot::ChunkRef,
    transition::{Cause, Transition},
};
use althing_store::port::HistoryRecord;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long one page may take to come from a peer.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Transitions, page by page, each page stored as a chunk; what the part `transitions` of an export holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The digest before the first of them.
    pub before: Hash,
    /// The pages, in order.
    pub pages: Vec<ChunkRef>,
}

impl Node {
    /// Keeps a community's history up to and including its import; pages come from `source`.
    ///
    /// # Errors
    /// A page cannot be had, or is not of the history that ends in the import; storage fails.
    pub(super) async fn take_history(
        &self,
        community: CommunityId,
        history: &History,
        imported: &Transition,
        source: NodeId,
    ) -> Result<(), Refusal> {
        let archive = &self.shared().store.archive;
        let mut chain = Chain { digest: history.before, last: None };
        for &page in &history.pages {
            let body = self.page(community, page, source).await?;
            let transitions: Vec<Transition> =
                codec::decode(&body).map_err(|error| unreadable(page, &error))?;
            chain.follow(&transitions)?;
            let Some(record) = record(&transitions, body) else { continue };
            let kept = archive.append_history(community, vec![record]).await;
            kept.map_err(|error| refuse::store(&error))?;
        }
        chain.must_end_in(imported)?;
        let imported = vec![imported.clone()];
        let body = codec::encode(&imported).into();
        let kept = archive.append_history(community, record(&imported, body).into_iter().collect()).await;
        kept.map_err(|error| refuse::store(&error))
    }

    async fn page(&self, community: CommunityId, page: ChunkRef, source: NodeId) -> Result<Bytes, Refusal> {
        let gone = || Refusal::new(Code::BadRequest, format!("page {} of the history is missing", page.hash));
        let body: Bytes = match source == self.id() {
            true => {
                let stored = self.shared().store.archive.chunk(page.hash).await;
                stored.map_err(|error| refuse::store(&error))?.ok_or_else(gone)?
            }
            false => {
                let peers = self.peers();
                peers.ask(source, Lane::Bulk, community, method::CHUNK, &page.hash, PAGE_TIMEOUT).await?
            }
        };
        if page.names(&body) { Ok(body) } else { Err(gone()) }
    }
}

fn record(transitions: &[Transition], body: Bytes) -> Option<HistoryRecord> {
    let (first, last) = (transitions.first()?.sequence, transitions.last()?.sequence);
    Some(HistoryRecord { first, last, body })
}

/// The digest chain, as far as it was followed.
struct Chain {
    digest: Hash,
    last: Option<althing_core::ids::Sequence>,
}

impl Chain {
    fn follow(&mut self, transitions: &[Transition]) -> Result<(), Refusal> {
        for transition in transitions {
            let is_next = self.last.is_none_or(|last| transition.sequence == last.next());
            if !is_next || digest::step(self.digest, transition) != transition.digest {
                return Err(broken(transition));
            }
            (self.digest, self.last) = (transition.digest, Some(transition.sequence));
        }
        Ok(())
    }

    /// It ends where the import begins; the import is its next link.
    fn must_end_in(&self, imported: &Transition) -> Result<(), Refusal> {
        let Cause::Import(origin) = &imported.cause else { return Err(broken(imported)) };
        let ends_there = self.last.is_none_or(|last| last == origin.sequence && self.digest == origin.digest);
        let goes_on = imported.sequence == origin.sequence.next()
            && imported.digest == digest::step(origin.digest, imported);
        if ends_there && goes_on { Ok(()) } else { Err(broken(imported)) }
    }
}

/// A page that is what its name says is whoever uploaded it to blame for.
fn unreadable(page: ChunkRef, error: &DecodeError) -> Refusal {
    Refusal::new(Code::BadRequest, format!("page {} of the history cannot be read: {error}", page.hash))
}

fn broken(at: &Transition) -> Refusal {
    let message = format!(
        "transition {} does not follow the history before it: this is no history of the imported state",
        at.sequence
    );
    Refusal::new(Code::BadRequest, message).with("sequence", at.sequence)
}

#[cfg(test)]
mod tests {
    use super::Chain;
    use althing_core::ids::Hash;
    use althing_core::{
        batch::{Batch, Command, OpenSession},
        ids::CommunityId,
        machine::Machine,
        origin::Origin,
        policy::Policy,
        testing::ScriptedPrograms,
        time::Timestamp,
        transition::Transition,
    };

    /// Three transitions, the digest before them, and the import of what they came to.
    fn history() -> (Hash, Vec<Transition>, Transition) {
        let mut machine = Machine::new(CommunityId(3), Policy::default());
        let before = machine.digest();
        let open = || Command::OpenSession(OpenSession { actor: Default::default() });
        let batch = Batch { stamp: Timestamp::new(5, 0), commands: vec![open(), open(), open()] };
        let told = machine.apply(&batch, &mut ScriptedPrograms::default()).unwrap().transitions;
        let origin = Origin {
            cluster: "00".into(),
            community: CommunityId(3),
            name: "guild".into(),
            sequence: machine.sequence(),
            digest: machine.digest(),
            seal: Hash([1; 32]),
        };
        let imported = machine.import(CommunityId(9), origin);
        (before, told, imported)
    }

    #[test]
    fn a_history_that_ends_in_the_import_is_taken_and_no_other() {
        let (before, told, imported) = history();
        let ends = |before: Hash, told: &[Transition], imported: &Transition| {
            let mut chain = Chain { digest: before, last: None };
            chain.follow(told).and_then(|()| chain.must_end_in(imported)).is_ok()
        };
        assert!(ends(before, &told, &imported));
        assert!(ends(told[0].digest, &told[1..], &imported), "from anywhere on");
        assert!(ends(Hash::default(), &[], &imported), "or nothing before it");
        assert!(!ends(before, &told[..2], &imported), "the end is missing");
        assert!(!ends(before, &told[1..], &imported), "the beginning is another");
        assert!(!ends(before, &[told[0].clone(), told[2].clone()], &imported), "a gap");
        let mut forged = told.clone();
        forged[1].fuel += 1;
        assert!(!ends(before, &forged, &imported));
        let mut forged = imported.clone();
        forged.fuel += 1;
        assert!(!ends(before, &told, &forged));
        assert!(!ends(before, &told[..2], &told[2]), "no import at all");
    }
}
