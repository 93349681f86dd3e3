//! Clients that ask while others submit, each of one node alone, linearizably. A total that is read is at least what had
//! been answered or read, by anybody, before it was asked for, and at most what had been sent when it came: also where a
//! node asks itself whether it still leads, and nobody hears it.

use crate::{
    load::{Load, Totals, counter},
    programs::total,
    replicas::actor,
    wait::{eventually, passes},
};
use althing_client::{Answer, Client, Community, Consistency};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// How long a reader rests: nodes have more to do than to be asked.
const PAUSE: Duration = Duration::from_millis(10);

/// Clients that ask.
#[derive(Debug)]
pub struct Readers {
    is_over: Arc<AtomicBool>,
    readers: BTreeMap<u64, Reader>,
}

#[derive(Debug)]
struct Reader {
    answered: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Readers {
    /// Lets one begin for each node, with a client that knows that node only, on what a load submits.
    #[must_use]
    pub fn start(clients: BTreeMap<u64, Client>, load: &Load) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let readers = clients.into_iter().map(|(node, client)| {
            let (answered, totals) = (Arc::new(AtomicU64::new(0)), load.totals());
            let community = client.community(load.community());
            let task = tokio::spawn(read(node, community, totals, is_over.clone(), answered.clone()));
            (node, Reader { answered, task })
        });
        let readers = readers.collect();
        Self { is_over, readers }
    }

    /// Waits until every node has answered another question that was asked from now on.
    ///
    /// # Panics
    /// When a node does not, or a reader was told what is not so.
    pub async fn go_on(&self) {
        for (node, reader) in &self.readers {
            // One may be under way.
            let wanted = reader.answered.load(Ordering::SeqCst) + 2;
            eventually(&format!("node {node} answers linearizable queries"), async || {
                assert!(!reader.task.is_finished(), "what node {node} answered was not so");
                (reader.answered.load(Ordering::SeqCst) >= wanted).then_some(())
            })
            .await;
        }
    }

    /// Lets them finish; how many answers there were.
    ///
    /// # Panics
    /// When a reader was told what is not so.
    pub async fn finish(self) -> u64 {
        self.is_over.store(true, Ordering::SeqCst);
        let mut answers = 0;
        for reader in self.readers.into_values() {
            reader.task.await.expect("no reader panics");
            answers += reader.answered.load(Ordering::SeqCst);
        }
        answers
    }
}

async fn read(
    node: u64,
    community: Community,
    totals: Arc<Vec<Totals>>,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) {
    for worker in (0..totals.len()).cycle() {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let at_least = totals[worker].known();
        let question = total(&counter(worker));
        let told = community.query(actor("reader"), question, Consistency::Linearizable).await;
        // A refusal is no wrong answer: the node may be down, or cut off.
        if let Ok(queried) = told {
            let Answer::Answered(answer) = queried.answer else {
                panic!("a counter can be read: {queried:?}")
            };
            let read: i64 = serde_json::from_slice(&answer).expect("a total is a number");
            let at_most = totals[worker].sent();
            assert!(
                (at_least..=at_most).contains(&read),
                "node {node} read {read} for worker {worker} at sequence {}: it was at least {at_least} when it was \
                 asked, and at most {at_most}",
                queried.sequence.0,
            );
            totals[worker].learn(read);
            answered.fetch_add(1, Ordering::SeqCst);
        }
        passes(PAUSE).await;
    }
}
