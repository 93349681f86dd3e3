//! Some of the calls that change a file, made to fail or to be the last one (`cargo xtask nth` does it to all).

use althing_tests::{
    nth::{Calls, How, Stage, Tally, one},
    skip::skipped,
};
use std::path::Path;

/// Every so many calls.
const STRIDE: usize = 13;

#[test]
fn whatever_call_fails_or_is_the_last_nothing_that_was_told_is_lost() {
    let stage = match Stage::set(Path::new(env!("CARGO_BIN_EXE_nth"))) {
        Ok(stage) => stage,
        Err(why) => {
            let is_skipped =
                skipped("whatever_call_fails_or_is_the_last_nothing_that_was_told_is_lost", Err(why));
            assert!(is_skipped);
            return;
        }
    };
    let Calls { changing, reading } = stage.calls();
    let mut tally = Tally::default();
    for (place, at) in (1..=changing).step_by(STRIDE).enumerate() {
        // Each of them in its turn, so that all come with all kinds of calls over time.
        for turn in [place, place + 3] {
            one(&stage, at, How::CHANGING[turn % How::CHANGING.len()], &mut tally);
        }
    }
    for at in (1..=reading).step_by(STRIDE) {
        one(&stage, at, How::Unread, &mut tally);
    }
    assert_eq!(tally.violations, Vec::<String>::new(), "of {} plays, {} struck", tally.plays, tally.struck);
    assert!(tally.struck * 10 >= tally.plays * 9, "most of the calls were there: {tally:?}");
}
