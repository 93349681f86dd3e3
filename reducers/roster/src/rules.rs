//! What must hold before something happens, and what it changes: one function for each operation.

use crate::{ALUMNI, Event, LEADS, MEMBERS, Roster, TEAMS, Team};
use althing_guest::prelude::*;

/// Which rule an operation breaks.
#[derive(Debug, PartialEq, Eq, Rejection)]
pub enum Refusal {
    /// Found a team twice.
    #[reject("there is a team {team:?} already: choose another name, or describe that one")]
    TeamExists {
        /// The team.
        team: String,
    },
    /// Anything with a team that is not there.
    #[reject("there is no team {team:?}: found it first")]
    NoSuchTeam {
        /// The team.
        team: String,
    },
    /// Join, or be honoured, as a member.
    #[reject("{person:?} is a member of {team:?} already")]
    AlreadyAMember {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// Lead twice.
    #[reject("{person:?} leads {team:?} already")]
    AlreadyALead {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// Be honoured twice.
    #[reject("{person:?} is alumni of {team:?} already")]
    AlreadyAlumni {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// Lead or retire without being a member.
    #[reject("{person:?} is no member of {team:?}: let them join first")]
    NotAMember {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// Step down without being a lead.
    #[reject("{person:?} does not lead {team:?}")]
    NotALead {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// Leave without being there.
    #[reject("{person:?} is neither member nor alumni of {team:?}")]
    NotInTeam {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// Dissolve a team that somebody is in.
    #[reject("{team:?} has members or alumni: all of them have to leave first")]
    TeamNotEmpty {
        /// The team.
        team: String,
    },
}

pub(crate) fn found(team: String, what: Team) -> Result<(), Refusal> {
    if TEAMS.has(&team) {
        return Err(Refusal::TeamExists { team });
    }
    TEAMS.set(&team, &what);
    Roster::emit(Event::Founded { team });
    Ok(())
}

pub(crate) fn describe(team: String, what: Team) -> Result<(), Refusal> {
    require(&team)?;
    TEAMS.set(&team, &what);
    Ok(())
}

pub(crate) fn join(team: String, person: String) -> Result<(), Refusal> {
    require(&team)?;
    if !MEMBERS.add((&team, &person)) {
        return Err(Refusal::AlreadyAMember { team, person });
    }
    ALUMNI.delete((&team, &person));
    Roster::emit(Event::Joined { team, person });
    Ok(())
}

pub(crate) fn lead(team: String, person: String) -> Result<(), Refusal> {
    require(&team)?;
    if !MEMBERS.has((&team, &person)) {
        return Err(Refusal::NotAMember { team, person });
    }
    if !LEADS.add((&team, &person)) {
        return Err(Refusal::AlreadyALead { team, person });
    }
    Ok(())
}

pub(crate) fn step_down(team: String, person: String) -> Result<(), Refusal> {
    require(&team)?;
    if !LEADS.delete((&team, &person)) {
        return Err(Refusal::NotALead { team, person });
    }
    Ok(())
}

pub(crate) fn retire(team: String, person: String) -> Result<(), Refusal> {
    require(&team)?;
    if !MEMBERS.delete((&team, &person)) {
        return Err(Refusal::NotAMember { team, person });
    }
    LEADS.delete((&team, &person));
    ALUMNI.add((&team, &person));
    Roster::emit(Event::Left { team, person });
    Ok(())
}

pub(crate) fn honour(team: String, person: String) -> Result<(), Refusal> {
    require(&team)?;
    if MEMBERS.has((&team, &person)) {
        return Err(Refusal::AlreadyAMember { team, person });
    }
    if !ALUMNI.add((&team, &person)) {
        return Err(Refusal::AlreadyAlumni { team, person });
    }
    Ok(())
}

pub(crate) fn leave(team: String, person: String) -> Result<(), Refusal> {
    require(&team)?;
    let was_member = MEMBERS.delete((&team, &person));
    let was_alumni = ALUMNI.delete((&team, &person));
    LEADS.delete((&team, &person));
    match (was_member, was_alumni) {
        (false, false) => return Err(Refusal::NotInTeam { team, person }),
        (true, _) => Roster::emit(Event::Left { team, person }),
        (false, true) => {}
    }
    Ok(())
}

pub(crate) fn dissolve(team: String) -> Result<(), Refusal> {
    require(&team)?;
    if MEMBERS.under(&team).next().is_some() || ALUMNI.under(&team).next().is_some() {
        return Err(Refusal::TeamNotEmpty { team });
    }
    TEAMS.delete(&team);
    Roster::emit(Event::Dissolved { team });
    Ok(())
}

fn require(team: &str) -> Result<(), Refusal> {
    if TEAMS.has(team) { Ok(()) } else { Err(Refusal::NoSuchTeam { team: team.to_owned() }) }
}
