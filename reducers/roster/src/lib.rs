//! Who belongs to which team: the rules of a real project's roster.
//!
//! The operations are those of `examples/roster/data`, whose README has the rules. Each rule that an
//! operation breaks has a code of its own:
//!
//! | op | rejected with |
//! |---|---|
//! | `found` | `team-exists` |
//! | `describe` | `no-such-team` |
//! | `join` | `no-such-team`, `already-a-member` |
//! | `lead` | `no-such-team`, `not-a-member`, `already-a-lead` |
//! | `step-down` | `no-such-team`, `not-a-lead` |
//! | `retire` | `no-such-team`, `not-a-member` |
//! | `honour` | `no-such-team`, `already-a-member`, `already-alumni` |
//! | `leave` | `no-such-team`, `not-in-team` |
//! | `dissolve` | `no-such-team`, `team-not-empty` |
//!
//! State, one key for each fact: `team/TEAM` holds kind and parent; `member/TEAM␀PERSON`, `lead/…` and
//! `alumni/…` are there or not.

mod page;
mod rules;

use althing_guest::prelude::*;
pub use page::{Page, Roll};
pub use rules::Refusal;

/// The teams there are.
pub const TEAMS: Map<String, Team> = Map::new("team");
/// Who is a member of which team.
pub const MEMBERS: Set<(String, String)> = Set::new("member");
/// Which members lead their team.
pub const LEADS: Set<(String, String)> = Set::new("lead");
/// Who was a member once, or is honoured as if.
pub const ALUMNI: Set<(String, String)> = Set::new("alumni");

/// What a team is.
#[data]
pub struct Team {
    /// What kind of team.
    pub kind: String,
    /// The team it is part of.
    pub parent: Option<String>,
}

/// What can happen. Further keys, such as when it happened, decide nothing and are overlooked.
#[operation(open)]
pub enum Operation {
    /// A team begins, empty.
    Found {
        /// Its name.
        team: String,
        /// What kind of team.
        kind: String,
        /// The team it is part of.
        parent: Option<String>,
    },
    /// What a team is changes.
    Describe {
        /// The team.
        team: String,
        /// What kind of team it is now.
        kind: String,
        /// The team it is part of now.
        parent: Option<String>,
    },
    /// Somebody becomes a member, and is alumni no longer.
    Join {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// A member becomes a lead too.
    Lead {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// A lead is a mere member again.
    StepDown {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// A member becomes alumni.
    Retire {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// Somebody who never was a member is named as alumni.
    Honour {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// Somebody is out: of members, leads and alumni.
    Leave {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// An empty team ends.
    Dissolve {
        /// The team.
        team: String,
    },
}

/// What can be asked.
#[query]
pub enum Query {
    /// One team.
    Team {
        /// Its name.
        team: String,
    },
    /// All teams, page by page.
    Everything {
        /// Go on after this team: the `next` of the page before.
        #[serde(default)]
        after: Option<String>,
        /// At most so many teams; 100 unless told, 1000 at most.
        #[serde(default)]
        limit: Option<u32>,
    },
}

/// What is answered.
#[data]
#[serde(untagged)]
pub enum Answer {
    /// To `everything`.
    Page(Page),
    /// To `team`.
    Roll(Roll),
}

/// What subscribers are told.
#[event]
pub enum Event {
    /// A team began.
    Founded {
        /// The team.
        team: String,
    },
    /// A team ended.
    Dissolved {
        /// The team.
        team: String,
    },
    /// Somebody became a member.
    Joined {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
    /// A member is one no longer.
    Left {
        /// The team.
        team: String,
        /// Who.
        person: String,
    },
}

/// The reducer.
pub struct Roster;

#[reducer(scope = "per-batch")]
impl Reducer for Roster {
    type Event = Event;

    fn reduce(_: &Context, operation: Operation) -> Result<(), Refusal> {
        match operation {
            Operation::Found { team, kind, parent } => rules::found(team, Team { kind, parent }),
            Operation::Describe { team, kind, parent } => rules::describe(team, Team { kind, parent }),
            Operation::Join { team, person } => rules::join(team, person),
            Operation::Lead { team, person } => rules::lead(team, person),
            Operation::StepDown { team, person } => rules::step_down(team, person),
            Operation::Retire { team, person } => rules::retire(team, person),
            Operation::Honour { team, person } => rules::honour(team, person),
            Operation::Leave { team, person } => rules::leave(team, person),
            Operation::Dissolve { team } => rules::dissolve(team),
        }
    }

    fn query(_: &Context, query: Query) -> Result<Answer, Refusal> {
        match query {
            Query::Team { team } => page::roll(team).map(Answer::Roll),
            Query::Everything { after, limit } => Ok(Answer::Page(page::page(after, limit))),
        }
    }
}
