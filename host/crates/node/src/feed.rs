//! A community's transitions, for whoever follows them.
//!
//! A subscriber is a cursor, not a queue: it asks for what comes at or after a sequence and gets it
//! from memory if it keeps up, from the archive if it lags, and a refusal that names the oldest
//! sequence if it lags beyond the retention. So a slow subscriber costs apply nothing (promise P9).

use crate::{refuse, shown::Shown};
use althing_core::{
    codec,
    ids::{CommunityId, Sequence},
    refusal::{Code, Refusal},
    transition::Transition,
};
use althing_store::port::{Archive, HistoryRecord, StoreError};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What is kept in memory for subscribers that keep up, in bytes of encoded transitions.
const RECENT_BYTES_MAX: usize = 8 << 20;
/// What one read from the archive may bring, in bytes.
const READ_BYTES_MAX: usize = 1 << 20;

/// A community's feed on this node.
pub(crate) struct Feed {
    community: CommunityId,
    archive: Arc<dyn Archive>,
    recent: Mutex<Recent>,
    newest: Shown<Sequence>,
    /// When to ask the others for the history before the oldest that is here; none while or after that is done.
    looking_back: Mutex<Option<Duration>>,
}

#[derive(Default)]
struct Recent {
    batches: VecDeque<(Arc<Vec<Transition>>, usize)>,
    bytes: usize,
}

impl Feed {
    pub(crate) fn new(community: CommunityId, archive: Arc<dyn Archive>, newest: Sequence) -> Self {
        let looking_back = Mutex::new(Some(Duration::ZERO));
        Self { community, archive, recent: Mutex::default(), newest: Shown::new(newest), looking_back }
    }

    /// Adds what batches did, in order. Returns when the archive has taken it, not when it is durable.
    ///
    /// # Errors
    /// When the archive fails.
    pub(crate) async fn push(&self, batches: Vec<Vec<Transition>>) -> Result<(), StoreError> {
        let mut records = Vec::with_capacity(batches.len());
        let mut newest = None;
        for transitions in batches {
            let (Some(first), Some(last)) = (transitions.first(), transitions.last()) else { continue };
            let record = HistoryRecord {
                first: first.sequence,
                last: last.sequence,
                body: codec::encode(&transitions).into(),
            };
            newest = Some(record.last);
            self.recent().add(transitions, record.body.len());
            records.push(record);
        }
        let Some(newest) = newest else { return Ok(()) };
        self.archive.append_history(self.community, records).await?;
        self.newest.set(newest);
        Ok(())
    }

    /// A snapshot was installed: what lies between is not known here, and has to be asked for.
    pub(crate) fn jump(&self, newest: Sequence) {
        *self.recent() = Recent::default();
        self.newest.set(newest);
        self.look_back_at(Duration::ZERO);
    }

    /// Whether the others are to be asked for history by now, which whoever is told so then does.
    pub(crate) fn looks_back(&self, now: Duration) -> bool {
        self.looking_back().take_if(|at| *at <= now).is_some()
    }

    /// The others are to be asked for history then, by the runtime's clock.
    pub(crate) fn look_back_at(&self, then: Duration) {
        *self.looking_back() = Some(then);
    }

    fn looking_back(&self) -> MutexGuard<'_, Option<Duration>> {
        self.looking_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait for what comes next.
    pub(crate) fn followers(&self) -> usize {
        self.newest.waiting()
    }

