//! The ledger under watch, on the author's machine.

use althing_guest::{Rejected, TestHost};
use ledger::{BALANCES, Ledger, Operation};
use spending_limit::{Config, SpendingLimit};

/// Ann and Bob with an account each, 1000 in Ann's, watched from then on.
fn watched(config: &Config) -> TestHost<Ledger> {
    let mut host = TestHost::<Ledger>::new(None).expect("begins");
    host.as_actor("ann").submit(Operation::Open { account: "a".into() }).expect("opened");
    host.as_actor("bob").submit(Operation::Open { account: "b".into() }).expect("opened");
    host.as_member("tess", &["treasurer"])
        .submit(Operation::Mint { account: "a".into(), amount: 1000 })
        .expect("minted");
    let mut host = host.watched_by::<SpendingLimit>(config);
    host.as_actor("ann");
    host
}

fn pay(amount: u64) -> Operation {
    Operation::Transfer { from: "a".into(), to: "b".into(), amount }
}

fn code(result: Result<(), Rejected>) -> String {
    result.expect_err("refused").code
}

fn strict() -> Config {
    Config { limit: Some(400), reserve: 100, exempt_roles: vec!["director".into()] }
}

#[test]
fn nobody_spends_more_than_the_limit_at_once() {
    let mut host = watched(&strict());
    let before = (host.pairs().clone(), host.events().len());
    assert_eq!(code(host.submit(pay(401))), "spending-limit");
    assert!(before == (host.pairs().clone(), host.events().len()), "a refused operation changes nothing");
    host.submit(pay(400)).expect("paid");
    host.submit(pay(400)).expect("paid");
    assert_eq!(code(host.submit(pay(101))), "below-reserve");
    host.submit(pay(100)).expect("paid");
    assert_eq!(host.look(|| (BALANCES.get("a"), BALANCES.get("b"))), (Some(100), Some(900)));
}

#[test]
fn the_exempt_do_as_they_like() {
    let mut host = watched(&strict());
    host.as_member("ann", &["director"]).submit(pay(1000)).expect("paid");
}

#[test]
fn burning_is_spending_too_whatever_the_operation_is_called() {
    let mut host = watched(&strict());
    host.as_member("tess", &["treasurer"]);
    assert_eq!(code(host.submit(Operation::Burn { account: "a".into(), amount: 500 })), "spending-limit");
    host.submit(Operation::Mint { account: "a".into(), amount: 5000 }).expect("receiving is free");
}

#[test]
fn without_a_configuration_of_its_own_nothing_is_limited() {
    let mut host = watched(&Config { limit: None, reserve: 0, exempt_roles: vec![] });
    host.submit(pay(1000)).expect("paid");
    host.submit(Operation::Close { account: "a".into() }).expect("an empty account can be closed");
}
