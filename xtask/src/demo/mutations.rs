//! Invalid operations, made by mutating valid ones: every rule is broken, about equally often.
//!
//! The model says which rule a mutation breaks; what happens to be valid is thrown away. Drawn with a
//! fixed seed, so a failure can be looked at again.

use super::roster_model::{Operation, Rest, Roster, Rule, Verb};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Printed by the demo.
pub(crate) const SEED: u64 = 20_261_121;
/// Of each rule, at most.
const EACH: usize = 70;
/// That fit no type.
const MALFORMED: usize = 60;

/// An operation that must be rejected.
pub(crate) struct Invalid {
    /// What is submitted.
    pub(crate) payload: Value,
    /// The rule it breaks; none: it is no operation of a roster at all.
    pub(crate) rule: Option<Rule>,
}

/// Makes invalid operations for `roster`, out of the valid ones that led to it.
pub(crate) fn make(roster: &Roster, valid: &[Operation]) -> Vec<Invalid> {
    let mut dice = Dice(SEED);
    let mut by_rule: BTreeMap<Rule, Vec<Value>> = BTreeMap::new();
    // As many draws as it takes for the rarest rule, with an end.
    for _ in 0..100 * valid.len() {
        let mutant = mutate(dice.of(valid).clone(), valid, &mut dice);
        let Err(rule) = roster.judge(&mutant) else { continue };
        let found = by_rule.entry(rule).or_default();
        let payload = mutant.to_json();
        if found.len() < EACH && !found.contains(&payload) {
            found.push(payload);
        }
    }
    let broken = by_rule
        .into_iter()
        .flat_map(|(rule, payloads)| payloads.into_iter().map(move |payload| (payload, Some(rule))));
    let malformed = (0..MALFORMED).map(|at| (malform(dice.of(valid).to_json(), at), None));
    broken.chain(malformed).map(|(payload, rule)| Invalid { payload, rule }).collect()
}

/// Another verb, another team, another person, or the same once more.
fn mutate(mut operation: Operation, valid: &[Operation], dice: &mut Dice) -> Operation {
    match dice.below(5) {
        0 => operation.team = dice.of(valid).team.clone(),
        1 => operation.team.push_str("-of-nowhere"),
        2 => operation = with_verb(operation, dice),
        3 => {
            if let (Rest::Person(person), Rest::Person(other)) = (&mut operation.rest, &dice.of(valid).rest) {
                person.clone_from(other);
            }
        }
        _ => {}
    }
    operation
}

fn with_verb(operation: Operation, dice: &mut Dice) -> Operation {
    match operation.rest {
        Rest::Person(_) => Operation { verb: *dice.of(&Verb::OF_PERSONS), ..operation },
        Rest::Description { .. } if dice.below(2) == 0 => {
            Operation { verb: Verb::Dissolve, rest: Rest::Nothing, ..operation }
        }
        Rest::Description { .. } => Operation { verb: Verb::Found, ..operation },
        Rest::Nothing => {
            let rest = Rest::Description { kind: "team".to_owned(), parent: None };
            Operation { verb: Verb::Describe, rest, ..operation }
        }
    }
}

/// No operation of a roster: a verb that does not exist, a field that is missing or of another type.
fn malform(mut payload: Value, at: usize) -> Value {
    match at % 4 {
        0 => payload["op"] = json!("abolish"),
        1 => payload["team"] = json!(at),
        2 => {
            if let Some(fields) = payload.as_object_mut() {
                fields.remove("team");
            }
        }
        _ => payload = json!([payload]),
    }
    payload
}

/// A linear congruential generator (Knuth's MMIX): enough to choose with.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> (Roster, Vec<Operation>) {
        let mut roster = Roster::default();
        let mut operations = Vec::new();
        for team in 0..20 {
            let mut lines =
                vec![json!({"op": "found", "team": format!("t{team}"), "kind": "team", "parent": null})];
            for (verb, person) in [
                ("join", 1),
                ("join", 2),
                ("lead", 1),
                ("retire", 2),
                ("honour", 3),
                ("join", 4),
                ("leave", 4),
            ] {
                lines.push(json!({"op": verb, "team": format!("t{team}"), "person": format!("p{person}")}));
            }
            operations
                .extend(lines.iter().map(|line| Operation::read(&line.to_string()).expect("it is one")));
        }
        for operation in &operations {
            roster.apply(operation).expect("valid");
        }
        (roster, operations)
    }

    #[test]
    fn every_rule_is_broken_and_nothing_valid_is_among_them() {
        let (roster, operations) = valid();
        let invalid = make(&roster, &operations);
        let mut rules: BTreeMap<Option<Rule>, usize> = BTreeMap::new();
        for Invalid { payload, rule } in &invalid {
            *rules.entry(*rule).or_default() += 1;
            let again = Operation::read(&payload.to_string()).map(|operation| roster.judge(&operation));
            assert!(
                rule.is_none() || again.is_ok_and(|verdict| verdict == Err(rule.expect("some"))),
                "{payload}"
            );
        }
        assert_eq!(rules.len(), 10, "nine rules and the malformed: {rules:?}");
    }

    #[test]
    fn the_same_seed_makes_the_same_operations() {
        let (roster, operations) = valid();
        let payloads = || make(&roster, &operations).into_iter().map(|i| i.payload).collect::<Vec<_>>();
        assert_eq!(payloads(), payloads());
    }
}
