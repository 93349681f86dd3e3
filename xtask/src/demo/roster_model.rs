//! An independent model of the roster: the rules of the data's own README, written a second time.
//!
//! It says which rule an operation would break. It shares nothing with the reducer, so that the two
//! can disagree; and it is checked against the data's checkpoints too, which come from neither.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// One operation of the data, or a mutation of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// What is done.
    pub(crate) verb: Verb,
    /// To which team.
    pub(crate) team: String,
    /// The person, the kind or the parent, as the verb wants them.
    pub(crate) rest: Rest,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    /// A team begins.
    Found,
    /// Its kind or parent changes.
    Describe,
    /// Becomes a member.
    Join,
    /// Becomes a lead too.
    Lead,
    /// Is no longer a lead.
    StepDown,
    /// Becomes alumni.
    Retire,
    /// Is named as alumni.
    Honour,
    /// Goes altogether.
    Leave,
    /// A team ends.
    Dissolve,
}

/// What an operation says besides the team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    Nothing,
    /// Who.
    Person(String),
    /// What kind of team, below which.
    Description {
        /// Its kind.
        kind: String,
        /// The team above it.
        parent: Option<String>,
    },
}

/// What is wrong with an operation that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Founded twice.
    TeamExists,
    /// Anything with a team that is not there.
    NoSuchTeam,
    /// Joins, or is honoured, as a member.
    AlreadyAMember,
    /// Leads twice.
    AlreadyALead,
    /// Honoured twice.
    AlreadyAlumni,
    /// Leads, or retires, without being a member.
    NotAMember,
    /// Steps down without being a lead.
    NotALead,
    /// Leaves without being there.
    NotInTeam,
    /// Dissolved with somebody in it.
    TeamNotEmpty,
}

impl Rule {
    /// The code that the reducer promises for it.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::TeamExists => "team-exists",
            Self::NoSuchTeam => "no-such-team",
            Self::AlreadyAMember => "already-a-member",
            Self::AlreadyALead => "already-a-lead",
            Self::AlreadyAlumni => "already-alumni",
            Self::NotAMember => "not-a-member",
            Self::NotALead => "not-a-lead",
            Self::NotInTeam => "not-in-team",
            Self::TeamNotEmpty => "team-not-empty",
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Team {
    kind: String,
    parent: Option<String>,
    members: BTreeSet<String>,
    leads: BTreeSet<String>,
    alumni: BTreeSet<String>,
}

/// All teams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    teams: BTreeMap<String, Team>,
}

impl Roster {
    /// Carries an operation out, or says which rule it breaks and changes nothing.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Result<(), Rule> {
        self.judge(operation)?;
        if operation.verb == Verb::Dissolve {
            self.teams.remove(&operation.team);
            return Ok(());
        }
        let team = self.teams.entry(operation.team.clone()).or_default();
        match &operation.rest {
            Rest::Person(person) => team.change(operation.verb, person),
            Rest::Description { kind, parent } => (team.kind, team.parent) = (kind.clone(), parent.clone()),
            Rest::Nothing => {}
        }
        Ok(())
    }

    /// The rule that an operation would break, if it would.
    pub(crate) fn judge(&self, operation: &Operation) -> Result<(), Rule> {
        let team = self.teams.get(&operation.team);
        if operation.verb == Verb::Found {
            return hold(team.is_none(), Rule::TeamExists);
        }
        let team = team.ok_or(Rule::NoSuchTeam)?;
        let person = operation.person();
        let is_member = team.members.contains(person);
        let is_lead = team.leads.contains(person);
        let is_alumni = team.alumni.contains(person);
        match operation.verb {
            Verb::Found | Verb::Describe => Ok(()),
            Verb::Join => hold(!is_member, Rule::AlreadyAMember),
            Verb::Lead => hold(is_member, Rule::NotAMember).and(hold(!is_lead, Rule::AlreadyALead)),
            Verb::StepDown => hold(is_lead, Rule::NotALead),
            Verb::Retire => hold(is_member, Rule::NotAMember),
            Verb::Honour => hold(!is_member, Rule::AlreadyAMember).and(hold(!is_alumni, Rule::AlreadyAlumni)),
            Verb::Leave => hold(is_member || is_alumni, Rule::NotInTeam),
            Verb::Dissolve => hold(team.members.is_empty() && team.alumni.is_empty(), Rule::TeamNotEmpty),
        }
    }

    /// As the checkpoints write it: teams by name, each with its people sorted.
    #[cfg(test)]
    pub(crate) fn to_json(&self) -> Value {
        let teams = self.teams.iter().map(|(name, team)| {
            let team = json!({
                "kind": team.kind,
                "parent": team.parent,
                "members": team.members,
                "leads": team.leads,
                "alumni": team.alumni,
            });
            (name.clone(), team)
        });
        Value::Object(teams.collect::<serde_json::Map<_, _>>())
    }
}

fn hold(holds: bool, rule: Rule) -> Result<(), Rule> {
    if holds { Ok(()) } else { Err(rule) }
}

impl Team {
    fn change(&mut self, verb: Verb, person: &str) {
        let person = person.to_owned();
        match verb {
            Verb::Join => {
                self.alumni.remove(&person);
                self.members.insert(person);
            }
            Verb::Lead => drop(self.leads.insert(person)),
            Verb::StepDown => drop(self.leads.remove(&person)),
            Verb::Retire => {
                self.members.remove(&person);
                self.leads.remove(&person);
                self.alumni.insert(person);
            }
            Verb::Honour => drop(self.alumni.insert(person)),
            Verb::Leave => {
                self.members.remove(&person);
                self.leads.remove(&person);
                self.alumni.remove(&person);
            }
            Verb::Found | Verb::Describe | Verb::Dissolve => {}
        }
    }
}

