//! The proposer: packs what is asked at the same time into one batch.
//!
//! One for each replica; only the leader's has anything to do. It is adaptive without a timer: a
//! lone command is proposed at once, and while a batch is being replicated the commands that come in
//! gather for the next. That one goes when the other is done, or earlier when [`WORTH_ANOTHER`]
//! commands are there: a batch costs every replica a transaction, messages and an instance, whatever
//! it holds, so small ones at the same time only take the processor from each other. It also proposes
//! an empty batch when a timer falls due on an idle community.

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
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// Batches that are replicated at the same time.
const UNDER_WAY_MAX: usize = 3;
/// Commands that are worth a batch while another is under way.
const WORTH_ANOTHER: usize = 128;
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
            gathered: VecDeque::new(),
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
    /// Out of the queue, for the next batch; at most as many as one holds.
    gathered: VecDeque<Waiting>,
    /// When timers alone may next be given a batch.
    timers_at: Duration,
}

impl Packing {
    async fn run(mut self) {
        let mut under_way = UnderWay::new();
        let (mut taken, mut is_closed) = (Vec::new(), false);
        while !is_closed || !self.gathered.is_empty() {
            if self.is_worth_a_batch(under_way.len()) {
                self.propose(&mut under_way).await;
                continue;
            }
            let may_take = limits::BATCH_COMMANDS_MAX - self.gathered.len();
            let timer = if under_way.is_empty() { self.timer() } else { futures::future::pending().boxed() };
            tokio::select! {
                biased;
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                count = self.receiver.recv_many(&mut taken, may_take), if may_take > 0 && !is_closed => {
                    is_closed = count == 0;
                    self.gathered.extend(taken.drain(..));
                }
                () = timer => {
                    self.timers_at = self.runtime.monotonic() + TIMER_PAUSE;
                    self.propose(&mut under_way).await;
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

    /// Whether what has gathered goes now.
    fn is_worth_a_batch(&self, under_way: usize) -> bool {
        match under_way {
            0 => !self.gathered.is_empty(),
            _ => under_way < UNDER_WAY_MAX && self.gathered.len() >= WORTH_ANOTHER,
        }
    }

    /// Proposes what has gathered, as far as it fits into a batch; nothing is a batch too.
    #[tracing::instrument(name = "propose", level = "debug", skip_all, fields(community = %self.group.community(), commands))]
    async fn propose(&mut self, under_way: &mut UnderWay) {
        let (commands, answers) = self.pack();
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

    fn pack(&mut self) -> (Vec<Command>, Vec<Told>) {
        let mut bytes = 0;
        let fits = self.gathered.iter().position(|waiting| {
            bytes += waiting.bytes;
            bytes > limits::BATCH_BYTES_MAX
        });
        // A command that is larger than a batch goes alone.
        let count = fits.unwrap_or(self.gathered.len()).max(1).min(self.gathered.len());
        let packed = self.gathered.drain(..count);
        packed.map(|waiting| (waiting.command, Told { answer: waiting.answer, _room: waiting._room })).unzip()
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
