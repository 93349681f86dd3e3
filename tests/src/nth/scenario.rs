//! What is played: everything that a store does in a life, in small.

use althing_core::ids::{CommunityId, Hash, Sequence};
use althing_store::port::{HistoryRecord, SnapshotRecord, Store, StoreError, WalEntry};
use bytes::Bytes;
use std::ops::RangeInclusive;
use tokio::sync::oneshot;

/// Two groups, which are communities too.
pub const COMMUNITIES: [CommunityId; 2] = [CommunityId(1), CommunityId(2)];
/// The names of facts that are set.
pub const FACTS: [&str; 2] = ["identity", "nodes"];

/// One thing that a store is told.
#[derive(Clone, Debug)]
pub enum Step {
    /// Log: a vote.
    Vote(CommunityId, u8),
    /// Log: entries of these indices.
    Append(CommunityId, RangeInclusive<u64>),
    /// Log: what is committed.
    Committed(CommunityId, u8),
    /// Log: nothing from here on.
    Truncate(CommunityId, u64),
    /// Log: nothing up to here.
    Purge(CommunityId, u64),
    /// Log: a group is forgotten.
    RemoveGroup(CommunityId),
    /// Archive: a component.
    Component(u8),
    /// Archive: chunks of these numbers.
    Chunks(RangeInclusive<u8>),
    /// Archive: history of these sequences.
    History(CommunityId, RangeInclusive<u64>),
    /// Archive: a snapshot at a sequence, of chunks of these numbers.
    Snapshot(CommunityId, u64, RangeInclusive<u8>),
    /// Archive: a snapshot is pinned.
    Pin(CommunityId, u64),
    /// Archive: so many snapshots are kept.
    Retain(CommunityId, u32),
    /// Archive: a chunk is condemned.
    Condemn(u8),
    /// Archive: history goes, up to before here.
    Prune(CommunityId, u64),
    /// Archive: history goes, from here on.
    Unwrite(CommunityId, u64),
    /// Archive: a fact.
    Fact(&'static str, u8),
    /// Archive: all of it is durable.
    Flush,
    /// Archive: a community is forgotten.
    RemoveCommunity(CommunityId),
    /// Both: everything is read, and compared with the twin's.
    Look,
    /// Both: closed, and opened again.
    Reopen,
}

impl Step {
    /// Whether it is of the log; else of the archive, or of both.
    #[must_use]
    pub const fn is_of_log(&self) -> bool {
        matches!(
            self,
            Self::Vote(..)
                | Self::Append(..)
                | Self::Committed(..)
                | Self::Truncate(..)
                | Self::Purge(..)
                | Self::RemoveGroup(..)
        )
    }

    /// Whether everything of the archive up to and with it is durable once it has returned.
    #[must_use]
    pub const fn settles_archive(&self) -> bool {
        !self.is_of_log()
            && !matches!(
                self,
                Self::Chunks(..) | Self::History(..) | Self::Prune(..) | Self::Unwrite(..) | Self::Retain(..)
            )
    }
}

/// The whole life.
#[must_use]
pub fn steps() -> Vec<Step> {
    use Step::*;
    let [one, two] = COMMUNITIES;
    vec![
        Fact("identity", 1),
        Vote(one, 1),
        Append(one, 1..=4),
        Component(1),
        Append(two, 1..=2),
        Vote(two, 1),
        History(one, 1..=3),
        Committed(one, 1),
        Append(one, 5..=6),
        Chunks(1..=3),
        Snapshot(one, 3, 1..=3),
        Truncate(one, 6),
        Append(one, 6..=9),
        Look,
        Flush,
        Reopen,
        Look,
        Vote(one, 2),
        History(one, 4..=6),
        Chunks(4..=4),
        Snapshot(one, 6, 2..=4),
        Pin(one, 3),
        Purge(one, 5),
        Append(one, 10..=40),
        Fact("nodes", 2),
        History(one, 7..=9),
        Chunks(5..=6),
        Snapshot(one, 9, 4..=6),
        Retain(one, 1),
        Purge(one, 50),
        Look,
        Append(one, 51..=52),
        Condemn(5),
        Chunks(5..=5),
        Prune(one, 4),
        Unwrite(one, 9),
        Snapshot(two, 2, 1..=2),
        RemoveCommunity(two),
        RemoveGroup(two),
        Component(2),
        Flush,
        Reopen,
        Append(one, 53..=53),
        Fact("identity", 3),
        Look,
    ]
}

/// Does a step, and returns when it is acknowledged.
///
/// # Errors
/// The store's.
pub async fn take(store: &Store, step: &Step) -> Result<(), StoreError> {
    let (wal, archive) = (&store.wal, &store.archive);
    match step.clone() {
        Step::Vote(group, number) => wal.save_vote(group, body(number)).await,
        Step::Append(group, indices) => append(store, group, indices).await,
        Step::Committed(group, number) => wal.save_committed(group, Some(body(number))).await,
        Step::Truncate(group, from) => wal.truncate(group, from).await,
        Step::Purge(group, upto) => wal.purge(group, upto, body(upto as u8)).await,
        Step::RemoveGroup(group) => wal.remove_group(group).await,
        Step::Component(number) => archive.put_component(hash(number), body(number)).await,
        Step::Chunks(numbers) => {
            archive.put_chunks(numbers.map(|number| (hash(number), body(number))).collect()).await
        }
        Step::History(community, sequences) => {
            archive.append_history(community, sequences.map(record).collect()).await
        }
        Step::Snapshot(community, sequence, chunks) => {
            let record = SnapshotRecord {
                sequence: Sequence(sequence),
                log_index: sequence,
                manifest: body(sequence as u8),
            };
            archive.put_snapshot(community, record, chunks.map(hash).collect()).await
        }
        Step::Pin(community, sequence) => {
            archive.pin_snapshot(community, Sequence(sequence), "kept".into()).await.map(|_| ())
        }
        Step::Retain(community, keep) => archive.retain_snapshots(community, keep).await,
        Step::Condemn(number) => archive.condemn_chunks(vec![hash(number)]).await,
        Step::Prune(community, from) => archive.prune_history(community, Sequence(from)).await,
        Step::Unwrite(community, from) => archive.truncate_history(community, Sequence(from)).await,
        Step::Fact(name, number) => archive.put_fact(name, body(number)).await,
        Step::Flush => archive.flush().await,
        Step::RemoveCommunity(community) => archive.remove_community(community).await,
        // Whoever plays does that.
        Step::Look | Step::Reopen => Ok(()),
    }
}

async fn append(store: &Store, group: CommunityId, indices: RangeInclusive<u64>) -> Result<(), StoreError> {
    let entries = indices.map(|index| WalEntry { index, body: body(index as u8) }).collect();
    let (told, durable) = oneshot::channel();
    let on_durable = Box::new(move |outcome| drop(told.send(outcome)));
    store.wal.append(group, entries, on_durable).await?;
    durable.await.unwrap_or(Err(StoreError::Closed))
}

fn record(sequence: u64) -> HistoryRecord {
    let at = Sequence(sequence);
    HistoryRecord { first: at, last: at, body: body(sequence as u8) }
}

/// The name of a chunk or a component.
#[must_use]
pub fn hash(number: u8) -> Hash {
    Hash([number; 32])
}

/// What stands for something: some kilobytes, so that pages are filled.
#[must_use]
pub fn body(number: u8) -> Bytes {
    vec![number; 700 + 100 * usize::from(number)].into()
}
