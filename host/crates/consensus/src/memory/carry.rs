//! How one message gets from one node to another, and how a question is asked.

use super::{MemoryNetwork, links::Life};
use crate::peers::{PeerError, PeerRequest};
use althing_core::ids::NodeId;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often something that stalls looks whether it can go on.
const STALL_STEP: Duration = Duration::from_millis(5);

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
}

impl MemoryNetwork {
    /// Draws how long a message takes and what becomes of it.
    fn draw(&self, from: NodeId, to: NodeId) -> (Duration, Fate) {
        let link = self.links().link(from, to);
        let random = self.runtime().random();
        let span =
            u64::try_from((link.latency_max.saturating_sub(link.latency_min)).as_micros()).unwrap_or(0);
        let latency = link.latency_min + Duration::from_micros((random >> 16) % (span + 1));
        let is_lost = random % 1000 < u64::from(link.loss_permille);
        (latency, if is_lost { Fate::Lost } else { Fate::Arrives })
    }

    /// Carries a lone message: arrives, or is never heard of.
    async fn carry_alone(&self, from: NodeId, to: NodeId) {
        let (latency, fate) = self.draw(from, to);
        self.runtime().sleep(latency).await;
        if fate == Fate::Lost || self.links().is_cut(from, to) {
            futures::future::pending::<()>().await;
        }
    }

    /// Carries a message of a stream: stalls on a cut, and false when the stream breaks.
    pub(super) async fn carry_in_stream(&self, from: NodeId, to: NodeId) -> bool {
        let (latency, fate) = self.draw(from, to);
        self.runtime().sleep(latency).await;
        while self.links().is_cut(from, to) {
            self.runtime().sleep(STALL_STEP).await;
        }
        fate == Fate::Arrives
    }

    /// The life of the node that is asked, once the question got there.
    pub(super) async fn reach(
        &self,
        (from, run): (NodeId, u64),
        to: NodeId,
        method: &'static str,
    ) -> Result<Life, PeerError> {
        self.links().count_attempt(from, method);
        self.carry_alone(from, to).await;
        let links = self.links();
        if links.run(from) != run {
            return Err(unreachable(to, "the asking node went down"));
        }
        links.life(to).cloned().ok_or_else(|| unreachable(to, "nobody listens"))
    }

    /// Asks and waits for the answer; for ever, if question or answer is lost.
    pub(super) async fn ask(
        &self,
        (from, run): (NodeId, u64),
        to: NodeId,
        request: PeerRequest,
    ) -> Result<Bytes, PeerError> {
        let life = self.reach((from, run), to, request.method).await?;
        let is_twice = {
            let link = self.links().link(from, to);
            self.runtime().random() % 1000 < u64::from(link.twice_permille)
        };
        let handler = life.handlers.of(to, request.method)?;
        let (sender, receiver) = oneshot::channel();
        // In a task of its own: whoever is asked goes on when the asker has lost patience.
        let asked = request.clone();
        let first = std::sync::Arc::clone(&handler);
        let _detached = self.runtime().spawn("peer call", async move {
            let answer = first.call(from, asked.community, asked.method, asked.body).await;
            let _ = sender.send(answer);
        });
        if is_twice {
            let _detached = self.runtime().spawn("peer call again", async move {
                let _ = handler.call(from, request.community, request.method, request.body).await;
            });
        }
        let answer = receiver.await.map_err(|_| unreachable(to, "it broke off"))?;
        self.carry_alone(to, from).await;
        let links = self.links();
        if links.lives_on(to, life.number) && links.run(from) == run {
            answer
        } else {
            Err(unreachable(to, "it went down"))
        }
    }
}

pub(super) fn unreachable(node: NodeId, why: &str) -> PeerError {
    PeerError::Unreachable { node, why: why.into() }
}
