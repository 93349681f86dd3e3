//! The state machine as openraft sees it: a stream of committed entries in, replies out.
//!
//! Takes what is ready at once, up to a bound, so that a busy group's machine is asked once for many
//! entries and an idle one's never waits.

use super::{
    closing::Life,
    purge::Floor,
    records::{self, StoredMembershipRecord, decode, encode},
    types::{Entry, Executed, Leader, LogId, Payload, StoredMembership, Types},
};
use crate::port::{
    AppliedState, CommittedEntry, EntryPayload, Member, SnapshotBuilder, SnapshotHandle, StateMachine,
};
use althing_core::program::Fault;
use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _};
use openraft::{
    AsyncRuntime, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};
use std::{
    error::Error as _,
    fmt::Write as _,
    io,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};
use tokio::sync::Mutex;

/// Most entries that the machine is asked to execute at once.
const ENTRIES_MAX: usize = 512;
/// Most bytes of proposals that it is asked to execute at once, but for a single larger one.
const BYTES_MAX: usize = 8 << 20;

/// Where a group says why it stopped.
pub(crate) type FaultSlot = Arc<OnceLock<String>>;

type Meta = SnapshotMeta<Leader, u64, Member>;

/// A state machine under openraft.
pub(crate) struct Machine<RT> {
    /// Never locked: only makes the machine shareable for openraft, which never shares it.
    machine: Mutex<Box<dyn StateMachine>>,
    fault: FaultSlot,
    floor: Floor,
    life: Life,
    runtime: PhantomData<fn() -> RT>,
}

/// A snapshot that is being built.
pub(crate) struct Builder<RT> {
    builder: Mutex<Result<Box<dyn SnapshotBuilder>, Option<io::Error>>>,
    fault: FaultSlot,
    floor: Floor,
    life: Life,
    runtime: PhantomData<fn() -> RT>,
}

impl<RT> Machine<RT> {
    pub(crate) fn new(machine: Box<dyn StateMachine>, fault: FaultSlot, floor: Floor, life: Life) -> Self {
        Self { machine: Mutex::new(machine), fault, floor, life, runtime: PhantomData }
    }

    async fn execute(&mut self, entries: Vec<CommittedEntry>) -> io::Result<Vec<Executed>> {
        let count = entries.len();
        let replies = self
            .life
            .unless_closing(self.machine.get_mut().apply(entries))
            .await?
            .map_err(|fault| stop(&self.fault, &fault))?;
        assert_eq!(replies.len(), count, "a state machine replies to every entry");
        Ok(replies.into_iter().map(|replies| Executed { replies }).collect())
    }
}

