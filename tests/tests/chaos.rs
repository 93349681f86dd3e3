//! A short round of chaos (`cargo xtask chaos` goes on for as long as it is told).

use althing_tests::{
    chaos::{harm::Harm, round},
    disk::Disk,
    nth::Stage,
    process::binary,
    skip::skipped,
};

/// Draws at least one harm to a file among the first.
const SEED: u64 = 3;
const HARMS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_nodes_under_load_what_was_told_stays() {
    let stage = match Stage::set(&binary()) {
        Ok(stage) => stage,
        Err(why) => {
            assert!(skipped("a round of chaos", Err(why)));
            return;
        }
    };
    let disks = Disk::works();
    let allowed: Vec<Harm> =
        Harm::ALL.into_iter().filter(|harm| disks.is_ok() || !harm.needs_disks()).collect();
    let round = round(SEED, HARMS, &stage, &allowed).await;
    assert_eq!(round.came.values().flatten().sum::<u64>(), HARMS as u64);
    assert!(round.transitions > 100, "{round:?}");
}
