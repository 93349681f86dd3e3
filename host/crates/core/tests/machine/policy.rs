//! The policy is set by the log and in force from the next command on.

use crate::stage::{Stage, done, refusal, submit};
use althing_core::{
    batch::Command,
    policy::Policy,
    testing::Step,
    transition::{Cause, NotExecuted, Outcome},
};

fn set_policy(policy: &Policy) -> Command {
    Command::SetPolicy(Box::new(policy.clone()))
}

#[test]
fn a_policy_is_in_force_from_the_next_command_on_and_named_by_its_hash() {
    let mut stage = Stage::new();
    let session = stage.open();
    let mut policy = Policy::default();
    policy.quotas.operation_fuel = 5;
    let burn = |number| submit(session, number, &[Step::Burn(7)]);
    let applied = stage.apply(vec![burn(1), set_policy(&policy), burn(2)]);
    assert!(matches!(done(&applied.replies[0]).outcome, Outcome::Accepted { .. }));
    assert!(matches!(done(&applied.replies[2]).outcome, Outcome::Trapped(_)));
    assert_eq!(applied.transitions[1].cause, Cause::SetPolicy);
    let result = policy.hash().0.to_vec().into();
    assert_eq!(applied.transitions[1].outcome, Outcome::Accepted { result });
    assert_eq!(stage.machine.policy(), &policy);
    let restored = crate::snapshots::through_a_snapshot(&stage.machine);
    assert_eq!(restored.policy(), &policy);
}

#[test]
fn a_policy_out_of_bounds_is_not_executed() {
    let mut stage = Stage::new();
    let mut policy = Policy::default();
    policy.sessions.window = 0;
    let why = refusal(&stage.one(set_policy(&policy)));
    assert_eq!(why, NotExecuted::BadPolicy("sessions.window is 0, it must be 1 to 4096".into()));
    assert_eq!(stage.machine.policy(), &Policy::default());
    assert_eq!(stage.machine.sequence().0, 1);
}
