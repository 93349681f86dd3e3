//! Replicas agree: random histories, applied straight, through snapshots, around faults.

use crate::{
    snapshots::through_a_snapshot,
    stage::{ACTOR, Stage, activate, actor, append, b, open, operation, schedule, set, submit},
};
use althing_core::{
    batch::Command,
    ids::{OperationNumber, Sequence, SessionId},
    machine::{Applied, Machine},
    policy::Policy,
    snapshot::chunks,
    testing::{Step, manifest},
    transition::{Cause, Receipt, Reply, TrapKind},
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::collections::BTreeMap;

/// A policy under which random histories meet every bound.
fn tight() -> Policy {
    let mut policy = Policy::default();
    policy.quotas.operation_fuel = 20;
    policy.quotas.batch_fuel = 25;
    policy.quotas.timers = 3;
    policy.quotas.state_bytes = 6000;
    policy.quotas.events = 1;
    policy.sessions.ttl_millis = 1000;
    policy.sessions.open = 3;
    policy.sessions.window = 3;
    policy
}

fn key() -> impl Strategy<Value = &'static str> {
    select(&["a", "b", "c", "d"][..])
}

fn step() -> impl Strategy<Value = Step> {
    let leaf = prop_oneof![
        4 => (key(), key()).prop_map(|(key, value)| set(key, value)),
        4 => (key(), key()).prop_map(|(key, value)| append(key, value)),
        1 => key().prop_map(|key| set(key, &"x".repeat(2000))),
        2 => key().prop_map(|key| Step::Delete(b(key))),
        1 => key().prop_map(|key| Step::Emit(key.into(), b(key))),
        1 => key().prop_map(|key| Step::Cancel(b(key))),
        2 => key().prop_map(|key| Step::AnswerWith(b(key))),
        1 => Just(Step::AnswerWithContext),
        1 => Just(Step::AnswerWithMemory),
        1 => (1..15u64).prop_map(Step::Burn),
        1 => Just(Step::Reject("no".into(), "because".into())),
        1 => Just(Step::Trap(TrapKind::Wasm, "unreachable".into())),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        (key(), 0..6000u64, vec(inner, 0..3)).prop_map(|(id, at, steps)| schedule(id, at, &steps))
    })
}

fn command() -> impl Strategy<Value = Command> {
    let session = prop_oneof![1 => Just(0u64), 9 => 1..3u64];
    let operation_parts = (session, 1..9u64, 0..4u64, 0..3u64, any::<bool>(), vec(step(), 0..4));
    let operation = operation_parts.prop_map(|(session, number, behind, after, honest, steps)| {
        let mut operation = operation(SessionId(session), number, &steps);
        operation.acknowledged = OperationNumber(number.saturating_sub(behind + 1));
        operation.after = OperationNumber(after.saturating_sub(1));
        operation.actor = actor(if honest || number > 2 { ACTOR } else { "eve" });
        Command::Operation(operation)
    });
    let program = (select(&["1", "2"][..]), step(), any::<bool>()).prop_map(|(version, step, strict)| {
        let forbid = [Step::RejectIfSet(b("d"), "no-d".into())];
        let validators: &[&[Step]] = if strict { &[&forbid] } else { &[] };
        activate(&manifest(version, &[step], validators))
    });
    let policy = (1..4u64, 3000..9000u64).prop_map(|(window, state_bytes)| {
        let mut policy = tight();
        policy.sessions.window = window;
        policy.quotas.state_bytes = state_bytes;
        Command::SetPolicy(Box::new(policy))
    });
    prop_oneof![12 => operation, 2 => Just(open(ACTOR)), 1 => program, 1 => policy]
}

/// What happens between two batches, besides time passing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Between {
    Nothing,
    Snapshot,
    Fault,
}

/// How much time passes, whether the commands of the round before are sent once more, new ones.
type Round = (u64, bool, Vec<Command>, Between);

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let between = select(&[Between::Nothing, Between::Snapshot, Between::Fault][..]);
    let millis = prop_oneof![8 => 0..100u64, 1 => 0..1500u64];
    vec((millis, any::<bool>(), vec(command(), 0..8), between), 1..30)
}

