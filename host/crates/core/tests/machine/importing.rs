//! A history that goes on as another community's: nothing that was told changes, and where it comes from is
//! part of it.

use crate::stage::{Stage, append, done, schedule, submit};
use althing_core::{
    digest,
    ids::{CommunityId, Hash},
    origin::Origin,
    state::Keyspace,
    transition::{Cause, Outcome, Reply, Transition},
};
use bytes::Bytes;

fn origin(stage: &Stage) -> Origin {
    Origin {
        cluster: "00ff".into(),
        community: stage.machine.community(),
        name: "guild".into(),
        sequence: stage.machine.sequence(),
        digest: stage.machine.digest(),
        seal: Hash([9; 32]),
    }
}

/// Imports what is on the stage, under the id 70.
fn import(stage: &mut Stage) -> Transition {
    let origin = origin(stage);
    stage.machine.import(CommunityId(70), origin)
}

#[test]
fn an_import_is_the_next_link_of_the_chain_and_changes_nothing_but_whose_it_is() {
    let mut stage = Stage::new();
    let session = stage.open();
    let told = done(&stage.one(submit(session, 1, &[append("k", "v"), schedule("t", 90_000, &[])])));
    let before = stage.machine.view();
    let imported = import(&mut stage);
    assert_eq!(imported.sequence, before.sequence().next());
    assert_eq!(imported.digest, digest::step(before.digest(), &imported));
    assert!(imported.time > before.time());
    assert!(matches!(&imported.outcome, Outcome::Accepted { result } if result.is_empty()));
    let Cause::Import(origin) = &imported.cause else { panic!("{imported:?}") };
    assert_eq!((origin.community, origin.digest), (CommunityId(7), before.digest()));

    let after = stage.machine.view();
    assert_eq!(after.community(), CommunityId(70));
    assert_eq!(
        (after.sequence(), after.digest(), after.time()),
        (imported.sequence, imported.digest, imported.time)
    );
    assert_eq!((after.sessions(), after.timers()), (1, 1));
    let others = |state: &althing_core::state::State| -> Vec<(Bytes, Bytes)> {
        let own = |(key, _): &(&Bytes, &Bytes)| !key.ends_with(b"header");
        state.stored_pairs().filter(own).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    assert_eq!(others(after.state()), others(before.state()), "only the header differs");

    // The answer of before is given again, the timer fires, the guest is told the new id.
    let again = stage.one(submit(session, 1, &[append("k", "v"), schedule("t", 90_000, &[])]));
    assert_eq!(again, Reply::Repeated(told));
    let fired = stage.pass(100_000).transitions;
    assert!(matches!(&fired[0].cause, Cause::Timer { id, .. } if id.as_ref() == b"t"), "{fired:?}");
    assert!(stage.machine.state().get(Keyspace::Program, b"k").is_some());
}

#[test]
fn the_same_state_imported_twice_comes_to_the_same_and_goes_on_the_same() {
    let mut one = Stage::new();
    let mut other = Stage::new();
    for stage in [&mut one, &mut other] {
        let session = stage.open();
        done(&stage.one(submit(session, 1, &[append("k", "v")])));
    }
    assert_eq!(import(&mut one), import(&mut other));
    for stage in [&mut one, &mut other] {
        let session = stage.open();
        done(&stage.one(submit(session, 1, &[append("k", "w")])));
    }
    assert_eq!(one.machine.digest(), other.machine.digest());
    assert_eq!(one.machine.state(), other.machine.state());
}

#[test]
fn a_copy_and_its_original_part_at_the_import() {
    let mut original = Stage::new();
    let mut copy = Stage::new();
    assert_eq!(original.machine.digest(), copy.machine.digest());
    import(&mut copy);
    original.open();
    copy.open();
    assert_ne!(original.machine.digest(), copy.machine.digest());
}
