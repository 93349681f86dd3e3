//! A validator for the ledger: how much an account may lose in one operation, and what must remain.
//!
//! It does not trust the operation's words: it compares every balance before and after, so it holds
//! for whatever the ledger learns to do. Accounts that receive are free to receive, and what the
//! ledger's timers did, if it had any, would be judged the same.
//!
//! Configuration: `{"limit": 1000, "reserve": 50, "exempt_roles": ["treasurer"]}`; each may be left out.

use althing_guest::prelude::*;
use ledger::{BALANCES, Operation};

/// What a community sets.
#[config]
pub struct Config {
    /// The most that an account may lose in one operation; without it, there is no such limit.
    pub limit: Option<u64>,
    /// What must be left in an account that loses something. One that is closed, or emptied by its
    /// closing, holds nothing that could be spent.
    #[serde(default)]
    pub reserve: u64,
    /// Actors with one of these roles may do as they like.
    #[serde(default)]
    pub exempt_roles: Vec<String>,
}

/// How the validator says no.
#[derive(Debug, PartialEq, Eq, Rejection)]
pub enum Refusal {
    /// Too much at once.
    #[reject(
        "{account:?} would lose {spent} at once, the limit is {limit}: split it up, or ask for an exemption"
    )]
    SpendingLimit {
        /// The account.
        account: String,
        /// What it would lose.
        spent: u64,
        /// What it may lose.
        limit: u64,
    },
    /// Too little left.
    #[reject("{account:?} would be left with {left}, and {reserve} must remain")]
    BelowReserve {
        /// The account.
        account: String,
        /// What would be left.
        left: u64,
        /// What must remain.
        reserve: u64,
    },
}

/// The validator.
pub struct SpendingLimit;

#[validator]
impl Validator for SpendingLimit {
    fn validate(cx: &Context, config: &Config, _: &Operation, change: &Change) -> Result<(), Refusal> {
        if config.exempt_roles.iter().any(|role| cx.has_role(role)) {
            return Ok(());
        }
        check(config, change)
    }

    fn validate_timer(_: &Context, config: &Config, change: &Change) -> Result<(), Refusal> {
        check(config, change)
    }
}

fn check(config: &Config, change: &Change) -> Result<(), Refusal> {
    for (account, left) in BALANCES.changed(change) {
        let before = BALANCES.before().get_or_default(&account);
        let spent = before.saturating_sub(left.unwrap_or(0));
        if let Some(limit) = config.limit.filter(|limit| spent > *limit) {
            return Err(Refusal::SpendingLimit { account, spent, limit });
        }
        let reserve = config.reserve;
        if let Some(left) = left.filter(|left| spent > 0 && *left < reserve) {
            return Err(Refusal::BelowReserve { account, left, reserve });
        }
    }
    Ok(())
}
