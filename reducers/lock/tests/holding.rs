//! Holding, losing and handing on a lock, on the author's machine.

use althing_guest::{Rejected, TestHost};
use lock::{HOLDS, Hold, Lock, Operation};
use std::time::Duration;

fn host() -> TestHost<Lock> {
    TestHost::new(()).expect("begins")
}

fn acquire(ttl_millis: u64) -> Operation {
    Operation::Acquire { lock: "printer".into(), ttl_millis }
}

fn renew(version: u64, ttl_millis: u64) -> Operation {
    Operation::Renew { lock: "printer".into(), version, ttl_millis }
}

fn release(version: u64) -> Operation {
    Operation::Release { lock: "printer".into(), version }
}

fn granted(result: Result<Option<Hold>, Rejected>) -> Hold {
    result.expect("accepted").expect("a grant")
}

fn code(result: Result<Option<Hold>, Rejected>) -> String {
    result.expect_err("refused").code
}

#[test]
fn one_holds_and_the_other_waits() {
    let mut host = host();
    let hold = granted(host.as_actor("ann").submit(acquire(1000)));
    assert_eq!(hold.holder, "ann");
    assert_eq!(code(host.as_actor("bob").submit(acquire(1000))), "held");
    assert_eq!(code(host.submit(release(hold.version))), "not-the-holder");
    assert_eq!(host.as_actor("ann").submit(release(hold.version)), Ok(None));
    assert_eq!(host.timers(), 0);
    let next = granted(host.as_actor("bob").submit(acquire(1000)));
    assert!(next.version > hold.version);
}

#[test]
fn a_hold_expires_when_its_time_is_up_and_not_before() {
    let mut host = host();
    let hold = granted(host.as_actor("ann").submit(acquire(1000)));
    assert_eq!(host.advance(Duration::from_millis(999)), []);
    assert_eq!(host.look(|| HOLDS.get("printer")), Some(hold.clone()));
    assert_eq!(host.advance(Duration::from_millis(2)), [Ok(())]);
    assert_eq!(host.look(|| HOLDS.get("printer")), None);
    let last = host.events().last().expect("an event");
    assert_eq!((last.name.as_str(), &last.data["version"]), ("expired", &hold.version.into()));
    assert_eq!(code(host.submit(renew(hold.version, 1000))), "not-held");
}

#[test]
fn who_renews_keeps_the_lock_and_the_version() {
    let mut host = host();
    let hold = granted(host.as_actor("ann").submit(acquire(1000)));
    host.advance(Duration::from_millis(900));
    let kept = granted(host.submit(renew(hold.version, 1000)));
    assert_eq!(kept.version, hold.version);
    assert_eq!(host.advance(Duration::from_millis(900)), []);
    assert_eq!(host.timers(), 1);
    assert_eq!(host.advance(Duration::from_millis(200)), [Ok(())]);
}

#[test]
fn an_old_version_is_fenced_off() {
    let mut host = host();
    let old = granted(host.as_actor("ann").submit(acquire(10)));
    host.advance(Duration::from_millis(20));
    let new = granted(host.submit(acquire(10)));
    assert!(new.version > old.version);
    assert_eq!(code(host.submit(release(old.version))), "stale-version");
    assert_eq!(code(host.submit(renew(old.version, 10))), "stale-version");
}

#[test]
fn times_and_names_out_of_bounds_are_refused() {
    let mut host = host();
    assert_eq!(code(host.submit(acquire(0))), "bad-ttl");
    assert_eq!(code(host.submit(acquire(u64::MAX))), "bad-ttl");
    assert_eq!(code(host.submit(Operation::Acquire { lock: String::new(), ttl_millis: 1 })), "bad-name");
}

#[test]
fn holds_can_be_asked_for() {
    let mut host = host();
    let hold = granted(host.as_actor("ann").submit(acquire(1000)));
    let answer = host.query_json(r#"{"query":"hold","lock":"printer"}"#).expect("an answer");
    assert_eq!(answer["version"], hold.version);
    assert!(host.query_json(r#"{"query":"hold","lock":"other"}"#).expect("an answer").is_null());
    assert!(host.query_json(r#"{"query":"holds"}"#).expect("an answer")["printer"].is_object());
}
