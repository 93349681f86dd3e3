//! A short soak (`cargo xtask soak` goes on for as long as it is told): clients come and go, and leave nothing behind
//! that is held for good. Memory and files need longer than this to say anything.

use althing_tests::soak::soak;
use std::time::Duration;

const SPAN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_and_go_leave_no_descriptors_and_no_threads_behind() {
    let soaked = soak(SPAN, |_| {}).await;
    assert!(soaked.operations > 100 && soaked.visits > 10 && soaked.acts > 0, "{soaked:?}");
    let courses = soaked.measures.courses();
    assert_eq!(courses.len(), 12, "four quantities of three nodes");
    for course in courses.iter().filter(|course| ["descriptors", "threads"].contains(&course.what)) {
        assert!(course.is_flat, "{course:?}");
    }
}
