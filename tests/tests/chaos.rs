//! A short round of chaos (`cargo xtask chaos` goes on for as long as it is told).

use althing_tests::{
    chaos::{Means, harm::Harm, round},
    process::binary,
    skip::skipped,
};

/// Draws harm to a file and to the wires between nodes, where there are namespaces.
const SEED: u64 = 3;
const HARMS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_nodes_under_load_what_was_told_stays() {
    let means = match Means::find(&binary()) {
        Ok(means) => means,
        Err(why) => {
            assert!(skipped("a round of chaos", Err(why)));
            return;
        }
    };
    let _ = skipped("power cuts and full disks in a round of chaos", means.disks.clone());
    let has_network = !skipped("wires that lose packets in a round of chaos", means.network.clone());
    let allowed: Vec<Harm> = Harm::ALL.into_iter().filter(|&harm| means.allow(harm)).collect();
    let round = round(SEED, HARMS, &means, &allowed).await;
    assert_eq!(round.came.values().flatten().sum::<u64>(), HARMS as u64);
    assert!(!has_network || round.came.keys().any(|harm| harm.needs_network()), "{round:?}");
    assert!(round.transitions > 100 && round.read > 20, "{round:?}");
}
