//! The simulator's short version: a few seeds, each run twice and compared. `cargo xtask sim` is the long one.
//!
//! A seed that fails is printed and can be run alone: `cargo xtask sim --seed 17`.

use althing_tests::sim::{Programs, Summary, run_traced};

/// Seeds of the short version.
const SEEDS: std::ops::Range<u64> = 0..6;

#[test]
fn whatever_goes_wrong_every_promise_holds_and_a_seed_takes_the_same_course_every_time() {
    let programs = Programs::load();
    let mut summary = Summary::default();
    for seed in SEEDS {
        let (first, first_trace) = run_traced(seed, &programs);
        let (second, second_trace) = run_traced(seed, &programs);
        assert_eq!(first, second, "seed {seed}");
        assert_eq!(first_trace, second_trace, "seed {seed}");
        summary.add(first);
    }
    println!("{summary}");
    assert_eq!(summary.violated, [], "see above");
    assert_eq!(summary.unseen(), [], "what did not happen shows nothing");
    assert!(summary.searched > 0 && summary.given_up == 0);
}
