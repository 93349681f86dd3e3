//! Faults of the host: nothing of the batch happens, and the machine goes on as if it had not been.

use crate::stage::{Stage, accepted, activate, append, open, schedule, set, submit};
use althing_core::{
    batch::{Batch, ProgramManifest},
    ids::CommunityId,
    machine::Machine,
    overlay::Overlay,
    policy::Policy,
    program::{Call, Context, End, Fault, Program, Programs, Run},
    state::{Keyspace, State},
    testing::{Step, manifest},
    time::Timestamp,
};
use bytes::Bytes;

#[test]
fn a_fault_leaves_the_machine_exactly_as_it_was() {
    let (mut stage, mut other) = (Stage::new(), Stage::new());
    for stage in [&mut stage, &mut other] {
        let session = stage.open();
        accepted(&stage.one(submit(session, 1, &[set("k", "1"), schedule("t", 2000, &[append("k", "t")])])));
    }
    let session = 2.into();
    let before = stage.machine.view();
    stage.millis = 3000;
    let fault = stage.try_apply(vec![
        submit(session, 2, &[append("k", "2")]),
        open("eve"),
        activate(&manifest("2", &[append("k", "3")], &[])),
        submit(session, 3, &[append("k", "4"), Step::Fault]),
    ]);
    assert_eq!(fault.unwrap_err().what, "as the script says");
    let after = stage.machine.view();
    assert_eq!(before.state(), after.state());
    assert_eq!(
        (before.sequence(), before.digest(), before.time()),
        (after.sequence(), after.digest(), after.time())
    );
    assert_eq!(before.program_manifest(), after.program_manifest());

    for stage in [&mut stage, &mut other] {
        stage.millis = 3000;
        let applied = stage.apply(vec![submit(session, 2, &[append("k", "2"), Step::AnswerWithMemory])]);
        assert_eq!(accepted(&applied.replies[0]), "1");
        assert_eq!(stage.value("k").unwrap(), "1t2");
    }
    assert_eq!(stage.machine.digest(), other.machine.digest());
    assert_eq!(stage.machine.state(), other.machine.state());
}

#[test]
fn a_program_that_cannot_be_loaded_is_a_fault_not_an_outcome() {
    struct Nowhere;
    impl Programs for Nowhere {
        fn load(&mut self, _: &ProgramManifest) -> Result<Box<dyn Program>, Fault> {
            Err(Fault::new("the component is not here"))
        }
    }
    let mut stage = Stage::new();
    let session = stage.open();
    let batch = Batch { stamp: Timestamp::new(9000, 0), commands: vec![activate(&manifest("2", &[], &[]))] };
    let fault = stage.machine.apply(&batch, &mut Nowhere).map(drop);
    assert_eq!(fault.unwrap_err().what, "the component is not here");
    assert_eq!(stage.machine.sequence().0, 2);
    accepted(&stage.one(submit(session, 1, &[])));
}

#[test]
fn an_engine_that_uses_more_fuel_than_it_may_is_a_fault() {
    struct Glutton;
    impl Program for Glutton {
        fn begin_batch(&mut self) {}
        fn run(&mut self, _: &Context, _: Call, overlay: Overlay, fuel: u64) -> Result<Run, Fault> {
            Ok(Run { overlay, fuel: fuel + 1, end: End::Accept(Bytes::new()) })
        }
        fn validators(&self) -> u32 {
            0
        }
    }
    impl Programs for Glutton {
        fn load(&mut self, _: &ProgramManifest) -> Result<Box<dyn Program>, Fault> {
            Ok(Box::new(Self))
        }
    }
    let mut machine = Machine::new(CommunityId(1), Policy::default());
    let batch = Batch { stamp: Timestamp::default(), commands: vec![activate(&manifest("1", &[], &[]))] };
    assert!(machine.apply(&batch, &mut Glutton).is_err());
    assert_eq!(machine.sequence().0, 0);
}

#[test]
fn a_state_without_its_system_records_is_refused() {
    assert!(Machine::restore(State::default()).is_err());
    let mut torn = Stage::new().machine.state().clone();
    torn.put(Keyspace::System, b"policy", Some(Bytes::from_static(b"\x01rubbish")));
    let bad = Machine::restore(torn).map(drop).unwrap_err();
    assert_eq!(bad.to_string(), "a record policy of the state cannot be read: restore it from a snapshot");
}

#[test]
fn a_state_with_a_damaged_session_record_is_refused() {
    let mut stage = Stage::new();
    stage.open();
    let mut torn = stage.machine.state().clone();
    let (key, _) = torn.range(Keyspace::System, b"session/id/", None).next().unwrap();
    torn.put(Keyspace::System, &key, Some(Bytes::from_static(b"\x01")));
    let bad = Machine::restore(torn).map(drop).unwrap_err();
    assert_eq!(
        bad.to_string(),
        "a record session/id of the state cannot be read: restore it from a snapshot"
    );
}
