//! The built validator over the built ledger, in the real engine.

use althing_testkit::{Refused, Setup, json};

#[test]
fn the_component_watches_the_ledger() {
    let here = env!("CARGO_MANIFEST_DIR");
    let mut kit = Setup::of(format!("{here}/../ledger"))
        .config(json!({"treasurer": "tess"}))
        .validator(here, json!({"limit": 40, "reserve": 10}))
        .start()
        .expect("ledger and validator start");
    kit.as_actor("ann").submit(&json!({"op": "open", "account": "a"})).expect("opened");
    kit.as_actor("bob").submit(&json!({"op": "open", "account": "b"})).expect("opened");
    kit.as_actor("tess").submit(&json!({"op": "mint", "account": "a", "amount": 100})).expect("minted");

    let pay = |amount: u64| json!({"op": "transfer", "from": "a", "to": "b", "amount": amount});
    let before = kit.pairs();
    let refused = kit.as_actor("ann").submit(&pay(41)).expect_err("over the limit");
    assert!(
        matches!(&refused, Refused::Rejected { code, validator: Some(0), .. } if code == "spending-limit")
    );
    assert_eq!(kit.pairs(), before, "a refused operation changes nothing");
    let paid = kit.submit_all(&[pay(40), pay(40), pay(11)]);
    assert!(paid[0].is_ok() && paid[1].is_ok());
    assert_eq!(paid[2].as_ref().expect_err("below the reserve").code(), "below-reserve");
    assert_eq!(kit.query(&json!({"query": "balances"})), Ok(json!({"a": 20, "b": 80})));
}
