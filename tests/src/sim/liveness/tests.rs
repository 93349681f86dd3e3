//! What never comes is a violation, and ends the wait.

use super::{super::plan::Plan, *};
use althing_consensus::runtime::simulate;
use std::sync::Arc;

/// What is said of a community whose nodes are all down.
fn complaints(wait: impl AsyncFnOnce(&mut Staff, &Runtime)) -> Vec<String> {
    let record = Record::new(1);
    simulate(1, async |runtime| {
        let desk = Desk {
            runtime: runtime.clone(),
            doors: Default::default(),
            record: record.clone(),
            number: 0,
            plan: Arc::new(Plan { writers: 1, readers: 1, subscribers: 1, ..Plan::of(1) }),
            closing: Arc::default(),
            leaving: Arc::default(),
        };
        let mut staff = Staff::hire(desk);
        wait(&mut staff, &runtime).await;
        assert!(runtime.monotonic() < 2 * HEAL_PATIENCE, "it waits no longer than it may");
        staff.dismiss_clients().await;
        staff.dismiss_subscribers().await;
    });
    record.close().2
}

#[test]
fn clients_that_are_never_answered_are_found_each_by_name() {
    let found = complaints(async |staff, _| staff.is_answered().await);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("writer-0") && found[0].contains("reader-0"), "{found:?}");
}

#[test]
fn a_writer_that_is_never_answered_is_found_though_readers_have_what_they_want() {
    let found = complaints(async |staff, runtime| {
        let seat = staff.clients[1].seat.clone();
        let (began, clock) = (runtime.monotonic(), runtime.clone());
        let answered = async move {
            while clock.monotonic() - began < HEAL_PATIENCE {
                seat.reached.fetch_add(100, Ordering::Relaxed);
                clock.sleep(LOOK_EVERY).await;
            }
        };
        let reader = runtime.spawn("reader", answered);
        staff.is_answered().await;
        reader.ended.await;
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("writer-0") && !found[0].contains("reader-0"), "{found:?}");
}

#[test]
fn a_subscriber_that_does_not_come_to_the_end_of_the_history_is_found() {
    let found = complaints(async |staff, _| staff.is_told(Sequence(7)).await);
    assert!(found.len() == 1 && found[0].contains("subscriber-0"), "{found:?}");
    let told = complaints(async |staff, _| {
        staff.subscribers[0].seat.reached.store(8, Ordering::Relaxed);
        staff.is_told(Sequence(7)).await;
    });
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn whoever_does_not_end_when_told_to_is_found() {
    let found = complaints(async |staff, runtime| {
        let never = runtime.spawn("never", futures::future::pending());
        ends(runtime, &staff.desk.record, "this one", never).await;
    });
    assert!(found.len() == 1 && found[0].contains("this one"), "{found:?}");
}
