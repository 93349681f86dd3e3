//! Raft's log of one group over the node's WAL.
//!
//! Promises what openraft asks: a vote is durable when told, an append is readable at once and
//! called durable only after its fsync. `committed` may be older after a crash (see
//! [`mod@super::start`]). Every failure is fatal to the group: it stops rather than go on with a log
//! that it does not know.

use super::{
    records::{EntryRecord, LogIdRecord, VoteRecord, decode, encode},
    tail::Tail,
    types::{Entry, LogId, Types, Vote},
};
use althing_core::{codec::DecodeError, ids::CommunityId};
use althing_store::port::{StoreError, Wal, WalEntry, WalState};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use openraft::{
    AsyncRuntime, LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use serde::de::DeserializeOwned;
use std::{
    fmt::{Debug, Display},
    io,
    marker::PhantomData,
    ops::{Bound, Range, RangeBounds},
    sync::{Arc, Mutex, MutexGuard},
};

/// Most bytes of entries in one read, and so in one message to a follower.
pub(crate) const READ_BYTES_MAX: usize = 4 << 20;
/// Most entries in one read.
const READ_ENTRIES_MAX: usize = 1024;

/// The log of one group; clones share it.
pub(crate) struct Log<RT> {
    group: CommunityId,
    wal: Arc<dyn Wal>,
    tail: Arc<Mutex<Tail>>,
    runtime: PhantomData<fn() -> RT>,
}

impl<RT> Clone for Log<RT> {
    fn clone(&self) -> Self {
        let (wal, tail) = (Arc::clone(&self.wal), Arc::clone(&self.tail));
        Self { group: self.group, wal, tail, runtime: PhantomData }
    }
}

impl<RT> Log<RT> {
    pub(crate) fn new(group: CommunityId, wal: Arc<dyn Wal>) -> Self {
        Self { group, wal, tail: Arc::default(), runtime: PhantomData }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().expect("nothing panics while it holds the tail")
    }

    async fn state(&self) -> io::Result<WalState> {
        self.wal.state(self.group).await.map_err(storage)
    }

    /// Entries from the start of a range, at least one if there is one.
    pub(super) async fn read(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.tail().read(&range, READ_ENTRIES_MAX, READ_BYTES_MAX) {
            return Ok(entries);
        }
        let end = range.end.min(range.start + READ_ENTRIES_MAX as u64);
        let read = self.wal.read(self.group, range.start..end, READ_BYTES_MAX).await.map_err(storage)?;
        read.into_iter().map(|entry| self.decode(&entry)).collect()
    }

    fn decode(&self, stored: &WalEntry) -> io::Result<Entry> {
        let entry: Entry = decode::<EntryRecord, _>(&stored.body).map_err(damaged)?;
        if entry.log_id.index == stored.index {
            Ok(entry)
        } else {
            let (group, found, wanted) = (self.group, entry.log_id.index, stored.index);
            Err(io::Error::other(format!("the log of community {group} has entry {found} at {wanted}")))
        }
    }

    /// Reads a range piece by piece; ends where the log ends.
    fn pieces(&self, range: Range<u64>) -> impl Stream<Item = io::Result<Vec<Entry>>> + Send + use<RT>
    where
        RT: 'static,
    {
        let log = self.clone();
        stream::try_unfold(range, move |range| {
            let log = log.clone();
            async move {
                let entries = log.read(range.clone()).await?;
                let Some(last) = entries.last() else { return Ok(None) };
                let next = last.log_id.index + 1..range.end;
                Ok(Some((entries, next)))
            }
        })
    }
}

impl<RT: AsyncRuntime> RaftLogReader<Types<RT>> for Log<RT> {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // Only the state machine's task reads by stream, in order: what is before has been executed.
        let range = bounds(&range);
        self.tail().release(range.start);
        self.pieces(range).map_ok(|entries| stream::iter(entries).map(Ok)).try_flatten()
    }

    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.pieces(bounds(&range)).try_concat().await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        stored::<VoteRecord, _>(self.state().await?.vote)
    }
}

impl<RT: AsyncRuntime> RaftLogStorage<Types<RT>> for Log<RT> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types<RT>>, io::Error> {
        let state = self.state().await?;
        let purged = stored::<LogIdRecord, LogId>(state.purged.map(|(_, record)| record))?;
        let last = match state.held {
            None => purged,
            Some((_, last)) => self.read(last..last + 1).await?.pop().map(|entry| entry.log_id),
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.wal.save_vote(self.group, encode::<VoteRecord, _>(vote)).await.map_err(storage)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let record = committed.as_ref().map(encode::<LogIdRecord, _>);
        self.wal.save_committed(self.group, record).await.map_err(storage)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        stored::<LogIdRecord, _>(self.state().await?.committed)
    }

    async fn append<I>(&mut self, entries: I, durable: IOFlushed<Types<RT>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let records = entries
            .iter()
            .map(|entry| WalEntry { index: entry.log_id.index, body: encode::<EntryRecord, _>(entry) })
            .collect();
        let on_durable = Box::new(move |result: Result<(), StoreError>| {
            durable.io_completed(result.map_err(storage));
        });
        self.wal.append(self.group, records, on_durable).await.map_err(storage)?;
        self.tail().append(entries);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        self.tail().truncate(from);
        self.wal.truncate(self.group, from).await.map_err(storage)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.tail().release(upto.index + 1);
        let record = encode::<LogIdRecord, _>(&upto);
        self.wal.purge(self.group, upto.index, record).await.map_err(storage)
    }
}

fn stored<R, T>(record: Option<Bytes>) -> io::Result<Option<T>>
where
    R: TryInto<T, Error: Display> + DeserializeOwned,
{
    record.map(|bytes| decode::<R, T>(&bytes)).transpose().map_err(damaged)
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last + 1,
        Bound::Excluded(&end) => end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

fn storage(error: StoreError) -> io::Error {
    io::Error::other(error)
}

fn damaged(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
