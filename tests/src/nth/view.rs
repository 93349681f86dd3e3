//! Everything that a store shows of what the [`super::scenario`] does: two stores that show the same are the same.

use super::scenario::{COMMUNITIES, FACTS, body, hash};
use althing_core::ids::{CommunityId, Hash, Sequence};
use althing_store::port::{HistoryRecord, SnapshotRecord, Store, WalEntry};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What a log shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log(Vec<Group>);

/// What it shows of a group. What is committed is durable at some time, so it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    vote: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
    entries: Vec<WalEntry>,
}

/// What an archive shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelves {
    communities: Vec<Community>,
    chunks: Vec<(Hash, Option<Bytes>)>,
    condemned: Vec<Hash>,
    components: Vec<(Hash, Option<Bytes>)>,
    facts: Vec<Option<Bytes>>,
}

/// What it shows of a community.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Community {
    snapshots: Vec<SnapshotRecord>,
    pinned: BTreeMap<Sequence, String>,
    history: Vec<HistoryRecord>,
}

/// What a store's log shows.
///
/// # Errors
/// The store's, in words.
pub async fn log(store: &Store) -> Result<Log, String> {
    let mut groups = Vec::new();
    for group in COMMUNITIES {
        let failed = |error: althing_store::port::StoreError| chain(&error);
        let state = store.wal.state(group).await.map_err(failed)?;
        let entries = store.wal.read(group, 0..u64::MAX, usize::MAX).await.map_err(failed)?;
        groups.push(Group { vote: state.vote, purged: state.purged, entries });
    }
    Ok(Log(groups))
}

/// What a store's archive shows.
///
/// # Errors
/// The store's, in words.
pub async fn shelves(store: &Store) -> Result<Shelves, String> {
    let failed = |error: althing_store::port::StoreError| chain(&error);
    let archive = &store.archive;
    let mut communities = Vec::new();
    for community in COMMUNITIES {
        communities.push(of(store, community).await?);
    }
    let mut chunks = Vec::new();
    for number in 1..=6 {
        chunks.push((hash(number), archive.chunk(hash(number)).await.map_err(failed)?));
    }
    let mut components = Vec::new();
    for number in 1..=2 {
        components.push((hash(number), archive.component(hash(number)).await.map_err(failed)?));
    }
    let mut facts = Vec::new();
    for name in FACTS {
        facts.push(archive.fact(name).await.map_err(failed)?);
    }
    let condemned = archive.condemned_chunks(100).await.map_err(failed)?;
    Ok(Shelves { communities, chunks, condemned, components, facts })
}

async fn of(store: &Store, community: CommunityId) -> Result<Community, String> {
    let failed = |error: althing_store::port::StoreError| chain(&error);
    let archive = &store.archive;
    Ok(Community {
        snapshots: archive.snapshots(community).await.map_err(failed)?,
        pinned: archive.pinned_snapshots(community).await.map_err(failed)?,
        history: archive.history(community, Sequence(1), usize::MAX).await.map_err(failed)?,
    })
}

/// An error with all that it came of.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", chain(source))).unwrap_or_default();
    format!("{error}{source}")
}

/// A long text, without its bodies.
#[must_use]
pub fn short(text: &str) -> String {
    let mut short = text.to_owned();
    for number in 0..=60 {
        short = short.replace(&format!("{:?}", body(number)), &format!("#{number}"));
    }
    short.truncate(short.floor_char_boundary(2000));
    short
}