impl Operation {
    /// Reads a line of the data.
    pub(crate) fn read(line: &str) -> Result<Self> {
        let fields: Value = serde_json::from_str(line).context("a line is no JSON")?;
        let text = |name: &str| fields[name].as_str().map(str::to_owned);
        let name = text("op").context("an operation has no `op`")?;
        let verb = Verb::ALL.iter().copied().find(|verb| verb.name() == name);
        let Some(verb) = verb else { bail!("there is no operation `{name}`") };
        let rest = match verb {
            Verb::Found | Verb::Describe => Rest::Description {
                kind: text("kind").context("an operation has no `kind`")?,
                parent: text("parent"),
            },
            Verb::Dissolve => Rest::Nothing,
            _ => Rest::Person(text("person").context("an operation has no `person`")?),
        };
        Ok(Self { verb, team: text("team").context("an operation has no `team`")?, rest })
    }

    /// Writes it as a line of the data is written, at some time of no meaning.
    pub(crate) fn to_json(&self) -> Value {
        let mut fields = json!({ "at": 0, "op": self.verb.name(), "team": self.team });
        match &self.rest {
            Rest::Nothing => {}
            Rest::Person(person) => fields["person"] = json!(person),
            Rest::Description { kind, parent } => {
                fields["kind"] = json!(kind);
                fields["parent"] = json!(parent);
            }
        }
        fields
    }

    fn person(&self) -> &str {
        match &self.rest {
            Rest::Person(person) => person,
            Rest::Nothing | Rest::Description { .. } => "",
        }
    }
}

impl Verb {
    /// Those about a person.
    pub(crate) const OF_PERSONS: [Self; 6] =
        [Self::Join, Self::Lead, Self::StepDown, Self::Retire, Self::Honour, Self::Leave];
    const ALL: [Self; 9] = [
        Self::Found,
        Self::Describe,
        Self::Join,
        Self::Lead,
        Self::StepDown,
        Self::Retire,
        Self::Honour,
        Self::Leave,
        Self::Dissolve,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Describe => "describe",
            Self::Join => "join",
            Self::Lead => "lead",
            Self::StepDown => "step-down",
            Self::Retire => "retire",
            Self::Honour => "honour",
            Self::Leave => "leave",
            Self::Dissolve => "dissolve",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(verb: Verb, person: &str) -> Operation {
        let rest = match verb {
            Verb::Found | Verb::Describe => Rest::Description { kind: "team".into(), parent: None },
            Verb::Dissolve => Rest::Nothing,
            _ => Rest::Person(person.into()),
        };
        Operation { verb, team: "t".into(), rest }
    }

    type Step = (Verb, &'static str);

    /// What was done before, what is asked then, which rule that breaks.
    const BROKEN: &[(&[Step], Step, Rule)] = &[
        (&[(Verb::Found, "")], (Verb::Found, ""), Rule::TeamExists),
        (&[], (Verb::Describe, ""), Rule::NoSuchTeam),
        (&[], (Verb::Join, "a"), Rule::NoSuchTeam),
        (&[(Verb::Found, ""), (Verb::Join, "a")], (Verb::Join, "a"), Rule::AlreadyAMember),
        (&[(Verb::Found, "")], (Verb::Lead, "a"), Rule::NotAMember),
        (&[(Verb::Found, ""), (Verb::Honour, "a")], (Verb::Retire, "a"), Rule::NotAMember),
        (&[(Verb::Found, ""), (Verb::Join, "a"), (Verb::Lead, "a")], (Verb::Lead, "a"), Rule::AlreadyALead),
        (&[(Verb::Found, ""), (Verb::Join, "a")], (Verb::StepDown, "a"), Rule::NotALead),
        (&[(Verb::Found, ""), (Verb::Join, "a")], (Verb::Honour, "a"), Rule::AlreadyAMember),
        (&[(Verb::Found, ""), (Verb::Honour, "a")], (Verb::Honour, "a"), Rule::AlreadyAlumni),
        (&[(Verb::Found, ""), (Verb::Join, "a")], (Verb::Leave, "b"), Rule::NotInTeam),
        (&[(Verb::Found, ""), (Verb::Honour, "a")], (Verb::Dissolve, ""), Rule::TeamNotEmpty),
    ];

    #[test]
    fn each_rule_is_broken_by_what_it_forbids() {
        for (before, (verb, person), rule) in BROKEN {
            let mut roster = Roster::default();
            for (verb, person) in *before {
                roster.apply(&operation(*verb, person)).expect("valid");
            }
            assert_eq!(roster.apply(&operation(*verb, person)), Err(*rule), "{verb:?} after {before:?}");
        }
    }

    #[test]
    fn who_retires_is_alumni_and_may_join_again() {
        let mut roster = Roster::default();
        for verb in [Verb::Found, Verb::Join, Verb::Lead, Verb::Retire] {
            roster.apply(&operation(verb, "a")).expect("valid");
        }
        let team = &roster.to_json()["t"];
        assert_eq!(
            (&team["members"], &team["leads"], &team["alumni"]),
            (&json!([]), &json!([]), &json!(["a"]))
        );
        roster.apply(&operation(Verb::Join, "a")).expect("alumni may join");
        assert_eq!(roster.to_json()["t"]["alumni"], json!([]));
    }

    #[test]
    fn an_operation_is_read_as_it_is_written() {
        for verb in Verb::ALL {
            let operation = operation(verb, "a");
            assert_eq!(Operation::read(&operation.to_string()).expect("it is one"), operation);
        }
    }
}
