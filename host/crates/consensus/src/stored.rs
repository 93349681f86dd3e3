//! What a group has stored, in plain words: for whoever looks at a log while no group runs on it.
//! Nothing here decides anything.

use crate::{port::Member, raft};
use althing_core::{codec::DecodeError, ids::ReplicaId};
use althing_store::port::{WalEntry, WalState};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What a log's records say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredLog {
    /// The newest term that the replica has seen.
    pub term: u64,
    /// Whom it follows, or voted for, in that term; none before its first vote.
    pub vote: Option<ReplicaId>,
    /// The last index that it knew to be committed when it last wrote that down; there may be more.
    pub committed: Option<u64>,
    /// The last index that it has purged.
    pub purged: Option<u64>,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// The term in which it was written.
    pub term: u64,
    /// What it holds.
    pub payload: StoredPayload,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPayload {
    /// A leader's first entry.
    Blank,
    /// What was proposed.
    Proposal(Bytes),
    /// Who belongs to the group from here on.
    Members(StoredMembers),
}

/// Who belongs to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredMembers {
    /// Those who vote, before or after a change that is under way.
    pub voters: BTreeMap<ReplicaId, Member>,
    /// Those who follow only.
    pub learners: BTreeMap<ReplicaId, Member>,
}

/// Reads a log's records.
///
/// # Errors
/// One that no group has written.
pub fn log(state: &WalState) -> Result<StoredLog, DecodeError> {
    raft::stored_log(state)
}

/// Reads an entry.
///
/// # Errors
/// One that no group has written, or that stands at another place than it says.
pub fn entry(entry: &WalEntry) -> Result<StoredEntry, DecodeError> {
    raft::stored_entry(entry)
}

/// Reads the record of members that an applied state, and so a snapshot's manifest, holds.
///
/// # Errors
/// One that no group has written.
pub fn members(record: &[u8]) -> Result<StoredMembers, DecodeError> {
    raft::stored_members(record)
}
