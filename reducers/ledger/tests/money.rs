//! Money, on the author's machine: what is refused, and that nothing is ever made or lost on the way.

use althing_guest::{Rejected, TestHost};
use ledger::{BALANCES, Config, Ledger, OWNERS, Operation, TOTAL, TOTAL_MAX};

fn host() -> TestHost<Ledger> {
    TestHost::new(Some(Config { treasurer: Some("tess".into()) })).expect("begins")
}

fn open(account: &str) -> Operation {
    Operation::Open { account: account.into() }
}

fn mint(account: &str, amount: u64) -> Operation {
    Operation::Mint { account: account.into(), amount }
}

fn transfer(from: &str, to: &str, amount: u64) -> Operation {
    Operation::Transfer { from: from.into(), to: to.into(), amount }
}

fn code(result: Result<(), Rejected>) -> String {
    result.expect_err("refused").code
}

/// Ann and Bob with an account each, 100 in Ann's.
fn two() -> TestHost<Ledger> {
    let mut host = host();
    host.as_actor("ann").submit(open("a")).expect("opened");
    host.as_actor("bob").submit(open("b")).expect("opened");
    host.as_actor("tess").submit(mint("a", 100)).expect("minted");
    host
}

#[test]
fn a_transfer_moves_what_it_says() {
    let mut host = two();
    host.as_actor("ann").submit(transfer("a", "b", 30)).expect("moved");
    assert_eq!(host.look(|| BALANCES.iter().collect::<Vec<_>>()), [("a".into(), 70), ("b".into(), 30)]);
    let last = host.events().last().expect("an event");
    assert_eq!((last.name.as_str(), &last.data["amount"]), ("moved", &30.into()));
    assert_eq!(
        host.query_json(r#"{"query":"balances","after":"a"}"#).expect("a page"),
        serde_json::json!({"b": 30})
    );
    assert_eq!(host.query_json(r#"{"query":"total"}"#).expect("a total"), 100);
}

#[test]
fn what_may_not_be_is_refused_by_name() {
    let mut host = two();
    host.as_actor("ann");
    assert_eq!(code(host.submit(transfer("a", "b", 101))), "overdraft");
    assert_eq!(code(host.submit(transfer("a", "b", 0))), "zero-amount");
    assert_eq!(code(host.submit(transfer("a", "a", 1))), "same-account");
    assert_eq!(code(host.submit(transfer("a", "c", 1))), "no-such-account");
    assert_eq!(code(host.submit(transfer("c", "a", 1))), "no-such-account");
    assert_eq!(code(host.submit(transfer("b", "a", 1))), "not-the-owner");
    assert_eq!(code(host.submit(open("a"))), "account-exists");
    assert_eq!(code(host.submit(open(""))), "bad-name");
    assert_eq!(code(host.submit(open(&"x".repeat(129)))), "bad-name");
    assert_eq!(code(host.submit(mint("a", 1))), "not-a-treasurer");
    assert_eq!(code(host.submit(Operation::Close { account: "a".into() })), "not-empty");
    assert_eq!(code(host.as_actor("tess").submit(mint("a", TOTAL_MAX))), "too-much-money");
    assert_eq!(code(host.submit(mint("a", u64::MAX))), "too-much-money");
    assert_eq!(code(host.submit(Operation::Burn { account: "b".into(), amount: 1 })), "overdraft");
    let rejected =
        host.submit_json(r#"{"op":"transfer","from":"a","to":"b","amount":-1}"#).expect_err("refused");
    assert_eq!(rejected.code, "invalid-operation");
}

#[test]
fn the_role_makes_a_treasurer_too() {
    let mut host = two();
    host.as_member("ron", &["treasurer"]).submit(mint("b", 1)).expect("minted");
    host.submit(Operation::Burn { account: "b".into(), amount: 1 }).expect("burned");
    assert_eq!(host.look(|| TOTAL.get()), Some(100));
}

#[test]
fn an_empty_account_can_be_closed_and_opened_by_another() {
    let mut host = two();
    host.as_actor("bob").submit(Operation::Close { account: "b".into() }).expect("closed");
    host.as_actor("ann").submit(open("b")).expect("opened");
    assert_eq!(host.look(|| OWNERS.get("b")), Some("ann".into()));
}

/// A sequence of numbers that looks random and is the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn whatever_is_submitted_the_balances_add_up_to_the_total() {
    let mut host = host();
    let mut dice = Dice(1);
    let mut accepted = 0;
    for _ in 0..3000 {
        let account = |dice: &mut Dice| format!("account-{}", dice.roll(6));
        let amount = dice.roll(50);
        let operation = match dice.roll(12) {
            0 => open(&account(&mut dice)),
            1 => Operation::Close { account: account(&mut dice) },
            2 => mint(&account(&mut dice), amount),
            3 => Operation::Burn { account: account(&mut dice), amount },
            _ => transfer(&account(&mut dice), &account(&mut dice), amount),
        };
        let actor = ["ann", "bob", "tess"][dice.roll(3) as usize];
        accepted += u32::from(host.as_actor(actor).submit(operation).is_ok());
        host.look(|| {
            let sum: u64 = BALANCES.iter().map(|(_, balance)| balance).sum();
            assert_eq!(sum, TOTAL.get_or_default());
            assert!(OWNERS.keys().eq(BALANCES.keys()));
        });
    }
    assert!(accepted > 200, "only {accepted} were accepted: the dice test nothing");
}
