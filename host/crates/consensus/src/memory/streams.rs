//! Streams: two directions, in order, each message with its own way through the link.

use super::{MemoryNetwork, carry::unreachable};
use crate::{
    peers::{PeerError, PeerRequest, PeerStream},
    runtime::Task,
};
use althing_core::ids::NodeId;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Most messages under way in one direction of a stream.
const UNDER_WAY_MAX: usize = 64;

type Item = Result<Bytes, PeerError>;

/// Both ends of both directions, and whose lives they depend on.
struct Line {
    network: MemoryNetwork,
    /// The node that asks, and its run.
    asker: (NodeId, u64),
    /// The node that is asked, and its life.
    asked: (NodeId, u64),
    // Weak, because each direction ends when its own pump does.
    to_asker: mpsc::WeakSender<Item>,
    to_asked: mpsc::WeakSender<Item>,
}

impl Line {
    fn is_alive(&self) -> bool {
        let links = self.network.links();
        links.run(self.asker.0) == self.asker.1 && links.lives_on(self.asked.0, self.asked.1)
    }

    /// Both ends learn that the stream broke; if their queues are full, by its end.
    fn break_off(&self) {
        for (end, other) in [(&self.to_asker, self.asked.0), (&self.to_asked, self.asker.0)] {
            if let Some(end) = end.upgrade() {
                let _ = end.try_send(Err(unreachable(other, "the stream broke")));
            }
        }
    }

    /// Carries what one end says to the other, until it ends, breaks or nobody listens.
    async fn pump(
        self: Arc<Self>,
        (from, to): (NodeId, NodeId),
        said: impl Stream<Item = Item> + Send,
        heard: mpsc::Sender<Item>,
    ) {
        let line = &self;
        let carried = said.map(|item| async move {
            let arrives = line.network.carry_in_stream(from, to).await;
            (item, arrives && line.is_alive())
        });
        let mut carried = std::pin::pin!(carried.buffered(UNDER_WAY_MAX));
        while let Some((item, arrives)) = carried.next().await {
            if !arrives {
                return self.break_off();
            }
            if heard.send(item).await.is_err() {
                return;
            }
        }
    }
}

impl MemoryNetwork {
    /// Opens a stream; waits for ever if the opening is lost.
    pub(super) async fn open(
        &self,
        asker: (NodeId, u64),
        to: NodeId,
        request: PeerRequest,
        input: BoxStream<'static, Bytes>,
    ) -> Result<PeerStream, PeerError> {
        let life = self.reach(asker, to, request.method).await?;
        let from = asker.0;
        let handler = life.handlers.of(to, request.method)?;
        let (to_asked, questions) = mpsc::channel(UNDER_WAY_MAX);
        let (to_asker, answers_heard) = mpsc::channel(UNDER_WAY_MAX);
        let heard: PeerStream = Box::pin(Receiver(questions));
        let answers = handler.stream(from, request.community, request.method, request.body, heard).await?;
        let network = self.clone();
        let line = Arc::new(Line {
            network,
            asker,
            asked: (to, life.number),
            to_asker: to_asker.downgrade(),
            to_asked: to_asked.downgrade(),
        });
        let questions = Arc::clone(&line).pump((from, to), input.map(Ok), to_asked);
        let answers = line.pump((to, from), answers, to_asker);
        let tasks = [
            self.runtime().spawn("stream of questions", questions),
            self.runtime().spawn("stream of answers", answers),
        ];
        Ok(Box::pin(Opened { answers: Receiver(answers_heard), tasks }))
    }
}

/// What the asker holds: dropping it ends both directions.
struct Opened {
    answers: Receiver,
    tasks: [Task; 2],
}

impl Stream for Opened {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.answers.0.poll_recv(context)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        for task in &self.tasks {
            (task.abort)();
        }
    }
}

struct Receiver(mpsc::Receiver<Item>);

impl Stream for Receiver {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.0.poll_recv(context)
    }
}
