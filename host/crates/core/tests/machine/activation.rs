//! Programs come and go.

use crate::stage::{Stage, accepted, activate, append, b, done, refusal, set, submit};
use althing_core::{
    batch::ProgramManifest,
    policy::Policy,
    testing::{Step, manifest},
    transition::{Cause, NotExecuted, Outcome},
};

#[test]
fn the_first_program_is_initialised_and_the_next_migrates() {
    let mut stage = Stage::bare(Policy::default());
    let first = manifest("1", &[append("k", "init;")], &[]);
    let second = manifest("2", &[append("k", "migrate;")], &[]);
    let applied = stage.apply(vec![activate(&first)]);
    let Cause::Activate { actor, program } = &applied.transitions[0].cause else { panic!() };
    assert_eq!((actor.id.as_str(), *program), ("founder", first.hash()));
    accepted(&stage.one(activate(&second)));
    assert_eq!(stage.value("k").unwrap(), "init;migrate;");
    assert_eq!(stage.machine.program_manifest(), Some(&second));
    let history = stage.machine.view().programs().unwrap();
    assert_eq!(history, [(1.into(), first.hash()), (2.into(), second.hash())]);
}

#[test]
fn a_program_that_refuses_to_take_over_leaves_the_old_one_and_the_old_state() {
    let mut stage = Stage::new();
    let session = stage.open();
    let old = stage.machine.program_manifest().cloned();
    let loaded = stage.programs.loaded;
    for refusal in [Step::Reject("no".into(), "no".into()), Step::Burn(u64::MAX)] {
        let unwilling = manifest("2", &[set("k", "changed"), refusal], &[]);
        let outcome = done(&stage.one(activate(&unwilling))).outcome;
        assert!(!matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    }
    assert_eq!(stage.machine.program_manifest(), old.as_ref());
    assert_eq!(stage.value("k"), None);
    assert_eq!(stage.machine.view().programs().unwrap().len(), 1);
    accepted(&stage.one(submit(session, 1, &[])));
    assert_eq!(stage.programs.loaded, loaded + 2, "the old one was never lost");
}

#[test]
fn a_first_program_that_refuses_leaves_none() {
    let mut stage = Stage::bare(Policy::default());
    let session = stage.open();
    done(&stage.one(activate(&manifest("1", &[Step::Reject("no".into(), "no".into())], &[]))));
    assert_eq!(stage.machine.program_manifest(), None);
    assert_eq!(refusal(&stage.one(submit(session, 1, &[]))), NotExecuted::NoProgram);
}

#[test]
fn the_active_program_activated_again_is_accepted_without_a_call() {
    let mut stage = Stage::bare(Policy::default());
    let program = manifest("1", &[append("k", "x")], &[]);
    done(&stage.one(activate(&program)));
    let again = done(&stage.one(activate(&program)));
    assert_eq!((again.fuel, again.sequence.0), (0, 2));
    assert_eq!(stage.value("k").unwrap(), "x");
    assert_eq!((stage.programs.loaded, stage.machine.view().programs().unwrap().len()), (1, 1));
}

#[test]
fn a_program_rules_from_the_next_command_of_its_batch_on() {
    let mut stage = Stage::new();
    let session = stage.open();
    let stricter = manifest("2", &[], &[&[Step::RejectIfSet(b("x"), "no-x".into())]]);
    let applied = stage.apply(vec![
        submit(session, 1, &[set("x", "1"), Step::Delete(b("x")), set("y", "1")]),
        activate(&stricter),
        submit(session, 2, &[set("x", "1")]),
    ]);
    accepted(&applied.replies[0]);
    accepted(&applied.replies[1]);
    assert!(matches!(done(&applied.replies[2]).outcome, Outcome::Rejected(_)));
}

#[test]
fn instances_begin_anew_with_each_batch_and_each_activation() {
    let mut stage = Stage::new();
    let session = stage.open();
    let count = |number| submit(session, number, &[Step::AnswerWithMemory]);
    let unwilling = activate(&manifest("2", &[Step::Reject("no".into(), "no".into())], &[]));
    let willing = activate(&manifest("3", &[Step::AnswerWithMemory], &[]));
    let applied = stage.apply(vec![count(1), count(2), unwilling, count(3), willing, count(4)]);
    let counts = [0, 1, 3, 5].map(|at| accepted(&applied.replies[at]));
    assert_eq!(counts, ["1", "2", "1", "1"]);
    assert_eq!(accepted(&stage.one(count(5))), "1");
}

#[test]
fn a_restored_machine_loads_its_program_when_it_needs_it() {
    let mut stage = Stage::new();
    let session = stage.open();
    stage.machine = crate::snapshots::through_a_snapshot(&stage.machine);
    assert_eq!(stage.programs.loaded, 1);
    stage.pass(5000);
    assert_eq!(stage.programs.loaded, 1);
    accepted(&stage.one(submit(session, 1, &[])));
    accepted(&stage.one(submit(session, 2, &[])));
    assert_eq!(stage.programs.loaded, 2);
}

#[test]
fn an_oversized_manifest_is_not_executed() {
    let mut stage = Stage::bare(Policy::default());
    let good = manifest("1", &[], &[]);
    let validator = manifest("1", &[], &[&[]]).validators.remove(0);
    let bad = [
        ProgramManifest { name: "n".repeat(65), ..good.clone() },
        ProgramManifest { version: "v".repeat(65), ..good.clone() },
        ProgramManifest { config: vec![0; (256 << 10) + 1].into(), ..good.clone() },
        ProgramManifest { validators: vec![validator; 17], ..good },
    ];
    for program in bad {
        let why = refusal(&stage.one(activate(&program)));
        assert!(matches!(why, NotExecuted::TooLarge { .. }), "{why:?}");
    }
    assert_eq!(stage.machine.sequence().0, 0);
}

#[test]
fn an_activation_needs_its_share_of_the_batchs_fuel() {
    let mut policy = Policy::default();
    policy.quotas.operation_fuel = 10;
    policy.quotas.batch_fuel = 10;
    let mut stage = Stage::running(policy, &manifest("1", &[], &[]));
    let session = stage.open();
    let applied = stage.apply(vec![submit(session, 1, &[Step::Burn(1)]), activate(&manifest("2", &[], &[]))]);
    assert_eq!(refusal(&applied.replies[1]), NotExecuted::BatchFull);
}
