//! Operations: accepted, rejected, trapped, judged by validators, bounded by quotas.

use crate::stage::{
    ACTOR, Stage, accepted, append, b, done, open, operation, refusal, schedule, set, submit,
};
use althing_core::{
    batch::Command,
    limits,
    policy::Policy,
    testing::{Step, manifest, script},
    transition::{Cause, Event, NotExecuted, Outcome, Rejection, Trap, TrapKind, Write},
};

#[test]
fn an_accepted_operation_changes_the_state_and_tells_what_it_did() {
    let mut stage = Stage::new();
    let session = stage.open();
    let steps = [
        set("b", "1"),
        set("a", "2"),
        append("b", "3"),
        Step::Emit("told".into(), b("x")),
        Step::Answer(b("ok")),
    ];
    let applied = stage.apply(vec![submit(session, 1, &steps)]);
    let transition = &applied.transitions[0];
    assert_eq!(transition.outcome, Outcome::Accepted { result: b("ok") });
    let write = |key, value| Write { key: b(key), value: Some(b(value)) };
    assert_eq!(transition.writes, [write("a", "2"), write("b", "13")]);
    assert_eq!(transition.events, [Event { name: "told".into(), data: b("x") }]);
    assert_eq!(transition.fuel, 5);
    assert!(matches!(&transition.cause, Cause::Operation { actor, .. } if actor.id == ACTOR));
    assert_eq!(done(&applied.replies[0]), transition.receipt());
    assert_eq!((stage.value("a").unwrap(), stage.value("b").unwrap()), ("2".into(), "13".into()));
}

#[test]
fn an_operation_sees_the_writes_of_those_before_it_in_the_batch() {
    let mut stage = Stage::new();
    let session = stage.open();
    let applied = stage.apply(vec![
        submit(session, 1, &[append("k", "1")]),
        submit(session, 2, &[append("k", "2"), Step::AnswerWith(b("k"))]),
    ]);
    assert_eq!(accepted(&applied.replies[1]), "12");
}

#[test]
fn a_guest_is_told_where_and_when_it_runs() {
    let mut stage = Stage::new();
    let session = stage.open();
    stage.millis = 5000;
    let reply = stage.one(submit(session, 9, &[Step::AnswerWithContext]));
    let told = accepted(&reply);
    for fact in ["CommunityId(7)", "Sequence(3)", "SessionId(2)", "OperationNumber(9)", "id: \"ada\""] {
        assert!(told.contains(fact), "{fact} in {told}");
    }
    assert!(told.contains(&format!("Timestamp({})", stage.machine.time().bits())), "{told}");
    assert_eq!(stage.machine.time().millis(), 5000);
}

#[test]
fn a_rejected_or_trapped_operation_changes_nothing_and_takes_a_sequence() {
    let mut stage = Stage::new();
    let session = stage.open();
    let undone = [set("k", "v"), Step::Emit("e".into(), b("")), schedule("t", 1, &[])];
    let reject = Step::Reject("no-way".into(), "because".into());
    let trap = Step::Trap(TrapKind::Wasm, "unreachable".into());
    let applied = stage.apply(vec![
        submit(session, 1, &[undone.as_slice(), &[reject]].concat()),
        submit(session, 2, &[undone.as_slice(), &[trap]].concat()),
    ]);
    let rejection = Rejection { code: "no-way".into(), message: "because".into(), validator: None };
    assert_eq!(done(&applied.replies[0]).outcome, Outcome::Rejected(rejection));
    let trap = Trap { kind: TrapKind::Wasm, message: "unreachable".into(), validator: None };
    assert_eq!(done(&applied.replies[1]).outcome, Outcome::Trapped(trap));
    for transition in &applied.transitions {
        assert!(transition.writes.is_empty() && transition.events.is_empty() && transition.timers.is_empty());
        assert_eq!(transition.fuel, 4);
    }
    assert_eq!(stage.value("k"), None);
    assert_eq!(stage.machine.next_timer(), None);
}

#[test]
fn the_first_validator_that_refuses_decides_and_is_named() {
    let forbid = |key: &str, code: &str| [Step::RejectIfSet(b(key), code.into())];
    let program = manifest("1", &[], &[&forbid("x", "no-x"), &forbid("y", "no-y")]);
    let mut stage = Stage::running(Policy::default(), &program);
    let session = stage.open();
    let refused = |code: &str, validator| {
        let (code, message) = (code.into(), "the key has a value".into());
        Outcome::Rejected(Rejection { code, message, validator: Some(validator) })
    };
    let applied = stage.apply(vec![
        submit(session, 1, &[set("y", "1")]),
        submit(session, 2, &[set("y", "1"), set("x", "1")]),
        submit(session, 3, &[set("z", "1"), Step::Answer(b("fine"))]),
    ]);
    assert_eq!(done(&applied.replies[0]).outcome, refused("no-y", 1));
    assert_eq!(done(&applied.replies[1]).outcome, refused("no-x", 0));
    assert_eq!(accepted(&applied.replies[2]), "fine");
    let fuel: Vec<_> = applied.transitions.iter().map(|transition| transition.fuel).collect();
    assert_eq!(fuel, [1 + 2, 2 + 1, 2 + 2], "the reducer's and the validators' together");
    assert_eq!((stage.value("x"), stage.value("y")), (None, None));
}

