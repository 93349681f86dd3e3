//! What outlives a replica: the chunks of its newest snapshot, so that the one that takes its place on this
//! node need not fetch what is here already.
//!
//! A chunk is named by its content, so whatever the old replica was, what is right is right. Each is read and
//! checked first: one that the disk has changed is left behind, to be fetched.

use crate::reread::{Reread, reread};
use althing_core::{ids::CommunityId, snapshot::Manifest};
use althing_store::port::{Archive, StoreError};

/// Lets the chunks of a community that is about to be removed here stay for a while, as
/// [`Archive::missing_chunks`] says.
///
/// # Errors
/// When the list of snapshots cannot be read, or the store is closed.
pub(crate) async fn outlive(archive: &dyn Archive, community: CommunityId) -> Result<(), StoreError> {
    let newest = archive.snapshots(community).await?.into_iter().next();
    let Some(manifest) = newest.and_then(|newest| Manifest::decode(&newest.manifest).ok()) else {
        return Ok(());
    };
    let mut whole = Vec::with_capacity(manifest.chunks.len());
    for chunk in manifest.chunks {
        if let Reread::Sound(_) = reread(archive, chunk.hash).await? {
            whole.push(chunk.hash);
        }
    }
    // Whoever asks counts on those that are here.
    archive.missing_chunks(&whole).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::outlive;
    use crate::retention::keep;
    use althing_consensus::runtime::simulate;
    use althing_core::{
        ids::CommunityId,
        machine::Machine,
        policy::Policy,
        snapshot::{Cutter, Manifest, Piece},
        state::Keyspace,
    };
    use althing_store::port::Store;
    use bytes::Bytes;

    #[test]
    fn chunks_that_are_whole_outlive_their_replica_and_one_that_is_not_goes() {
        simulate(1, async |_runtime| {
            let id = CommunityId(1);
            let mut state = Machine::new(id, Policy::default()).state().clone();
            for key in 0..3000_u32 {
                let value = Bytes::from(key.to_string().repeat(40));
                state.put(Keyspace::Program, &key.to_be_bytes(), Some(value));
            }
            let machine = Machine::restore(state).unwrap();
            let mut cutter = Cutter::new(machine.state().clone(), None);
            let mut chunks: Vec<_> = Vec::new();
            for piece in cutter.by_ref() {
                if let Piece::New(chunk) = piece {
                    chunks.push((chunk.hash, chunk.bytes));
                }
            }
            assert!(chunks.len() > 2);
            let manifest = Manifest::of(&machine.view(), cutter.finish().chunks());
            // What a disk that lies makes of one.
            chunks[1].1 = Bytes::from_static(b"something else");
            let hashes: Vec<_> = chunks.iter().map(|(hash, _)| *hash).collect();

            let archive = Store::memory().archive;
            archive.put_chunks(chunks).await.unwrap();
            keep(&*archive, &manifest, &Policy::default().retention).await.unwrap();
            outlive(&*archive, id).await.unwrap();
            archive.remove_community(id).await.unwrap();
            assert_eq!(archive.snapshots(id).await.unwrap(), []);
            assert_eq!(archive.missing_chunks(&hashes).await.unwrap(), [hashes[1]]);
            // A community without a snapshot leaves nothing.
            outlive(&*archive, CommunityId(2)).await.unwrap();
        });
    }
}