    /// Transitions from `from` on, at most `limit` of them, at once; empty when there are none yet.
    ///
    /// # Errors
    /// [`Code::HistoryGone`] when `from` is no longer held.
    pub(crate) async fn read(&self, from: Sequence, limit: usize) -> Result<Vec<Transition>, Refusal> {
        let newest = self.newest.get();
        if from > newest {
            return Ok(Vec::new());
        }
        let recent = self.recent().read(from, limit);
        if !recent.is_empty() {
            return Ok(recent);
        }
        let records = self
            .archive
            .history(self.community, from, READ_BYTES_MAX)
            .await
            .map_err(|error| refuse::store(&error))?;
        let transitions = records
            .iter()
            .map(|record| codec::decode::<Vec<Transition>>(&record.body))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refuse::internal("stored history cannot be read", &error))?;
        // After a snapshot was installed there is a gap, across which no page may lead.
        let read: Vec<Transition> = transitions
            .into_iter()
            .flatten()
            .skip_while(|transition| transition.sequence < from)
            .zip(from.0..)
            .take_while(|(transition, wanted)| transition.sequence.0 == *wanted)
            .map(|(transition, _)| transition)
            .take(limit)
            .collect();
        if read.is_empty() { Err(self.gone(from, newest).await) } else { Ok(read) }
    }

    /// Waits for a transition at or after `from`, then reads like [`Self::read`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) async fn next(&self, from: Sequence, limit: usize) -> Result<Vec<Transition>, Refusal> {
        self.newest.wait_for(|&newest| newest >= from).await;
        self.read(from, limit).await
    }

    /// The oldest sequence from which one can go on without a gap; the next one to come when there
    /// is none.
    pub(crate) async fn oldest(&self) -> Result<Sequence, Refusal> {
        let newest = self.newest.get();
        let held = self.archive.history_held(self.community).await.map_err(|error| refuse::store(&error))?;
        // What ends before the newest was cut off from it by a snapshot that was installed.
        let held = held.filter(|&(_, last)| last >= newest);
        Ok(held.map_or_else(|| newest.next(), |(oldest, _)| oldest))
    }

    async fn gone(&self, from: Sequence, newest: Sequence) -> Refusal {
        let oldest = match self.oldest().await {
            Ok(oldest) => oldest,
            Err(refusal) => return refusal,
        };
        Refusal::new(
            Code::HistoryGone,
            format!(
                "transition {from} is no longer held on this node: the oldest is {oldest}, the newest {newest}; \
                 go on from there, or ask a node that holds more"
            ),
        )
        .with("oldest", oldest)
        .with("newest", newest)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn add(&mut self, transitions: Vec<Transition>, bytes: usize) {
        self.batches.push_back((Arc::new(transitions), bytes));
        self.bytes += bytes;
        while self.bytes > RECENT_BYTES_MAX && self.batches.len() > 1 {
            if let Some((_, bytes)) = self.batches.pop_front() {
                self.bytes -= bytes;
            }
        }
    }

    /// From `from` on if `from` itself is here, else nothing.
    fn read(&self, from: Sequence, limit: usize) -> Vec<Transition> {
        let begins = |(batch, _): &(Arc<Vec<Transition>>, usize)| {
            batch.last().is_some_and(|last| last.sequence < from)
        };
        let start = self.batches.partition_point(begins);
        let is_held = self
            .batches
            .get(start)
            .and_then(|(batch, _)| batch.first())
            .is_some_and(|first| first.sequence <= from);
        if !is_held {
            return Vec::new();
        }
        self.batches
            .iter()
            .skip(start)
            .flat_map(|(batch, _)| batch.iter())
            .skip_while(|transition| transition.sequence < from)
            .take(limit)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Feed, RECENT_BYTES_MAX};
    use althing_core::{
        ids::{CommunityId, Hash, Sequence},
        refusal::Code,
        time::Timestamp,
        transition::{Cause, Outcome, Transition},
    };
    use althing_store::port::Store;
    use bytes::Bytes;
    use std::sync::Arc;

    fn transition(sequence: u64, bytes: usize) -> Transition {
        Transition {
            sequence: Sequence(sequence),
            time: Timestamp::new(sequence, 0),
            cause: Cause::Timer { id: Bytes::from_static(b"t"), payload: Bytes::from(vec![0; bytes]) },
            outcome: Outcome::Accepted { result: Bytes::new() },
            writes: Vec::new(),
            events: Vec::new(),
            timers: Vec::new(),
            fuel: 0,
            digest: Hash::default(),
        }
    }

    fn sequences(transitions: &[Transition]) -> Vec<u64> {
        transitions.iter().map(|transition| transition.sequence.0).collect()
    }

    fn feed() -> Arc<Feed> {
        Arc::new(Feed::new(CommunityId(1), Store::memory().archive, Sequence(0)))
    }

    #[tokio::test]
    async fn a_reader_gets_what_it_asks_for_and_not_more_than_it_wants() {
        let feed = feed();
        feed.push(vec![vec![transition(1, 1), transition(2, 1)], vec![transition(3, 1)]]).await.unwrap();
        assert_eq!(sequences(&feed.read(Sequence(2), 10).await.unwrap()), [2, 3]);
        assert_eq!(sequences(&feed.read(Sequence(1), 2).await.unwrap()), [1, 2]);
        assert!(feed.read(Sequence(4), 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_has_left_memory_comes_from_the_archive() {
        let feed = feed();
        let each = RECENT_BYTES_MAX / 8;
        for sequence in 1..=20 {
            feed.push(vec![vec![transition(sequence, each)]]).await.unwrap();
        }
        assert_eq!(sequences(&feed.read(Sequence(1), 1).await.unwrap()), [1]);
        let mut next = 1;
        while next <= 20 {
            let read = feed.next(Sequence(next), 3).await.unwrap();
            assert_eq!(read[0].sequence.0, next, "no gap and nothing twice");
            next = read.last().unwrap().sequence.0 + 1;
        }
    }

    #[tokio::test]
    async fn what_is_gone_is_refused_with_the_oldest_sequence() {
        let feed = feed();
        feed.push(vec![vec![transition(1, 1)]]).await.unwrap();
        feed.jump(Sequence(10));
        feed.push(vec![vec![transition(11, 1)]]).await.unwrap();
        let refusal = feed.read(Sequence(5), 10).await.unwrap_err();
        assert_eq!(refusal.code, Code::HistoryGone);
        assert_eq!(refusal.data["oldest"], "11");
        assert_eq!(sequences(&feed.read(Sequence(11), 10).await.unwrap()), [11]);
    }

    #[tokio::test]
    async fn no_page_leads_across_the_gap_that_an_installed_snapshot_leaves() {
        let archive = Store::memory().archive;
        let feed = Feed::new(CommunityId(1), archive.clone(), Sequence(0));
        feed.push(vec![vec![transition(1, 1), transition(2, 1)]]).await.unwrap();
        feed.jump(Sequence(10));
        assert_eq!(feed.oldest().await.unwrap(), Sequence(11), "nothing that is held goes on from there");
        feed.push(vec![vec![transition(11, 1)]]).await.unwrap();
        let restarted = Feed::new(CommunityId(1), archive, Sequence(11));
        for feed in [feed, restarted] {
            assert_eq!(sequences(&feed.read(Sequence(1), 10).await.unwrap()), [1, 2]);
            let refusal = feed.read(Sequence(3), 10).await.unwrap_err();
            assert_eq!((refusal.code, &refusal.data["oldest"][..]), (Code::HistoryGone, "11"));
        }
    }

    #[tokio::test]
    async fn a_follower_waits_for_the_next_one() {
        let feed = feed();
        let (read, pushed) =
            tokio::join!(feed.next(Sequence(1), 10), feed.push(vec![vec![transition(1, 1)]]));
        pushed.unwrap();
        assert_eq!(sequences(&read.unwrap()), [1]);
    }
}
