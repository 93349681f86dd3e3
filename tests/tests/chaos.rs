//! A short round of chaos (`cargo xtask chaos` goes on for as long as it is told).

use althing_tests::{
    chaos::{Means, harm::Harm, round},
    process::binary,
    skip::skipped,
};

const SEED: u64 = 3;
/// Something of everything.
const PLAN: [Harm; 6] = [Harm::Isolate, Harm::Flip, Harm::Power, Harm::Lossy, Harm::Call, Harm::KillAll];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_nodes_under_load_what_was_told_stays() {
    let means = match Means::find(&binary()) {
        Ok(means) => means,
        Err(why) => {
            assert!(skipped("a round of chaos", Err(why)));
            return;
        }
    };
    let _ = skipped("power cuts in a round of chaos", means.disks.clone());
    let _ = skipped("wires that lose packets in a round of chaos", means.network.clone());
    let plan: Vec<Harm> = PLAN.into_iter().filter(|&harm| means.allow(harm)).collect();
    let round = round(SEED, &plan, &means).await;
    assert_eq!(round.came.values().flatten().sum::<u64>(), plan.len() as u64);
    assert!(round.transitions > 100 && round.read > 20, "{round:?}");
}
