//! Reading what is stored by content again, to see whether it still is what its name says.
//!
//! Only the name counts. What a manifest says of a chunk beside it, its size, is the manifest's own claim:
//! a chunk that is sound is sound for every snapshot that names it, and stays.

use althing_core::{ids::Hash, snapshot::ChunkRef};
use althing_store::port::{Archive, StoreError};

/// What a look at a stored chunk has shown.
#[derive(Debug)]
pub(crate) enum Reread {
    /// It is what its name says, and has so many bytes.
    Sound(u64),
    /// Its bytes, so many, are not what its name says. To be condemned.
    Damaged(u64),
    /// It is not here, or was condemned before.
    Missing,
    /// The store does not give it back. Not to be condemned: its bytes may be sound, and the store cannot
    /// put others in the place of what it cannot read.
    Unreadable(StoreError),
}

/// Reads and hashes a stored chunk.
///
/// # Errors
/// [`StoreError::Closed`], and no other.
pub(crate) async fn reread(archive: &dyn Archive, hash: Hash) -> Result<Reread, StoreError> {
    match archive.chunk(hash).await {
        Ok(None) => Ok(Reread::Missing),
        Ok(Some(bytes)) => {
            let found = ChunkRef::of(&bytes);
            Ok(if found.hash == hash { Reread::Sound(found.bytes) } else { Reread::Damaged(found.bytes) })
        }
        Err(StoreError::Closed) => Err(StoreError::Closed),
        Err(error) => Ok(Reread::Unreadable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Reread, reread};
    use althing_consensus::runtime::simulate;
    use althing_core::{ids::Hash, snapshot::Chunk};
    use althing_store::{memory::MemoryStore, port::StoreError};
    use bytes::Bytes;

    #[test]
    fn a_chunk_is_what_its_name_says_or_not() {
        simulate(1, async |_runtime| {
            let store = MemoryStore::new();
            let archive = store.store().archive;
            let chunks = [b"whole", b"other", b"stuck"].map(|body| Chunk::of(Bytes::from_static(body)));
            let [whole, other, stuck] = chunks.clone().map(|chunk| chunk.hash);
            archive.put_chunks(chunks.map(|chunk| (chunk.hash, chunk.bytes)).into()).await.unwrap();
            assert!(store.damage_chunk(other) && store.block_chunk(stuck));
            assert!(matches!(reread(&*archive, whole).await, Ok(Reread::Sound(5))));
            assert!(matches!(reread(&*archive, other).await, Ok(Reread::Damaged(5))));
            assert!(matches!(reread(&*archive, Hash([9; 32])).await, Ok(Reread::Missing)));
            assert!(matches!(reread(&*archive, stuck).await, Ok(Reread::Unreadable(_))));
            archive.close().await;
            assert!(matches!(reread(&*archive, whole).await, Err(StoreError::Closed)));
        });
    }
}
