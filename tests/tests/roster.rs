//! The real community's history once more, with one of three nodes away during the first half: it
//! comes back by a snapshot, and the roster is what the community's own files say at every checkpoint.

use althing_client::{Answer, Community, Consistency, NewCommunity, Session};
use althing_core::{ids::Sequence, transition::Outcome};
use althing_tests::{
    cluster::{Cluster, Setup},
    components::workspace,
    programs::payload,
    replicas::{actor, policy},
};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::fs;

const CHECKPOINTS: [usize; 4] = [1256, 2165, 3455, 4566];

/// What is replayed, and what must come of it.
struct Data {
    operations: Vec<Bytes>,
    checkpoints: Value,
}

impl Data {
    fn read() -> Self {
        let folder = workspace().join("examples/roster/data");
        let text = |name: &str| fs::read_to_string(folder.join(name)).expect("the data is there");
        let operations: Vec<Bytes> =
            text("operations.jsonl").lines().map(|line| line.to_owned().into()).collect();
        assert_eq!(operations.len(), CHECKPOINTS[3]);
        let checkpoints = serde_json::from_str(&text("checkpoints.json")).expect("checkpoints are JSON");
        Self { operations, checkpoints }
    }

    /// Submits the operations up to a checkpoint, in order; the sequence of the last.
    async fn replay(&self, session: &Session, from: usize, to: usize) -> Sequence {
        let operations = futures::stream::iter(self.operations[from..to].iter().cloned());
        let mut pipeline = session.pipeline(operations, 64);
        let (mut done, mut last) = (from, Sequence(0));
        while let Some(answered) = pipeline.next().await {
            let submitted = answered.expect("the pipeline goes on").answer.expect("nothing is refused");
            let outcome = &submitted.receipt.outcome;
            assert!(matches!(outcome, Outcome::Accepted { .. }), "operation {}: {outcome:?}", done + 1);
            (done, last) = (done + 1, submitted.receipt.sequence);
        }
        assert_eq!(done, to, "every operation was answered");
        last
    }

    /// Compares the roster with the community's own files.
    async fn compare(&self, community: &Community, checkpoint: usize, consistency: Consistency) {
        let should = &self.checkpoints[checkpoint.to_string()];
        let is = roster(community, consistency).await;
        let is = is.as_object().expect("teams are an object");
        let should = should.as_object().expect("there is such a checkpoint");
        for (team, should) in should {
            assert_eq!(is.get(team), Some(should), "team {team} at {checkpoint}");
        }
        assert_eq!(is.len(), should.len(), "there are further teams at {checkpoint}");
    }
}

/// All teams, page by page.
async fn roster(community: &Community, consistency: Consistency) -> Value {
    let (mut teams, mut after) = (Map::new(), Value::Null);
    loop {
        let question = payload(&json!({ "query": "everything", "after": after, "limit": 50 }));
        let queried = community.query(actor("reader"), question, consistency).await.expect("it is answered");
        let Answer::Answered(answer) = queried.answer else { panic!("{queried:?}") };
        let mut page: Value = serde_json::from_slice(&answer).expect("answers are JSON");
        teams.extend(std::mem::take(page["teams"].as_object_mut().expect("teams are an object")));
        after = page["next"].take();
        if after.is_null() {
            return Value::Object(teams);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_missed_half_of_a_real_history_comes_back_by_snapshot_and_agrees_ever_after() {
    let data = Data::read();
    let [first, second, third, fourth] = CHECKPOINTS;
    let mut cluster = Cluster::start_with(Setup::nodes(3).with("--log-kept", 10)).await;
    let policy = policy(|policy| policy.retention.snapshot_transitions = 500);
    let founding = NewCommunity { name: "roster".to_owned(), policy, ..NewCommunity::default() };
    cluster.found_with(founding, "roster").await;
    let away = cluster.follower("roster").await;
    assert!(cluster.stop(away).await.success());

    let community = cluster.client().await.community("roster");
    let session = community.open_session(actor("history")).await.unwrap();
    data.replay(&session, 0, first).await;
    data.compare(&community, first, Consistency::Linearizable).await;
    let half = data.replay(&session, first, second).await;
    data.compare(&community, second, Consistency::Linearizable).await;

    cluster.restart(away).await;
    cluster.agreed("roster", &[1, 2, 3], half).await;
    let there = cluster.client_of(away).await.community("roster");
    data.compare(&there, second, Consistency::Local).await;
    // It came back by a snapshot, not by the log.
    cluster.backfilled(away, "roster").await;

    let end = data.replay(&session, second, third).await;
    data.compare(&there, third, Consistency::AtLeast(end)).await;
    let end = data.replay(&session, third, fourth).await;
    cluster.agreed("roster", &[1, 2, 3], end).await;
    for node in [1, 2, 3] {
        let there = cluster.client_of(node).await.community("roster");
        data.compare(&there, fourth, Consistency::Local).await;
    }
}
