//! Records: everything that is stored or sent, as one value. What can be read is written and read again as the same.

use althing_consensus::{peers::ClusterId, stored};
use althing_core::{
    batch::{Batch, ProgramManifest},
    codec,
    ids::{Hash, Sequence},
    policy::Policy,
    portable::{End, Header},
    snapshot::Manifest,
    testing::{self, Step},
    transition::Transition,
};
use althing_store::port::{WalEntry, WalState};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

pub(super) fn take(bytes: &[u8]) {
    again::<Batch>(bytes);
    again::<ProgramManifest>(bytes);
    again::<Policy>(bytes);
    again::<Header>(bytes);
    again::<End>(bytes);
    again::<Manifest>(bytes);
    again::<Vec<Transition>>(bytes);
    again::<ClusterId>(bytes);
    let record = Bytes::copy_from_slice(bytes);
    // What a log holds is read by whoever starts on it: it is refused, or it is something.
    drop(stored::entry(&WalEntry { index: 7, body: record.clone() }));
    drop(stored::members(bytes));
    let state = WalState {
        vote: Some(record.clone()),
        committed: Some(record.clone()),
        purged: Some((6, record)),
        held: Some((7, 9)),
    };
    drop(stored::log(&state));
}

fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<T>(bytes) {
        let written = codec::encode(&value);
        assert_eq!(codec::decode::<T>(&written).as_ref(), Ok(&value), "it is read as it was written");
    }
}

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let program = testing::manifest("1.0", &[Step::Set("key".into(), "value".into())], &[&[]]);
    let end = End {
        sequence: Sequence(4),
        digest: Hash([7; 32]),
        log_index: 9,
        entries: 3,
        transitions: 4,
        components: 1,
        chunks: 2,
    };
    vec![
        ("policy", codec::encode(&Policy::default())),
        ("program", codec::encode(&program)),
        ("end", codec::encode(&end)),
        ("cluster", codec::encode(&ClusterId([5; 16]))),
        ("transitions", codec::encode(&super::batches::history())),
    ]
}
