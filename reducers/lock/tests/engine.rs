//! The built component in the real engine: expiry by timer.

use althing_testkit::{Setup, json};
use std::time::Duration;

#[test]
fn the_component_grants_and_expires() {
    let mut kit = Setup::of(env!("CARGO_MANIFEST_DIR")).start().expect("the lock starts");
    let acquire = json!({"op": "acquire", "lock": "printer", "ttl_millis": 1000});
    let first = kit.as_actor("ann").submit(&acquire).expect("granted");
    assert_eq!(kit.as_actor("bob").submit(&acquire).expect_err("held").code(), "held");
    assert_eq!(kit.advance(Duration::from_millis(500)), []);
    assert_eq!(kit.query(&json!({"query": "hold", "lock": "printer"})), Ok(first.clone()));

    let fired = kit.advance(Duration::from_millis(600));
    assert_eq!(fired.len(), 1);
    assert_eq!((fired[0].id.as_slice(), &fired[0].outcome), (&b"printer"[..], &Ok(())));
    assert_eq!(kit.query(&json!({"query": "hold", "lock": "printer"})), Ok(json!(null)));

    let second = kit.submit(&acquire).expect("granted");
    assert!(second["version"].as_u64() > first["version"].as_u64());
    let stale = json!({"op": "release", "lock": "printer", "version": first["version"]});
    assert_eq!(kit.submit(&stale).expect_err("stale").code(), "stale-version");
    let release = json!({"op": "release", "lock": "printer", "version": second["version"]});
    kit.submit(&release).expect("released");
    assert_eq!(kit.advance(Duration::from_secs(10)), [], "a lock that was given back has no timer");
}
