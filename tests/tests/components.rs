//! Where components lie.

use althing_core::{
    codec,
    ids::{CommunityId, Hash, NodeId},
    refusal::Refusal,
};
use althing_tests::{components::component, simulated::simulate};
use bytes::Bytes;
use std::time::Duration;

#[test]
fn a_component_is_stored_wherever_it_runs_though_what_was_compiled_is_shared() {
    let counter = component("counter");
    let hash = Hash::of_component(&counter);
    // The nodes of a simulation share one engine: all but the first have it compiled before they have it.
    simulate(1, 3, &counter, async |cluster| {
        cluster.runtime.sleep(Duration::from_secs(20)).await;
        for id in cluster.up_nodes() {
            let question = Bytes::from(codec::encode(&(hash, 0_u64)));
            let asked = cluster.node(id).peer_handler();
            let told = asked.call(NodeId(1), CommunityId::SYSTEM, "node/component", question).await;
            let told = told.expect("a node answers its peers");
            let piece: Result<(Bytes, u64), Refusal> = codec::decode(&told).expect("it is a piece");
            let (_, total) = piece.unwrap_or_else(|refusal| panic!("node {id}: {refusal}"));
            assert_eq!(total, counter.len() as u64);
        }
    });
}