impl<RT: AsyncRuntime> RaftStateMachine<Types<RT>> for Machine<RT> {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder<RT>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.machine.get_mut().applied().await.map_err(|fault| stop(&self.fault, &fault))?;
        let meta = meta(&applied)?;
        Ok((meta.last_log_id, meta.last_membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types<RT>>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(first) = entries.next().await {
            let (ready, responders) = take_ready(first?, &mut entries)?;
            let executed = self.execute(ready).await?;
            for (responder, executed) in responders.into_iter().zip(executed) {
                if let Some(responder) = responder {
                    responder.send(executed);
                }
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<RT> {
        let captured = self.machine.get_mut().capture().await;
        let builder = captured.map_err(|fault| Some(stop(&self.fault, &fault)));
        let (fault, floor, life) = (Arc::clone(&self.fault), self.floor.clone(), self.life.clone());
        Builder { builder: Mutex::new(builder), fault, floor, life, runtime: PhantomData }
    }

    async fn install_snapshot(&mut self, meta: &Meta, manifest: Bytes) -> Result<(), io::Error> {
        let snapshot = SnapshotHandle { applied: applied(meta), manifest };
        self.machine.get_mut().install(snapshot).await.map_err(|fault| stop(&self.fault, &fault))
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<Leader, u64, Member, Bytes>>, io::Error> {
        let newest = self.machine.get_mut().snapshot().await.map_err(|fault| stop(&self.fault, &fault))?;
        newest.map(snapshot).transpose()
    }
}

impl<RT: AsyncRuntime> RaftSnapshotBuilder<Types<RT>> for Builder<RT> {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot<Leader, u64, Member, Bytes>, io::Error> {
        match self.builder.get_mut() {
            Ok(builder) => {
                let built = self
                    .life
                    .unless_closing(builder.build())
                    .await?
                    .map_err(|fault| stop(&self.fault, &fault))?;
                self.floor.set(builder.falls_back_to());
                snapshot(built)
            }
            Err(error) => Err(error.take().unwrap_or_else(|| io::Error::other("no state was captured"))),
        }
    }
}

type Ready<RT> = (Vec<CommittedEntry>, Vec<Option<ApplyResponder<Types<RT>>>>);

/// The first entry and those that are ready behind it.
fn take_ready<RT, S>(first: EntryResponder<Types<RT>>, entries: &mut S) -> io::Result<Ready<RT>>
where
    RT: AsyncRuntime,
    S: Stream<Item = Result<EntryResponder<Types<RT>>, io::Error>> + Unpin,
{
    let mut bytes = 0;
    let (mut ready, mut responders) = (Vec::new(), Vec::new());
    let mut next = Some(Ok(first));
    while let Some(item) = next {
        let (entry, responder) = item?;
        let entry = committed(entry);
        if let EntryPayload::Proposal(payload) = &entry.payload {
            bytes += payload.len();
        }
        ready.push(entry);
        responders.push(responder);
        if ready.len() >= ENTRIES_MAX || bytes >= BYTES_MAX {
            break;
        }
        next = entries.next().now_or_never().flatten();
    }
    Ok((ready, responders))
}

/// An entry as the port shows it.
pub(super) fn committed(entry: Entry) -> CommittedEntry {
    let position = records::position(&entry.log_id);
    let payload = match entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Normal(proposal) => EntryPayload::Proposal(proposal.0),
        Payload::Membership(membership) => {
            let stored = StoredMembership::new(Some(entry.log_id), membership);
            EntryPayload::Membership(encode::<StoredMembershipRecord, _>(&stored))
        }
    };
    CommittedEntry { position, payload }
}

fn snapshot(handle: SnapshotHandle) -> io::Result<Snapshot<Leader, u64, Member, Bytes>> {
    Ok(Snapshot { meta: meta(&handle.applied)?, snapshot: handle.manifest })
}

fn meta(applied: &AppliedState) -> io::Result<Meta> {
    let last_log_id = applied.position.as_ref().map(records::log_id).transpose().map_err(io::Error::other)?;
    let membership = applied.membership.as_ref();
    let last_membership = membership
        .map(|bytes| decode::<StoredMembershipRecord, StoredMembership>(bytes))
        .transpose()
        .map_err(io::Error::other)?
        .unwrap_or_default();
    Ok(Meta { last_log_id, last_membership })
}

/// How far an offered snapshot is, by the word of its offer.
pub(super) fn applied(meta: &Meta) -> AppliedState {
    let membership = &meta.last_membership;
    AppliedState {
        position: meta.last_log_id.as_ref().map(records::position),
        membership: membership.log_id().is_some().then(|| encode::<StoredMembershipRecord, _>(membership)),
    }
}

/// Keeps the first fault of the group with its causes, and makes of it what stops openraft.
fn stop(slot: &FaultSlot, fault: &Fault) -> io::Error {
    let mut why = fault.to_string();
    let mut cause = fault.source();
    while let Some(error) = cause {
        write!(why, ": {error}").expect("writing to memory cannot fail");
        cause = error.source();
    }
    tracing::error!(fault = why, "a state machine failed: its group stops on this node");
    let _ = slot.set(why.clone());
    io::Error::other(why)
}
