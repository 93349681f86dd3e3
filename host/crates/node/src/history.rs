//! Reading and following a community's transitions, from any node.

use crate::{
    community::Community,
    node::Node,
    peer::{HistoryRead, ReadHistory, method},
    refuse,
};
use althing_consensus::peers::Lane;
use althing_core::{
    ids::{CommunityId, Sequence},
    refusal::{Code, Refusal},
    transition::Transition,
};
use futures::{StreamExt as _, stream::BoxStream};
use std::{sync::Arc, time::Duration};

/// Most transitions in one page.
pub(crate) const PAGE_MAX: u32 = 1024;
/// How long a node without a replica lets another wait for news before it asks again.
const FOLLOW_WAIT: Duration = Duration::from_secs(2);
/// How much longer it waits for the answer.
const FOLLOW_GRACE: Duration = Duration::from_secs(3);
/// How long to wait before another node is tried.
const PAUSE: Duration = Duration::from_millis(200);

impl Node {
    /// A page of transitions from `from` on (0: the oldest held), at most `limit` (1 to 1024).
    ///
    /// # Errors
    /// A refusal, [`Code::HistoryGone`] among them.
    pub async fn history(&self, community: &str, from: Sequence, limit: u32) -> Result<HistoryRead, Refusal> {
        let community = self.resolve(community).await?;
        let question = ReadHistory { from, limit, wait: false };
        match self.hosted(community) {
            Some(local) => self.history_here(&local, question).await,
            None => self.elsewhere(community, method::HISTORY, &question).await,
        }
    }

    /// Follows a community's transitions from `from` on (0: those to come), in order and without
    /// gaps; each item holds at least one. The stream ends with a refusal, if ever.
    ///
    /// # Errors
    /// There is no such community.
    pub async fn subscribe(
        &self,
        community: &str,
        from: Sequence,
    ) -> Result<BoxStream<'static, Result<Vec<Transition>, Refusal>>, Refusal> {
        let community = self.resolve(community).await?;
        let state = Following { node: self.clone(), community, next: from, failures: 0 };
        let follow = |mut state: Following| async move {
            let page = state.next().await?;
            let ends = page.is_err();
            Some((page, if ends { state.ended() } else { state }))
        };
        Ok(futures::stream::unfold(state, follow).boxed())
    }

    pub(crate) async fn history_here(
        &self,
        local: &Arc<Community>,
        question: ReadHistory,
    ) -> Result<HistoryRead, Refusal> {
        local.must_run()?;
        let limit = question.limit.clamp(1, PAGE_MAX) as usize;
        let newest = local.view().sequence();
        let oldest = local.feed.oldest().await?;
        let from = if question.from.0 == 0 && !question.wait { oldest } else { question.from };
        let transitions = if question.wait {
            let from = if from.0 == 0 { newest.next() } else { from };
            let news = local.feed.next(from, limit);
            self.runtime().timeout(FOLLOW_WAIT, news).await.unwrap_or(Ok(Vec::new()))?
        } else {
            local.feed.read(from, limit).await?
        };
        local.must_run()?;
        Ok(HistoryRead { transitions, oldest, newest })
    }
}

/// A subscriber: where it is.
struct Following {
    node: Node,
    community: CommunityId,
    next: Sequence,
    failures: u32,
}

/// After so many failures in a row a subscriber is told, rather than kept waiting.
const FAILURES_MAX: u32 = 50;

impl Following {
    /// The next page; none after the end.
    async fn next(&mut self) -> Option<Result<Vec<Transition>, Refusal>> {
        if self.failures > FAILURES_MAX {
            return None;
        }
        loop {
            let page = match self.node.hosted(self.community) {
                Some(local) => self.next_here(&local).await,
                None => self.next_elsewhere().await,
            };
            match page {
                Ok(transitions) if transitions.is_empty() => self.failures = 0,
                Ok(transitions) => {
                    self.failures = 0;
                    self.next = transitions.last().map_or(self.next, |last| last.sequence.next());
                    return Some(Ok(transitions));
                }
                Err(refusal) => {
                    let is_final =
                        matches!(refusal.code, Code::HistoryGone | Code::NoCommunity | Code::ReplicaStopped);
                    self.failures += 1;
                    if is_final || self.failures > FAILURES_MAX || self.node.find_id(self.community).is_none()
                    {
                        return Some(Err(refusal));
                    }
                    self.node.runtime().sleep(PAUSE).await;
                }
            }
        }
    }

    async fn next_here(&mut self, local: &Arc<Community>) -> Result<Vec<Transition>, Refusal> {
        local.must_run()?;
        if self.next.0 == 0 {
            self.next = local.view().sequence().next();
        }
        // The wait is bounded, so that a replica that stops meanwhile is noticed.
        let news = local.feed.next(self.next, PAGE_MAX as usize);
        let news = self.node.runtime().timeout(FOLLOW_WAIT, news).await.unwrap_or(Ok(Vec::new()))?;
        local.must_run().map(|()| news)
    }

    async fn next_elsewhere(&mut self) -> Result<Vec<Transition>, Refusal> {
        let question = ReadHistory { from: self.next, limit: PAGE_MAX, wait: true };
        let mut last = refuse::no_leader(self.community);
        for host in self.node.hosts(self.community) {
            let read: Result<HistoryRead, Refusal> = self
                .node
                .peers()
                .ask(host, Lane::Bulk, self.community, method::HISTORY, &question, FOLLOW_WAIT + FOLLOW_GRACE)
                .await;
            match read {
                Ok(read) => {
                    if self.next.0 == 0 {
                        // From now on means from this answer on, whichever node gives the next one.
                        self.next = read.newest.next();
                    }
                    return Ok(read.transitions);
                }
                Err(refusal) if refusal.code == Code::HistoryGone => return Err(refusal),
                Err(refusal) => last = refusal,
            }
        }
        Err(last)
    }

    fn ended(mut self) -> Self {
        self.failures = FAILURES_MAX + 1;
        self
    }
}
