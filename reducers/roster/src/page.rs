//! Reading the roster back: a team, or all of them page by page, in the shape of the data's
//! checkpoints.

use crate::{ALUMNI, LEADS, MEMBERS, Refusal, TEAMS, Team};
use althing_guest::prelude::*;
use std::{collections::BTreeMap, ops::Bound};

const TEAMS_DEFAULT: u32 = 100;
const TEAMS_MAX: u32 = 1000;

/// A team and who is in it, each list ascending.
#[data]
pub struct Roll {
    /// Who was a member, or is honoured as if.
    pub alumni: Vec<String>,
    /// What kind of team.
    pub kind: String,
    /// Members who lead.
    pub leads: Vec<String>,
    /// All members.
    pub members: Vec<String>,
    /// The team it is part of.
    pub parent: Option<String>,
}

/// Some teams.
#[data]
pub struct Page {
    /// By name.
    pub teams: BTreeMap<String, Roll>,
    /// The `after` of the next page; none on the last.
    pub next: Option<String>,
}

pub(crate) fn roll(team: String) -> Result<Roll, Refusal> {
    match TEAMS.get(&team) {
        Some(what) => Ok(call(&team, what)),
        None => Err(Refusal::NoSuchTeam { team }),
    }
}

pub(crate) fn page(after: Option<String>, limit: Option<u32>) -> Page {
    let limit = limit.unwrap_or(TEAMS_DEFAULT).clamp(1, TEAMS_MAX) as usize;
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = TEAMS.range((start, Bound::Unbounded));
    let teams: BTreeMap<_, _> = rest
        .by_ref()
        .take(limit)
        .map(|(team, what)| {
            let roll = call(&team, what);
            (team, roll)
        })
        .collect();
    let next = rest.next().and_then(|_| teams.keys().next_back().cloned());
    Page { teams, next }
}

fn call(team: &str, what: Team) -> Roll {
    let people = |set: Set<(String, String)>| set.under(team).map(|(_, person)| person).collect();
    Roll {
        alumni: people(ALUMNI),
        kind: what.kind,
        leads: people(LEADS),
        members: people(MEMBERS),
        parent: what.parent,
    }
}
