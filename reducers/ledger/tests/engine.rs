//! The built component in the real engine.

use althing_testkit::{Setup, json};

#[test]
fn the_component_moves_money_and_refuses_by_name() {
    let setup = Setup::of(env!("CARGO_MANIFEST_DIR")).config(json!({"treasurer": "tess"}));
    let mut kit = setup.start().expect("the ledger starts");
    kit.as_actor("ann").submit(&json!({"op": "open", "account": "a"})).expect("opened");
    kit.as_actor("bob").submit(&json!({"op": "open", "account": "b"})).expect("opened");
    let mint = json!({"op": "mint", "account": "a", "amount": 100});
    assert_eq!(kit.submit(&mint).expect_err("bob may not").code(), "not-a-treasurer");
    kit.as_actor("tess").submit(&mint).expect("tess may");
    kit.as_member("ron", &["treasurer"]).submit(&mint).expect("the role may");
    let pay = |amount: u64| json!({"op": "transfer", "from": "a", "to": "b", "amount": amount});
    let paid = kit.as_actor("ann").submit_all(&[pay(150), pay(51), pay(50), pay(1)]);
    let codes: Vec<_> =
        paid.iter().map(|paid| paid.as_ref().map_or_else(|refused| refused.code(), |_| "paid")).collect();
    assert_eq!(codes, ["paid", "overdraft", "paid", "overdraft"]);
    assert_eq!(kit.query(&json!({"query": "balances"})), Ok(json!({"a": 0, "b": 200})));
    assert_eq!(kit.query(&json!({"query": "total"})), Ok(json!(200)));
}

#[test]
fn a_configuration_that_is_none_is_refused_at_installation() {
    let refused =
        Setup::of(env!("CARGO_MANIFEST_DIR")).config(json!({"tresurer": "tess"})).start().map(|_| ());
    let error = refused.expect_err("refused");
    assert!(format!("{error:?}").contains("invalid-config"), "{error:?}");
}
