//! Accounts and transfers: no account below zero, and a total that only minting and burning change.
//!
//! An account belongs to the actor who opens it; only the owner moves what is in it. Who may mint and
//! burn is set by the configuration: one actor by name, besides everyone with the role `treasurer`.
//!
//! State, one key for each fact: `owner/ACCOUNT`, `balance/ACCOUNT`, `total`, `treasurer`. Amounts stay
//! below 2^53, so that they are exact in every JSON reader there is.

use althing_guest::prelude::*;
use std::{collections::BTreeMap, ops::Bound};

/// Whose account it is.
pub const OWNERS: Map<String, String> = Map::new("owner");
/// What is in it.
pub const BALANCES: Map<String, u64> = Map::new("balance");
/// What is in all of them.
pub const TOTAL: Value<u64> = Value::new("total");
/// The actor who may mint besides those of the role.
const TREASURER: Value<String> = Value::new("treasurer");

/// The role whose actors may mint and burn.
pub const TREASURER_ROLE: &str = "treasurer";
/// The most there can be in all accounts together.
pub const TOTAL_MAX: u64 = (1 << 53) - 1;
const ACCOUNT_BYTES_MAX: usize = 128;

/// What a community sets.
#[config]
pub struct Config {
    /// An actor who may mint and burn, besides everyone with the role `treasurer`.
    pub treasurer: Option<String>,
}

/// What a client can do.
#[operation]
pub enum Operation {
    /// Opens an account for the actor.
    Open {
        /// Its name, 1 to 128 bytes.
        account: String,
    },
    /// Closes an empty account of the actor's.
    Close {
        /// Its name.
        account: String,
    },
    /// Makes money. For treasurers.
    Mint {
        /// The account that receives it.
        account: String,
        /// How much.
        amount: u64,
    },
    /// Destroys money. For treasurers.
    Burn {
        /// The account that loses it.
        account: String,
        /// How much.
        amount: u64,
    },
    /// Moves money out of an account of the actor's.
    Transfer {
        /// The account that loses it.
        from: String,
        /// The account that receives it.
        to: String,
        /// How much.
        amount: u64,
    },
}

/// What a client can ask.
#[query]
pub enum Query {
    /// What is in an account.
    Balance {
        /// Its name.
        account: String,
    },
    /// What is in all accounts together.
    Total,
    /// Every account with its balance, page by page.
    Balances {
        /// Go on after this account: the last of the page before.
        #[serde(default)]
        after: Option<String>,
        /// At most so many; 100 unless told, 1000 at most.
        #[serde(default)]
        limit: Option<u32>,
    },
}

/// What is answered.
#[data]
#[serde(untagged)]
pub enum Answer {
    /// To `balance` and `total`.
    Amount(u64),
    /// To `balances`.
    Balances(BTreeMap<String, u64>),
}

/// What subscribers are told.
#[event]
pub enum Event {
    /// An account was opened.
    Opened {
        /// Its name.
        account: String,
        /// Whose it is.
        owner: String,
    },
    /// An account was closed.
    Closed {
        /// Its name.
        account: String,
    },
    /// Money was made.
    Minted {
        /// Where it went.
        account: String,
        /// How much.
        amount: u64,
    },
    /// Money was destroyed.
    Burned {
        /// Where it was.
        account: String,
        /// How much.
        amount: u64,
    },
    /// Money was moved.
    Moved {
        /// Where it was.
        from: String,
        /// Where it went.
        to: String,
        /// How much.
        amount: u64,
    },
}

/// How the ledger says no.
#[derive(Debug, PartialEq, Eq, Rejection)]
pub enum Refusal {
    /// A name that is empty or too long.
    #[reject("an account's name has 1 to 128 bytes, this one has {bytes}")]
    BadName {
        /// How many it has.
        bytes: usize,
    },
    /// A name that is taken.
    #[reject("there is an account {account:?} already: choose another name")]
    AccountExists {
        /// The account.
        account: String,
    },
    /// A name that nobody has.
    #[reject("there is no account {account:?}: open it first")]
    NoSuchAccount {
        /// The account.
        account: String,
    },
    /// Somebody else's account.
    #[reject("{account:?} belongs to somebody else: only its owner may do this")]
    NotTheOwner {
        /// The account.
        account: String,
    },
    /// Minting or burning by somebody else.
    #[reject("minting and burning are for treasurers: {actor:?} is none")]
    NotATreasurer {
        /// Who asked.
        actor: String,
    },
    /// Nothing to move.
    #[reject("the amount is zero: say how much")]
    ZeroAmount,
    /// From an account to itself.
    #[reject("{account:?} cannot pay itself")]
    SameAccount {
        /// The account.
        account: String,
    },
    /// More than there is.
    #[reject("{account:?} holds {balance}, which is less than {amount}")]
    Overdraft {
        /// The account.
        account: String,
        /// What is in it.
        balance: u64,
        /// What was asked.
        amount: u64,
    },
    /// More than there may be.
    #[reject("{total} are in circulation; with {amount} more there would be over 2^53 - 1")]
    TooMuchMoney {
        /// What there is.
        total: u64,
        /// What was asked.
        amount: u64,
    },
    /// Closing an account that holds something.
    #[reject("{account:?} still holds {balance}: move it away first")]
    NotEmpty {
        /// The account.
        account: String,
        /// What is in it.
        balance: u64,
    },
}