#[test]
fn a_validator_that_writes_is_trapped_and_named() {
    let program = manifest("1", &[], &[&[set("mine", "now")]]);
    let mut stage = Stage::running(Policy::default(), &program);
    let session = stage.open();
    match done(&stage.one(submit(session, 1, &[set("k", "v")]))).outcome {
        Outcome::Trapped(Trap { kind: TrapKind::Misuse, validator: Some(0), .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!((stage.value("k"), stage.value("mine")), (None, None));
}

#[test]
fn validators_share_the_operations_fuel() {
    let mut policy = Policy::default();
    policy.quotas.operation_fuel = 10;
    let program = manifest("1", &[], &[&[Step::Burn(4)]]);
    let mut stage = Stage::running(policy, &program);
    let session = stage.open();
    let enough = done(&stage.one(submit(session, 1, &[Step::Burn(4)])));
    assert_eq!((enough.fuel, matches!(enough.outcome, Outcome::Accepted { .. })), (10, true));
    let short = done(&stage.one(submit(session, 2, &[Step::Burn(5)])));
    match short.outcome {
        Outcome::Trapped(Trap { kind: TrapKind::OutOfFuel, validator: Some(0), .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(short.fuel, 10);
}

#[test]
fn a_result_over_the_quota_is_a_trap() {
    let mut policy = Policy::default();
    policy.quotas.result_bytes = 3;
    let mut stage = Stage::running(policy, &manifest("1", &[], &[]));
    let session = stage.open();
    assert_eq!(accepted(&stage.one(submit(session, 1, &[Step::Answer(b("123"))]))), "123");
    let outcome = done(&stage.one(submit(session, 2, &[set("k", "v"), Step::Answer(b("1234"))]))).outcome;
    let message = "quota result_bytes: 4 asked, 3 allowed".into();
    assert_eq!(outcome, Outcome::Trapped(Trap { kind: TrapKind::Quota, message, validator: None }));
    assert_eq!(stage.value("k"), None);
}

#[test]
fn a_rejection_with_texts_out_of_bounds_is_a_trap() {
    let mut stage = Stage::new();
    let session = stage.open();
    let long = |bytes| "x".repeat(bytes);
    let (code, message) = (limits::REJECTION_CODE_BYTES_MAX, limits::REJECTION_MESSAGE_BYTES_MAX);
    let mut outcome = |number, code, message| {
        done(&stage.one(submit(session, number, &[Step::Reject(code, message)]))).outcome
    };
    let misuse = |message: &str| {
        Outcome::Trapped(Trap { kind: TrapKind::Misuse, message: message.into(), validator: None })
    };
    assert!(matches!(outcome(1, long(code), long(message)), Outcome::Rejected(_)));
    let wanted = misuse("a rejection's code has 65 bytes, it must have 1 to 64");
    assert_eq!(outcome(2, long(code + 1), String::new()), wanted);
    assert_eq!(
        outcome(3, String::new(), String::new()),
        misuse("a rejection's code has 0 bytes, it must have 1 to 64")
    );
    let wanted = misuse("a rejection's message has 4097 bytes, it must have at most 4096");
    assert_eq!(outcome(4, "code".into(), long(message + 1)), wanted);
}

#[test]
fn a_trap_message_is_cut_between_characters() {
    let mut stage = Stage::new();
    let session = stage.open();
    let long = format!("x{}", "ð".repeat(limits::TRAP_MESSAGE_BYTES_MAX));
    let Outcome::Trapped(trap) =
        done(&stage.one(submit(session, 1, &[Step::Trap(TrapKind::Wasm, long)]))).outcome
    else {
        panic!("not trapped");
    };
    assert_eq!(trap.message.len(), limits::TRAP_MESSAGE_BYTES_MAX - 1);
}

#[test]
fn what_does_not_fit_the_batchs_fuel_is_not_executed_and_may_be_retried() {
    let mut policy = Policy::default();
    policy.quotas.operation_fuel = 10;
    policy.quotas.batch_fuel = 25;
    let mut stage = Stage::running(policy, &manifest("1", &[], &[]));
    let session = stage.open();
    let burn = |number, fuel: u64| submit(session, number, &[Step::Burn(fuel - 1), append("k", ".")]);
    let applied = stage.apply(vec![burn(1, 9), burn(2, 5), burn(3, 1), burn(4, 1), open("eve"), burn(5, 1)]);
    for reply in &applied.replies[..2] {
        done(reply);
    }
    assert_eq!(refusal(&applied.replies[2]), NotExecuted::BatchFull, "16 are used, 9 are left of 25");
    assert_eq!(refusal(&applied.replies[3]), NotExecuted::BatchFull);
    done(&applied.replies[4]);
    assert_eq!(refusal(&applied.replies[5]), NotExecuted::BatchFull);
    assert_eq!(stage.value("k").unwrap(), "..");
    done(&stage.one(burn(3, 1)));
}

#[test]
fn what_is_too_large_is_not_executed() {
    let mut policy = Policy::default();
    policy.quotas.payload_bytes = 64;
    let mut stage = Stage::running(policy, &manifest("1", &[], &[]));
    let session = stage.open();
    let payload = script(&[Step::Answer(b(&"x".repeat(70)))]);
    let why =
        refusal(&stage.one(Command::Operation(operation(session, 1, &[Step::Answer(b(&"x".repeat(70)))]))));
    let bytes = payload.len() as u64;
    assert_eq!(why, NotExecuted::TooLarge { what: "the payload", bytes, bytes_max: 64 });
    let why = refusal(&stage.one(open(&"x".repeat(257))));
    assert_eq!(why, NotExecuted::TooLarge { what: "the actor's id", bytes: 257, bytes_max: 256 });
    let mut crowned = operation(session, 1, &[]);
    crowned.actor.roles = vec!["r".into(); 33];
    assert!(matches!(refusal(&stage.one(Command::Operation(crowned))), NotExecuted::TooLarge { .. }));
    let mut titled = operation(session, 1, &[]);
    titled.actor.roles = vec!["r".repeat(65)];
    assert!(matches!(refusal(&stage.one(Command::Operation(titled))), NotExecuted::TooLarge { .. }));
    assert_eq!(stage.machine.sequence().0, 2);
}

#[test]
fn a_community_without_a_program_executes_no_operation() {
    let mut stage = Stage::bare(Policy::default());
    let session = stage.open();
    assert_eq!(refusal(&stage.one(submit(session, 1, &[]))), NotExecuted::NoProgram);
}

#[test]
fn a_state_over_its_quota_lets_through_only_what_makes_it_smaller() {
    let mut policy = Policy::default();
    policy.quotas.state_bytes = 1 << 14;
    let mut stage = Stage::running(policy, &manifest("1", &[], &[]));
    let session = stage.open();
    let big = "x".repeat(1 << 13);
    accepted(&stage.one(submit(session, 1, &[set("a", &big)])));
    let applied = stage.apply(vec![submit(session, 2, &[set("b", &big)])]);
    assert!(applied.transitions[0].writes.is_empty());
    let outcome = done(&applied.replies[0]).outcome;
    let Outcome::Trapped(Trap { kind: TrapKind::Quota, message, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(message.starts_with("quota state_bytes: ") && message.ends_with("16384 allowed"), "{message}");
    assert_eq!(stage.value("b"), None);

    let mut tighter = stage.machine.policy().clone();
    tighter.quotas.state_bytes = 100;
    done(&stage.one(Command::SetPolicy(Box::new(tighter))));
    let talkative = [Step::Delete(b("a")), Step::Answer(b(&big.repeat(2)))];
    let mut shrink = operation(session, 3, &talkative);
    shrink.acknowledged = 2.into();
    let outcome = done(&stage.one(Command::Operation(shrink))).outcome;
    assert!(matches!(outcome, Outcome::Trapped(_)), "its result is larger than what it frees: {outcome:?}");
    let mut shrink = operation(session, 4, &[Step::Delete(b("a"))]);
    shrink.acknowledged = 2.into();
    let crowded = refusal(&stage.one(Command::Operation(shrink.clone())));
    assert_eq!(crowded, NotExecuted::WindowFull { answers: 1 }, "no room for one more answer");
    shrink.acknowledged = 3.into();
    accepted(&stage.one(Command::Operation(shrink)));
    assert_eq!(stage.value("a"), None);
    let mut grow = operation(session, 5, &[set("c", "1")]);
    grow.acknowledged = 4.into();
    assert!(matches!(done(&stage.one(Command::Operation(grow))).outcome, Outcome::Trapped(_)));
}
