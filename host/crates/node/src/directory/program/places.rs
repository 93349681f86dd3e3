//! Where replicas live: moved to other nodes, more or fewer of them, and places that are vacant.
//!
//! A record says only where replicas *should* be. That votes are never fewer on the way there is the
//! groups' business ([`crate::reconcile`]).

use super::{Records, Stop, begin_life, may_vote, reject};
use crate::directory::record::{CommunityRecord, DirectoryResult, ReplicaRecord};
use althing_core::ids::{CommunityId, NodeId, ReplicaId};

/// Why replicas of the system community are not placed by hand.
const SYSTEM_STAYS: &str =
    "every node has a replica of the system community, and the oldest vote: it comes and goes with its node";

/// The fresh one votes if the old one did. Asked again, it answers who came after the old one.
pub(super) fn move_replica(
    records: &mut Records<'_>,
    community: CommunityId,
    replica: ReplicaId,
    to: NodeId,
) -> Result<DirectoryResult, Stop> {
    let mut record = any_but_system(records, community)?;
    let there = record.replica_on(to);
    let Some(old) = record.replicas.get(&replica).copied() else {
        return match there.filter(|&fresh| fresh > replica) {
            Some(fresh) => Ok(DirectoryResult::Replica(fresh)),
            None => reject("no-replica", format!("{} has no replica {replica}", record.name)),
        };
    };
    if there.is_some() {
        return reject("bad-members", format!("{} has a replica on node {to} already", record.name));
    }
    records.must_take_replicas(to)?;
    record.replicas.remove(&replica);
    let fresh = begin_life(&mut record, ReplicaRecord { node: to, voter: old.voter });
    records.put_community(&record)?;
    Ok(DirectoryResult::Replica(fresh))
}

/// Asked again, it changes nothing.
pub(super) fn vacate(
    records: &mut Records<'_>,
    community: CommunityId,
    replica: ReplicaId,
) -> Result<DirectoryResult, Stop> {
    let mut record = any_but_system(records, community)?;
    let Some(old) = record.replicas.remove(&replica) else {
        return Ok(DirectoryResult::Replica(replica));
    };
    must_have_a_vote(&record)?;
    if old.voter {
        let vacant = records.vacant(community)?;
        records.set_vacant(community, vacant.saturating_add(1))?;
    }
    records.put_community(&record)?;
    Ok(DirectoryResult::Replica(replica))
}

/// A node that only follows gets a vote.
pub(super) fn fill(
    records: &mut Records<'_>,
    community: CommunityId,
    node: NodeId,
) -> Result<DirectoryResult, Stop> {
    let mut record = any_but_system(records, community)?;
    let Some(vacant) = records.vacant(community)?.checked_sub(1) else {
        return reject("bad-members", format!("{} has no vacant place", record.name));
    };
    let replica = give_vote(records, &mut record, node)?;
    records.set_vacant(community, vacant)?;
    records.put_community(&record)?;
    Ok(DirectoryResult::Replica(replica))
}

/// What was wanted before is forgotten; so are places that were vacant.
pub(super) fn set_replicas(
    records: &mut Records<'_>,
    community: CommunityId,
    voters: u32,
    add: &[NodeId],
    remove: &[ReplicaId],
) -> Result<DirectoryResult, Stop> {
    let mut record = any_but_system(records, community)?;
    let wanted = usize::try_from(voters).unwrap_or(usize::MAX);
    may_vote(wanted)?;
    for replica in remove {
        record.replicas.remove(replica);
    }
    for &node in add {
        give_vote(records, &mut record, node)?;
    }
    must_have_a_vote(&record)?;
    let Some(vacant) = wanted.checked_sub(record.voters()) else {
        return reject(
            "members-changing",
            format!("others change the replicas of {} too: retry", record.name),
        );
    };
    records.set_vacant(community, u32::try_from(vacant).unwrap_or(u32::MAX))?;
    records.put_community(&record)?;
    Ok(DirectoryResult::Community(Box::new(record)))
}

fn give_vote(
    records: &mut Records<'_>,
    record: &mut CommunityRecord,
    node: NodeId,
) -> Result<ReplicaId, Stop> {
    records.must_take_replicas(node)?;
    let voter = ReplicaRecord { node, voter: true };
    let replica = match record.replica_on(node) {
        Some(replica) if record.replicas[&replica].voter => {
            return reject("bad-members", format!("{} has a vote on node {node} already", record.name));
        }
        Some(replica) => {
            record.replicas.insert(replica, voter);
            replica
        }
        None => begin_life(record, voter),
    };
    may_vote(record.voters())?;
    Ok(replica)
}

pub(super) fn any_but_system(
    records: &mut Records<'_>,
    community: CommunityId,
) -> Result<CommunityRecord, Stop> {
    match community {
        CommunityId::SYSTEM => reject("bad-request", SYSTEM_STAYS),
        community => records.community(community),
    }
}

fn must_have_a_vote(record: &CommunityRecord) -> Result<(), Stop> {
    match record.voters() {
        0 => reject("bad-members", format!("nobody would vote in {} any more", record.name)),
        _ => Ok(()),
    }
}
