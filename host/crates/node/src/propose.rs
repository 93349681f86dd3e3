//! The proposer: packs what is asked at the same time into one batch.
//!
//! One for each replica; only the leader's has anything to do. It is adaptive without a timer: a
//! lone command is proposed at once, and while [`UNDER_WAY_MAX`] batches are being replicated the
//! commands that come in gather for the next. It also proposes an empty batch when a timer falls
//! due on an idle community.

use crate::{execute::Published, refuse, shown::Shown, submit::each_operation};
use althing_consensus::{
    port::{Committed, GroupHandle, ProposeError, Role},
    runtime::Runtime,
};
use althing_core::{
    batch::{Batch, Command},
    codec,
    ids::CommunityId,
    limits,
    refusal::{Code, Refusal},
    time::Hlc,
    transition::Reply,
};
use bytes::Bytes;
use futures::{
    StreamExt as _,
    future::{BoxFuture, FutureExt as _},
    stream::FuturesUnordered,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// Batches that are replicated at the same time: enough to keep the disks busy, few enough that
/// commands gather.
const UNDER_WAY_MAX: usize = 2;
/// Commands that may wait; more are refused with [`Code::Busy`].
const WAITING_MAX: usize = 8192;
/// Bytes of commands that may wait.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// The least between two batches that only let timers fire, so that a program that sets a timer for
/// now, again and again, costs little.
const TIMER_PAUSE: Duration = Duration::from_millis(10);
/// What a command weighs besides its payload.
const COMMAND_BYTES: usize = 128;

const _: () = assert!(WAITING_BYTES_MAX >= limits::BATCH_BYTES_MAX, "a full batch may wait");

/// What becomes of a command.
pub(crate) type Answer = oneshot::Receiver<Result<Reply, Refusal>>;

struct Waiting {
    command: Command,
    bytes: usize,
    answer: oneshot::Sender<Result<Reply, Refusal>>,
    _room: OwnedSemaphorePermit,
}

/// The handle; cheap to clone. The proposer ends with the last clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    community: CommunityId,
    sender: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

impl Proposer {
    /// The handle and the task to spawn.
    pub(crate) fn new(
        group: GroupHandle,
        published: Shown<Published>,
        runtime: Runtime,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let community = group.community();
        let status = group.status();
        let task = Packing {
            group,
            status,
            published,
            runtime,
            receiver,
            clock: Hlc::default(),
            held_over: None,
            timers_at: Duration::ZERO,
        };
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
        (Self { community, sender, room }, task.run())
    }

    /// Takes commands over for proposal, all or none, in their order and in the order of calls.
    ///
    /// # Errors
    /// [`Code::Busy`] when too much is waiting.
    pub(crate) fn enqueue(&self, commands: Vec<Command>) -> Result<Vec<Answer>, Refusal> {
        let places = self.sender.try_reserve_many(commands.len()).map_err(|_| self.busy())?;
        let sizes: Vec<usize> = commands.iter().map(size).collect();
        let mut rooms = Vec::with_capacity(sizes.len());
        for &bytes in &sizes {
            let room = self.room.clone().try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
            rooms.push(room.map_err(|_| self.busy())?);
        }
        let mut answers = Vec::with_capacity(commands.len());
        for (((place, command), bytes), room) in places.zip(commands).zip(sizes).zip(rooms) {
            let (answer, receiver) = oneshot::channel();
            place.send(Waiting { command, bytes, answer, _room: room });
            answers.push(receiver);
        }
        Ok(answers)
    }

    /// How many commands wait to be packed.
    pub(crate) fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    fn busy(&self) -> Refusal {
        Refusal::new(
            Code::Busy,
            format!("community {} has as many operations waiting as it may: retry later", self.community),
        )
    }
}

/// What a command takes in a batch, in bytes, generously.
fn size(command: &Command) -> usize {
    COMMAND_BYTES
        + match command {
            Command::Operation(operation) => {
                operation.payload.len()
                    + operation.actor.id.len()
                    + operation.actor.roles.iter().map(String::len).sum::<usize>()
            }
            Command::OpenSession(opening) => opening.actor.id.len(),
            Command::Activate(activation) => {
                let program = &activation.program;
                program.config.len()
                    + program.validators.iter().map(|validator| validator.config.len() + 64).sum::<usize>()
            }
            Command::SetPolicy(_) => 256,
        }
}

/// A batch under way: resolves when its callers have been told.
type UnderWay = FuturesUnordered<BoxFuture<'static, ()>>;

/// The task.
struct Packing {
    group: GroupHandle,
    status: watch::Receiver<althing_consensus::port::GroupStatus>,
    published: Shown<Published>,
    runtime: Runtime,
    receiver: mpsc::Receiver<Waiting>,
    clock: Hlc,
    /// Came out of the queue and did not fit into the batch before.
    held_over: Option<Waiting>,
    /// When timers alone may next be given a batch.
    timers_at: Duration,
}

impl Packing {
    async fn run(mut self) {
        let mut under_way = UnderWay::new();
        loop {
            let has_room = under_way.len() < UNDER_WAY_MAX;
            if has_room && let Some(first) = self.held_over.take() {
                self.propose(Some(first), &mut under_way).await;
                continue;
            }
            let timer = if under_way.is_empty() { self.timer() } else { futures::future::pending().boxed() };
            tokio::select! {
                biased;
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                first = self.receiver.recv(), if has_room => match first {
                    Some(first) => self.propose(Some(first), &mut under_way).await,
                    None => break,
                },
                () = timer => {
                    self.timers_at = self.runtime.monotonic() + TIMER_PAUSE;
                    self.propose(None, &mut under_way).await;
                }
                Ok(()) = self.status.changed() => {}
            }
        }
        while under_way.next().await.is_some() {}
    }

    /// Ready when a timer is due and this replica leads.
    fn timer(&self) -> BoxFuture<'static, ()> {
        let is_leader = self.status.borrow().role == Role::Leader;
        let next = self.published.read(|published| published.view.next_timer());
        match next {
            Some(at) if is_leader => {
                let runtime = self.runtime.clone();
                // One millisecond more: what falls into a millisecond's middle is past by then.
                let due = Duration::from_millis((at.millis() + 1).saturating_sub(runtime.wall_millis()));
                let wait = due.max(self.timers_at.saturating_sub(runtime.monotonic()));
                async move { runtime.sleep(wait).await }.boxed()
            }
            _ => futures::future::pending().boxed(),
        }
    }

    /// Proposes `first` with everything that is waiting and fits; or, without `first`, an empty batch.
    #[tracing::instrument(name = "propose", level = "debug", skip_all, fields(community = %self.group.community(), commands))]
    async fn propose(&mut self, first: Option<Waiting>, under_way: &mut UnderWay) {
        let (commands, answers) = self.pack(first);
        tracing::Span::current().record("commands", commands.len());
        each_operation(&commands, |operation| tracing::debug!(%operation, "proposed"));
        let last = self.published.read(|published| published.view.time());
        let stamp = self.clock.stamp(self.runtime.wall_millis(), last);
        let payload = Bytes::from(codec::encode(&Batch { stamp, commands }));
        metrics::histogram!("althing_batch_commands").record(answers.len() as f64);
        let community = self.group.community();
        match self.group.propose(payload).await {
            Ok(outcome) => under_way.push(
                async move {
                    let outcome = outcome.await.unwrap_or(Err(ProposeError::Unknown));
                    tell(community, answers, outcome);
                }
                .boxed(),
            ),
            Err(error) => tell(community, answers, Err(error)),
        }
    }

    fn pack(&mut self, first: Option<Waiting>) -> (Vec<Command>, Vec<Told>) {
        let mut commands = Vec::new();
        let mut answers = Vec::new();
        let mut bytes = 0;
        let mut next = first;
        while let Some(waiting) = next {
            bytes += waiting.bytes;
            if bytes > limits::BATCH_BYTES_MAX && !commands.is_empty() {
                self.held_over = Some(waiting);
                break;
            }
            commands.push(waiting.command);
            answers.push(Told { answer: waiting.answer, _room: waiting._room });
            next = (commands.len() < limits::BATCH_COMMANDS_MAX)
                .then(|| self.receiver.try_recv().ok())
                .flatten();
        }
        (commands, answers)
    }
}

/// Who waits for a command under way.
struct Told {
    answer: oneshot::Sender<Result<Reply, Refusal>>,
    _room: OwnedSemaphorePermit,
}

/// Tells the callers of a batch. Those who gave up are not there any more, which is no error.
fn tell(community: CommunityId, answers: Vec<Told>, outcome: Result<Committed, ProposeError>) {
    match outcome {
        Ok(committed) => {
            debug_assert_eq!(committed.replies.len(), answers.len(), "one reply for each command");
            for (told, reply) in answers.into_iter().zip(committed.replies.iter()) {
                let _ = told.answer.send(Ok(reply.clone()));
            }
        }
        Err(error) => {
            let refusal = refuse::propose(community, error);
            for told in answers {
                let _ = told.answer.send(Err(refusal.clone()));
            }
        }
    }
}