/// What the clients know. An operation is executed once, and every answer to it is the first.
#[derive(Default)]
struct Clients {
    opened: Vec<SessionId>,
    sent: Vec<Command>,
    answers: BTreeMap<(SessionId, OperationNumber), Receipt>,
}

impl Clients {
    /// The commands with the sessions that they mean: 0 is none that was ever opened, the others
    /// are the newest.
    fn send(&mut self, again: bool, mut commands: Vec<Command>) -> Vec<Command> {
        for command in &mut commands {
            if let Command::Operation(operation) = command {
                let back = operation.session.0 as usize;
                let newest = self.opened.iter().rev().nth(back.wrapping_sub(1));
                operation.session = newest.copied().unwrap_or_default();
            }
        }
        let before = std::mem::replace(&mut self.sent, commands.clone());
        if again { [before, commands].concat() } else { commands }
    }

    fn check(&mut self, commands: &[Command], applied: &Applied) {
        for transition in &applied.transitions {
            if let Cause::Operation { session, number, .. } = &transition.cause {
                let first = self.answers.insert((*session, *number), transition.receipt());
                assert_eq!(first, None, "{session}/{number} was executed twice");
            }
            if let Cause::OpenSession { .. } = &transition.cause {
                self.opened.push(SessionId(transition.sequence.0));
            }
        }
        for (command, reply) in commands.iter().zip(&applied.replies) {
            if let (Command::Operation(operation), Reply::Done(receipt) | Reply::Repeated(receipt)) =
                (command, reply)
            {
                assert_eq!(self.answers.get(&(operation.session, operation.number)), Some(receipt));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn replicas_agree_whatever_becomes_of_them_between_batches(rounds in rounds()) {
        let program = manifest("1", &[], &[]);
        let (mut steady, mut troubled) = (Stage::running(tight(), &program), Stage::running(tight(), &program));
        let mut clients = Clients::default();
        for (millis, again, commands, between) in rounds {
            steady.millis += millis;
            troubled.millis = steady.millis;
            let commands = clients.send(again, commands);
            match between {
                Between::Nothing => {}
                Between::Snapshot => troubled.machine = through_a_snapshot(&troubled.machine),
                Between::Fault => fail(&mut troubled, &commands),
            }
            let applied = steady.apply(commands.clone());
            prop_assert_eq!(&applied, &troubled.apply(commands.clone()));
            clients.check(&commands, &applied);
        }
        prop_assert_eq!(steady.machine.digest(), troubled.machine.digest());
        prop_assert_eq!(steady.machine.state(), troubled.machine.state());
        let roots = [&steady, &troubled].map(|stage| chunks(stage.machine.state()).collect::<Vec<_>>());
        prop_assert_eq!(&roots[0], &roots[1]);
    }
}

/// A batch that ends in a fault of the host, if the machine lets it come so far.
fn fail(stage: &mut Stage, commands: &[Command]) {
    let before = stage.machine.view();
    let faulty = activate(&manifest("faulty", &[Step::Fault], &[]));
    let commands = [commands, &[faulty]].concat();
    if stage.try_apply(commands).is_ok() {
        // No fuel was left for the activation: take the batch back as a fault would.
        stage.machine = Machine::restore(before.state().clone()).unwrap();
    }
    assert_eq!(before.state(), stage.machine.state());
    assert_eq!(before.digest(), stage.machine.digest());
}

#[test]
fn other_histories_have_other_digests() {
    let digest_of = |steps: &[Step]| {
        let mut stage = Stage::new();
        let session = stage.open();
        stage.apply(vec![submit(session, 1, steps)]);
        assert_eq!(stage.machine.sequence(), Sequence(3));
        stage.machine.digest()
    };
    let same = digest_of(&[set("k", "1")]);
    assert_eq!(same, digest_of(&[set("k", "1")]));
    assert_ne!(same, digest_of(&[set("k", "2")]));
    assert_ne!(same, digest_of(&[set("k", "1"), set("k", "1")]));
}
