//! One operation, followed through the logs of all nodes by its name: asked at one node, carried to the
//! leader, executed everywhere, told to a subscriber at a third.

use althing_core::ids::Sequence;
use althing_tests::{
    cluster::{Cluster, Setup},
    follower::Follower,
    programs::add,
    replicas::actor,
    wait::eventually,
};

const FILTER: &str = "info,openraft=error,althing_api=debug,althing_node=debug";

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_has_one_name_from_the_door_to_the_subscriber() {
    let cluster = Cluster::start_with(Setup::nodes(3).with("--log", FILTER)).await;
    cluster.found("traced", "counter").await;
    let leader = cluster.leader("traced").await;
    let [asked, told] = [1, 2, 3].into_iter().filter(|&node| node != leader).collect::<Vec<_>>()[..] else {
        panic!("there are two followers");
    };
    let at_told = cluster.client_of(told).await;
    let follower = Follower::start(at_told.community("traced"), Sequence(1)).await;
    let at_asked = cluster.client_of(asked).await;
    let session = at_asked.community("traced").open_session(actor("ada")).await.unwrap();
    let submitted = session.submit(add("a", 1)).await.unwrap();
    follower.up_to(submitted.receipt.sequence).await;

    let name = format!("operation={}/1", session.id());
    let sequence = format!("sequence={}", submitted.receipt.sequence);
    let way: [(u64, &str, &[&str]); 7] = [
        (asked, "asked", &["api{", "id=", "community=\"traced\""]),
        (asked, "forwarded", &["api{", "id=", "route{", &format!("leader={leader}")]),
        (leader, "proposed", &["propose{"]),
        (1, "executed", &["execute{", &sequence]),
        (2, "executed", &["execute{", &sequence]),
        (3, "executed", &["execute{", &sequence]),
        (told, "told", &["api{", "id=", &sequence]),
    ];
    for (node, what, said) in way {
        eventually(&format!("node {node} says that {name} was {what}"), async || {
            let log = cluster.log(node);
            let mut lines = log.lines();
            lines
                .any(|line| {
                    line.contains(&name) && line.contains(what) && said.iter().all(|said| line.contains(said))
                })
                .then_some(())
        })
        .await;
    }
}