/// The reducer.
pub struct Ledger;

#[reducer(scope = "per-batch")]
impl Reducer for Ledger {
    type Event = Event;

    fn init(_: &Context, config: Option<Config>) -> Result<(), Refusal> {
        if let Some(treasurer) = config.and_then(|config| config.treasurer) {
            TREASURER.set(&treasurer);
        }
        Ok(())
    }

    fn reduce(cx: &Context, operation: Operation) -> Result<(), Refusal> {
        match operation {
            Operation::Open { account } => open(cx, account),
            Operation::Close { account } => close(cx, account),
            Operation::Mint { account, amount } => mint(cx, account, amount),
            Operation::Burn { account, amount } => burn(cx, account, amount),
            Operation::Transfer { from, to, amount } => transfer(cx, from, to, amount),
        }
    }

    fn query(_: &Context, query: Query) -> Result<Answer, Refusal> {
        match query {
            Query::Balance { account } => balance(&account).map(Answer::Amount),
            Query::Total => Ok(Answer::Amount(TOTAL.get_or_default())),
            Query::Balances { after, limit } => {
                let start = after.map_or(Bound::Unbounded, Bound::Excluded);
                let limit = limit.unwrap_or(100).clamp(1, 1000) as usize;
                Ok(Answer::Balances(BALANCES.range((start, Bound::Unbounded)).take(limit).collect()))
            }
        }
    }
}

fn open(cx: &Context, account: String) -> Result<(), Refusal> {
    if account.is_empty() || account.len() > ACCOUNT_BYTES_MAX {
        return Err(Refusal::BadName { bytes: account.len() });
    }
    if OWNERS.has(&account) {
        return Err(Refusal::AccountExists { account });
    }
    let owner = cx.actor.id.clone();
    OWNERS.set(&account, &owner);
    BALANCES.set(&account, &0);
    Ledger::emit(Event::Opened { account, owner });
    Ok(())
}

fn close(cx: &Context, account: String) -> Result<(), Refusal> {
    let balance = balance(&account)?;
    require_owner(cx, &account)?;
    if balance > 0 {
        return Err(Refusal::NotEmpty { account, balance });
    }
    OWNERS.delete(&account);
    BALANCES.delete(&account);
    Ledger::emit(Event::Closed { account });
    Ok(())
}

fn mint(cx: &Context, account: String, amount: u64) -> Result<(), Refusal> {
    require_treasurer(cx)?;
    let balance = balance(&account)?;
    require_amount(amount)?;
    let total = TOTAL.get_or_default();
    let more = total.checked_add(amount).filter(|more| *more <= TOTAL_MAX);
    TOTAL.set(&more.ok_or(Refusal::TooMuchMoney { total, amount })?);
    BALANCES.set(&account, &(balance + amount));
    Ledger::emit(Event::Minted { account, amount });
    Ok(())
}

fn burn(cx: &Context, account: String, amount: u64) -> Result<(), Refusal> {
    require_treasurer(cx)?;
    require_amount(amount)?;
    take(&account, amount)?;
    TOTAL.set(&(TOTAL.get_or_default() - amount));
    Ledger::emit(Event::Burned { account, amount });
    Ok(())
}

fn transfer(cx: &Context, from: String, to: String, amount: u64) -> Result<(), Refusal> {
    balance(&from)?;
    require_owner(cx, &from)?;
    if from == to {
        return Err(Refusal::SameAccount { account: from });
    }
    let receiver = balance(&to)?;
    require_amount(amount)?;
    take(&from, amount)?;
    // What moves is part of the total, which is bounded: this cannot overflow.
    BALANCES.set(&to, &(receiver + amount));
    Ledger::emit(Event::Moved { from, to, amount });
    Ok(())
}

fn balance(account: &str) -> Result<u64, Refusal> {
    BALANCES.get(account).ok_or_else(|| Refusal::NoSuchAccount { account: account.to_owned() })
}

fn take(account: &str, amount: u64) -> Result<(), Refusal> {
    let balance = balance(account)?;
    let Some(left) = balance.checked_sub(amount) else {
        return Err(Refusal::Overdraft { account: account.to_owned(), balance, amount });
    };
    BALANCES.set(account, &left);
    Ok(())
}

fn require_owner(cx: &Context, account: &str) -> Result<(), Refusal> {
    match OWNERS.get(account) {
        Some(owner) if owner == cx.actor.id => Ok(()),
        _ => Err(Refusal::NotTheOwner { account: account.to_owned() }),
    }
}

fn require_treasurer(cx: &Context) -> Result<(), Refusal> {
    if cx.has_role(TREASURER_ROLE) || TREASURER.get().is_some_and(|named| named == cx.actor.id) {
        return Ok(());
    }
    Err(Refusal::NotATreasurer { actor: cx.actor.id.clone() })
}

const fn require_amount(amount: u64) -> Result<(), Refusal> {
    if amount == 0 { Err(Refusal::ZeroAmount) } else { Ok(()) }
}
