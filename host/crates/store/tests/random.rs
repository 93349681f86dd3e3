//! Random sequences of calls: both logs do what a list would.

#![expect(clippy::unwrap_used, reason = "a test says by its place what failed")]

mod subjects;

use althing_core::ids::CommunityId;
use althing_store::{
    conformance::Subject,
    memory::MemoryStore,
    port::{WalEntry, WalState},
};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use subjects::{Disk, End, Memory, PATIENCE};
use tokio::{sync::oneshot, time::timeout};

/// One call, or an end of the store. Indices are relative to the log's end, so that most calls hit
/// something.
#[derive(Clone, Debug)]
enum Step {
    Append { group: u64, count: u64, bytes: usize },
    Truncate { group: u64, back: u64 },
    Purge { group: u64, back: i64 },
    Vote { group: u64, vote: u8 },
    Committed { group: u64, committed: Option<u8> },
    Remove { group: u64 },
    Read { group: u64, back: u64, count: u64, bytes_max: usize },
    Settle,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let group = 0..3_u64;
    prop_oneof![
        8 => (group.clone(), 0..6_u64, 0..200_usize)
            .prop_map(|(group, count, bytes)| Step::Append { group, count, bytes }),
        3 => (group.clone(), 0..10_u64).prop_map(|(group, back)| Step::Truncate { group, back }),
        3 => (group.clone(), -3..10_i64).prop_map(|(group, back)| Step::Purge { group, back }),
        1 => (group.clone(), any::<u8>()).prop_map(|(group, vote)| Step::Vote { group, vote }),
        2 => (group.clone(), any::<Option<u8>>())
            .prop_map(|(group, committed)| Step::Committed { group, committed }),
        1 => group.clone().prop_map(|group| Step::Remove { group }),
        6 => (group, 0..20_u64, 0..20_u64, 0..1000_usize)
            .prop_map(|(group, back, count, bytes_max)| Step::Read { group, back, count, bytes_max }),
        2 => Just(Step::Settle),
        1 => Just(Step::Reopen),
    ]
}

/// A log as a list.
#[derive(Clone, Debug, Default)]
struct Model {
    state: WalState,
    entries: Vec<WalEntry>,
    /// Committed records that a crash may bring back.
    committed: Vec<Option<Bytes>>,
}

impl Model {
    fn next(&self) -> u64 {
        let last = self.entries.last().map(|entry| entry.index);
        last.or(self.state.purged.as_ref().map(|(index, _)| *index)).map_or(0, |last| last + 1)
    }

