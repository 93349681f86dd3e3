//! A snapshot's manifest, as an import or a peer gives it. Its own hash is put right here: whoever makes one up can
//! do that too.

use super::batches;
use althing_core::{
    codec,
    snapshot::{self, Chunk, Manifest},
};
use bytes::Bytes;

pub(super) fn take(bytes: &[u8]) {
    drop(Manifest::decode(bytes));
    let Ok(made_up) = codec::decode::<Manifest>(bytes) else { return };
    let Ok(manifest) = Manifest::decode(&made_up.encode()) else { return };
    assert_eq!(manifest, made_up, "it is read as it was written");
    assert!(manifest.bytes() > 0 && !manifest.chunks.is_empty());
    let state = batches::lived();
    drop(manifest.check(&state.view()));
}

/// The manifest of a community that has lived.
pub(super) fn lived() -> Manifest {
    let machine = batches::lived();
    let chunks = snapshot::chunks(machine.state()).map(|chunk: Chunk| chunk.reference()).collect();
    let mut manifest = Manifest::of(&machine.view(), chunks);
    manifest.log_index = 4;
    manifest.log_id = Bytes::from_static(b"id");
    manifest.membership = Bytes::from_static(b"members");
    manifest
}

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut many = lived();
    let place = |number: u8| Chunk::of(Bytes::from(vec![number; 5])).reference();
    many.chunks = (0..20).map(place).collect();
    many.state_root = snapshot::state_root(&many.chunks);
    vec![
        ("lived", codec::encode(&lived())),
        ("many", codec::encode(&many)),
        ("whole", lived().encode().to_vec()),
    ]
}
