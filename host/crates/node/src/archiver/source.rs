//! Where history comes from when it is archived: from here, and what is not held here any more from the other nodes.
//! Nothing is taken that does not go on with what the archive has.

use super::course::Trouble;
use crate::{
    community::Community,
    directory::view::DirectoryView,
    node::Node,
    peer::{HistoryRead, ReadHistory, method},
};
use althing_consensus::peers::Lane;
use althing_core::{
    ids::{Hash, NodeId, Sequence},
    refusal::{Code, Refusal},
    segment::{Misfit, must_follow},
    transition::Transition,
};
use std::time::Duration;

/// Transitions read at a time.
const PAGE: u32 = 256;
/// How long another node may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where to read on.
pub(super) struct Source<'a> {
    pub(super) node: &'a Node,
    pub(super) here: &'a Community,
    pub(super) at: Sequence,
    /// The digest before it; none: not known.
    pub(super) before: Option<Hash>,
}

impl Source<'_> {
    /// Transitions from `at` on, at least one; none when nobody holds it.
    ///
    /// # Errors
    /// It parts from what comes before; or somebody who may hold it does not answer.
    pub(super) async fn page(&self) -> Result<Option<Vec<Transition>>, Trouble> {
        match self.here.feed.read(self.at, PAGE as usize).await {
            Ok(page) => {
                self.check(&page).map_err(|misfit| Trouble::Parts { misfit })?;
                if page.is_empty() { Err(self.behind()) } else { Ok(Some(page)) }
            }
            Err(refusal) if is_gone(&refusal) => self.page_elsewhere().await,
            Err(refusal) => Err(Trouble::refused(&refusal)),
        }
    }

    /// The oldest sequence behind `at` that somebody holds; none when there is none yet.
    ///
    /// # Errors
    /// Somebody who may hold `at` itself does not answer.
    pub(super) async fn oldest_after(&self) -> Result<Option<Sequence>, Trouble> {
        let own = self.here.feed.oldest().await.map_err(|refusal| Trouble::refused(&refusal))?;
        let mut oldest = vec![own];
        for (_, read) in self.ask_all(1).await? {
            oldest.push(read.oldest);
        }
        let newest = self.here.view().sequence();
        Ok(oldest.into_iter().filter(|&oldest| oldest > self.at && oldest <= newest).min())
    }

    async fn page_elsewhere(&self) -> Result<Option<Vec<Transition>>, Trouble> {
        for (from, read) in self.ask_all(PAGE).await? {
            if read.transitions.first().is_none_or(|first| first.sequence != self.at) {
                continue;
            }
            match self.check(&read.transitions) {
                Ok(()) => return Ok(Some(read.transitions)),
                Err(misfit) => {
                    let community = self.here.id();
                    tracing::error!(%community, %from, %misfit, "a node's history parts from the archive: not taken");
                }
            }
        }
        Ok(None)
    }

    /// What every other node with a replica holds from `at` on; of those that do not hold `at`, from their oldest on.
    async fn ask_all(&self, limit: u32) -> Result<Vec<(NodeId, HistoryRead)>, Trouble> {
        let (mut read, mut silent) = (Vec::new(), Vec::new());
        for node in self.others() {
            match self.ask(node, self.at, limit).await {
                Ok(page) => read.push((node, page)),
                Err(refusal) if is_gone(&refusal) => {
                    // From its oldest on: to learn where that is.
                    if let Ok(page) = self.ask(node, Sequence(0), 1).await {
                        read.push((node, page));
                    }
                }
                // It has no replica, or not yet.
                Err(refusal) if matches!(refusal.code, Code::NoReplica | Code::NoCommunity) => {}
                Err(_) => silent.push(node),
            }
        }
        let is_there = read
            .iter()
            .any(|(_, page)| page.transitions.first().is_some_and(|first| first.sequence == self.at));
        if silent.is_empty() || is_there {
            return Ok(read);
        }
        Err(Trouble::Awaits { at: self.at, nodes: silent })
    }

    async fn ask(&self, node: NodeId, from: Sequence, limit: u32) -> Result<HistoryRead, Refusal> {
        let question = ReadHistory { from, limit, wait: false };
        let community = self.here.id();
        self.node.peers().ask(node, Lane::Bulk, community, method::HISTORY, &question, TIMEOUT).await
    }

    /// The other nodes that have a replica, as the directory says.
    fn others(&self) -> Vec<NodeId> {
        let directory = self.node.directory();
        let record = DirectoryView(&directory).community(self.here.id());
        let replicas = record.map(|record| record.replicas).unwrap_or_default();
        let nodes = replicas.values().map(|replica| replica.node);
        nodes.filter(|&node| node != self.node.id()).collect()
    }

    fn check(&self, page: &[Transition]) -> Result<(), Misfit> {
        let (mut at, mut before) = (self.at, self.before);
        for transition in page {
            must_follow(at, before, transition)?;
            (at, before) = (at.next(), Some(transition.digest));
        }
        Ok(())
    }

    fn behind(&self) -> Trouble {
        Trouble::History(format!("transition {} is not told yet", self.at))
    }
}

fn is_gone(refusal: &Refusal) -> bool {
    refusal.code == Code::HistoryGone
}