    fn state(&self) -> WalState {
        let ends = self.entries.first().zip(self.entries.last());
        WalState { held: ends.map(|(first, last)| (first.index, last.index)), ..self.state.clone() }
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> Vec<WalEntry> {
        let mut read: Vec<WalEntry> =
            self.entries.iter().filter(|entry| (from..to).contains(&entry.index)).cloned().collect();
        let bytes = |entries: &[WalEntry]| entries.iter().map(|entry| entry.body.len()).sum::<usize>();
        while read.len() > 1 && bytes(&read) > bytes_max {
            read.pop();
        }
        read
    }
}

/// Does the steps on a store and on the model, and compares.
async fn compare(mut subject: impl Subject, steps: Vec<Step>) {
    let mut models = BTreeMap::<CommunityId, Model>::new();
    let mut waiting = Vec::new();
    let mut salt = 0_u8;
    for step in steps {
        salt = salt.wrapping_add(1);
        take(&mut subject, &mut models, &mut waiting, salt, step).await;
        for (group, model) in &mut models {
            assert_eq!(subject.store().wal.state(*group).await.unwrap(), model.state());
        }
    }
}

type Waiting = Vec<oneshot::Receiver<Result<(), althing_store::port::StoreError>>>;

async fn take(
    subject: &mut impl Subject,
    models: &mut BTreeMap<CommunityId, Model>,
    waiting: &mut Waiting,
    salt: u8,
    step: Step,
) {
    let wal = subject.store().wal;
    match step {
        Step::Append { group, count, bytes } => {
            let model = models.entry(CommunityId(group)).or_default();
            let entry = |index| WalEntry { index, body: Bytes::from(vec![salt; bytes]) };
            let entries: Vec<WalEntry> = (model.next()..model.next() + count).map(entry).collect();
            model.entries.extend(entries.clone());
            let (told, durable) = oneshot::channel();
            let on_durable = Box::new(move |result| drop(told.send(result)));
            wal.append(CommunityId(group), entries, on_durable).await.unwrap();
            waiting.push(durable);
        }
        Step::Truncate { group, back } => {
            let model = models.entry(CommunityId(group)).or_default();
            let from = model.next().saturating_sub(back);
            model.entries.retain(|entry| entry.index < from);
            wal.truncate(CommunityId(group), from).await.unwrap();
        }
        Step::Purge { group, back } => {
            let model = models.entry(CommunityId(group)).or_default();
            let upto = model.next().saturating_add_signed(-back);
            let record = Bytes::from(vec![salt]);
            if model.state.purged.as_ref().is_none_or(|(purged, _)| *purged < upto) {
                model.entries.retain(|entry| entry.index > upto);
                model.state.purged = Some((upto, record.clone()));
            }
            wal.purge(CommunityId(group), upto, record).await.unwrap();
        }
        Step::Vote { group, vote } => {
            let vote = Bytes::from(vec![vote]);
            models.entry(CommunityId(group)).or_default().state.vote = Some(vote.clone());
            wal.save_vote(CommunityId(group), vote).await.unwrap();
        }
        Step::Committed { group, committed } => {
            let model = models.entry(CommunityId(group)).or_default();
            model.committed.push(model.state.committed.clone());
            model.state.committed = committed.map(|committed| Bytes::from(vec![committed]));
            wal.save_committed(CommunityId(group), model.state.committed.clone()).await.unwrap();
        }
        Step::Remove { group } => {
            models.insert(CommunityId(group), Model::default());
            wal.remove_group(CommunityId(group)).await.unwrap();
        }
        Step::Read { group, back, count, bytes_max } => {
            let model = models.entry(CommunityId(group)).or_default();
            let from = model.next().saturating_sub(back);
            let read = wal.read(CommunityId(group), from..from + count, bytes_max).await.unwrap();
            assert_eq!(read, model.read(from, from + count, bytes_max));
        }
        Step::Settle => settle(subject, waiting).await,
        Step::Reopen => reopen(subject, models, waiting).await,
    }
}

async fn settle(subject: &impl Subject, waiting: &mut Waiting) {
    subject.settle().await;
    for durable in waiting.drain(..) {
        timeout(PATIENCE, durable).await.unwrap().unwrap().unwrap();
    }
}

async fn reopen(
    subject: &mut impl Subject,
    models: &mut BTreeMap<CommunityId, Model>,
    waiting: &mut Waiting,
) {
    settle(subject, waiting).await;
    subject.reopen().await;
    for (group, model) in models {
        let found = subject.store().wal.state(*group).await.unwrap().committed;
        // Older is allowed, newer or another's is not.
        model.committed.push(model.state.committed.clone());
        assert!(model.committed.contains(&found), "{found:?} was never committed");
        model.state.committed = found;
        let entries = subject.store().wal.read(*group, 0..u64::MAX, usize::MAX).await.unwrap();
        assert_eq!(entries, model.entries);
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, test).await.unwrap() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_log_in_memory_does_what_a_list_would(steps in prop::collection::vec(step(), 0..60)) {
        run(compare(Memory(MemoryStore::with_crash_semantics()), steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_log_on_disk_does_what_a_list_would(
        steps in prop::collection::vec(step(), 0..60),
        cache in prop::sample::select(vec![0, 500, 64 << 20]),
        end in prop::sample::select(vec![End::Closed, End::Killed]),
    ) {
        run(async move { compare(Disk::new(end, cache).await, steps).await });
    }
}
