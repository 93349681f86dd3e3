//! The chunks of a state, as an import or a peer gives them: each is named by its content here, so what is in it can
//! be anything. What can be restored is a community that goes on.

use super::{batches, pieces};
use althing_core::{
    batch::Batch,
    ids::{CommunityId, Hash},
    machine::Machine,
    origin::Origin,
    policy::Policy,
    snapshot::{self, ChunkRef},
    testing::ScriptedPrograms,
};

pub(super) fn take(bytes: &[u8]) {
    let chunks: Vec<&[u8]> = pieces::split(bytes).collect();
    for pair in chunks.windows(2) {
        drop(snapshot::first_difference(pair[0], pair[1]));
    }
    let references: Vec<ChunkRef> = chunks.iter().map(|chunk| ChunkRef::of(chunk)).collect();
    let Ok(state) = snapshot::restore(&references, chunks) else { return };
    let same = batches::cut_and_restored(&state);
    assert!(state.stored_pairs().eq(same.stored_pairs()), "what was cut is what was there");
    let Ok(mut machine) = Machine::restore(state) else { return };
    // Whoever imports looks at the policy first.
    if machine.policy().check().is_ok() {
        go_on(&mut machine);
    }
}

/// It becomes another community, and time passes, for timers and sessions.
fn go_on(machine: &mut Machine) {
    let origin = Origin {
        cluster: "c".into(),
        community: machine.community(),
        name: "guild".into(),
        sequence: machine.sequence(),
        digest: machine.digest(),
        seal: Hash([3; 32]),
    };
    let imported = machine.import(CommunityId(9), origin);
    assert_eq!((machine.sequence(), machine.digest()), (imported.sequence, imported.digest));
    let mut programs = ScriptedPrograms::default();
    for millis in [1, 60_000, 1 << 45] {
        let stamp = machine.time().plus_millis(millis);
        let before = (machine.sequence(), machine.digest());
        if machine.apply(&Batch { stamp, commands: Vec::new() }, &mut programs).is_err() {
            assert_eq!((machine.sequence(), machine.digest()), before, "a fault changes nothing");
        }
    }
    drop(batches::cut_and_restored(machine.state()));
}

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let of = |machine: &Machine| {
        let chunks: Vec<_> = snapshot::chunks(machine.state()).map(|chunk| chunk.bytes.to_vec()).collect();
        pieces::join(&chunks)
    };
    let young = Machine::new(CommunityId(7), Policy::default());
    vec![("lived", of(&batches::lived())), ("young", of(&young))]
}
