//! The simulator's short version: a few seeds, each run twice and compared. `cargo xtask sim` is the long one.
//!
//! A seed that fails is printed and can be run alone: `cargo xtask sim --seed 17`.

use althing_tests::sim::{Programs, Summary, run, run_traced};

/// Seeds of the short version: few, and together they have every fault, most of them more than once.
const SEEDS: [u64; 4] = [1, 2, 6, 7];
/// Seeds that once found something; what, docs/reliability.md says.
const REGRESSIONS: [u64; 2] = [36, 70];
/// Kinds of fault that each of the short runs has at least.
const KINDS_MIN: usize = 6;

#[test]
fn whatever_goes_wrong_every_promise_holds_and_a_seed_takes_the_same_course_every_time() {
    let programs = Programs::load();
    let mut summary = Summary::default();
    for seed in SEEDS {
        let (first, first_trace) = run_traced(seed, &programs);
        let (second, second_trace) = run_traced(seed, &programs);
        assert_eq!(first, second, "seed {seed}");
        assert_eq!(first_trace, second_trace, "seed {seed}");
        assert!(first.fired.len() >= KINDS_MIN, "seed {seed} shows little: {:?}", first.fired);
        summary.add(first);
    }
    println!("{summary}");
    assert_eq!(summary.violated, [], "see above");
    assert_eq!(summary.unseen(), [], "what did not happen shows nothing");
    assert!(summary.searched > 0 && summary.given_up == 0);
}

#[test]
fn what_was_found_once_is_not_found_again() {
    let programs = Programs::load();
    for seed in REGRESSIONS {
        assert_eq!(run(seed, &programs).violations, Vec::<String>::new(), "seed {seed}");
    }
}
