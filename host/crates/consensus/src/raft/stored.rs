//! Raft's records in the words of [`crate::stored`].

use super::{
    records::{EntryRecord, LogIdRecord, StoredMembershipRecord, VoteRecord, decode},
    types::{Entry, LogId, Membership, Payload, StoredMembership, Vote},
};
use crate::stored::{StoredEntry, StoredLog, StoredMembers, StoredPayload};
use althing_core::{codec::DecodeError, ids::ReplicaId};
use althing_store::port::{WalEntry, WalState};
use std::collections::BTreeSet;

pub(crate) fn stored_log(state: &WalState) -> Result<StoredLog, DecodeError> {
    let index = |record: Option<&[u8]>| -> Result<Option<u64>, DecodeError> {
        let id: Option<LogId> = record.map(decode::<LogIdRecord, _>).transpose()?;
        Ok(id.map(|id| id.index))
    };
    let vote: Option<Vote> = state.vote.as_deref().map(decode::<VoteRecord, _>).transpose()?;
    let purged = index(state.purged.as_ref().map(|(_, record)| &record[..]))?;
    if purged != state.purged.as_ref().map(|(index, _)| *index) {
        return Err(DecodeError::Damaged("the purged index is not that of its record".to_owned()));
    }
    Ok(StoredLog {
        term: vote.map_or(0, |vote| vote.leader_id.term),
        vote: vote.map(|vote| ReplicaId(vote.leader_id.node_id)),
        committed: index(state.committed.as_deref())?,
        purged,
    })
}

pub(crate) fn stored_entry(stored: &WalEntry) -> Result<StoredEntry, DecodeError> {
    let Entry { log_id, payload } = decode::<EntryRecord, Entry>(&stored.body)?;
    if log_id.index != stored.index {
        let what = format!("the entry of {} stands at {}", log_id.index, stored.index);
        return Err(DecodeError::Damaged(what));
    }
    let payload = match payload {
        Payload::Blank => StoredPayload::Blank,
        Payload::Normal(proposal) => StoredPayload::Proposal(proposal.0),
        Payload::Membership(membership) => StoredPayload::Members(members(&membership)),
    };
    Ok(StoredEntry { term: log_id.leader_id.term, payload })
}

pub(crate) fn stored_members(record: &[u8]) -> Result<StoredMembers, DecodeError> {
    let stored: StoredMembership = decode::<StoredMembershipRecord, _>(record)?;
    Ok(members(stored.membership()))
}

fn members(membership: &Membership) -> StoredMembers {
    let voting: BTreeSet<u64> = membership.get_joint_config().iter().flatten().copied().collect();
    let all = membership.nodes().map(|(&id, member)| (ReplicaId(id), member.clone()));
    let (voters, learners) = all.partition(|(id, _)| voting.contains(&id.0));
    StoredMembers { voters, learners }
}
