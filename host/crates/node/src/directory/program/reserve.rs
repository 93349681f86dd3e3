//! Communities to be: their ids are given, and nobody sees them until all they begin with is in place.
//!
//! What decides is the order in the system community's log: a community that was released never begins,
//! one that has begun is never released. So whoever holds something for it knows when to throw it away.

use super::{Records, Stop, draft, must_be_free, reject};
use crate::directory::record::{CommunityRecord, DirectoryResult, Reservation, key};
use althing_core::{
    ids::{CommunityId, NodeId},
    origin::Origin,
};

/// Gives the community its id and its replicas theirs. The name is taken only when it begins.
pub(super) fn reserve(
    records: &mut Records<'_>,
    wanted: super::Wanted,
    by: NodeId,
    origin: Origin,
) -> Result<DirectoryResult, Stop> {
    if let Err((what, max)) = origin.check() {
        return reject("bad-request", format!("the origin's {what} has more than {max} bytes"));
    }
    records.must_have_node(by)?;
    let mut record = draft(records, wanted)?;
    // They begin with a snapshot: nobody founds the group with a first entry.
    record.founders.clear();
    let reservation = Reservation { by, record, origin };
    records.put(&key::reserved(reservation.record.id), &reservation)?;
    Ok(DirectoryResult::Community(Box::new(reservation.record)))
}

/// From now on it is a community like any other. Asked again, the same.
pub(super) fn begin(records: &mut Records<'_>, community: CommunityId) -> Result<DirectoryResult, Stop> {
    let Some(reservation) = records.get::<Reservation>(&key::reserved(community))? else {
        return match records.get::<CommunityRecord>(&key::community(community))? {
            Some(begun) => Ok(DirectoryResult::Community(Box::new(begun))),
            None => reject("no-community", format!("community {community} was given up before it began")),
        };
    };
    let Reservation { record, origin, .. } = reservation;
    must_be_free(records, &record.name)?;
    records.delete(&key::reserved(community))?;
    records.put(&key::name(&record.name), &community)?;
    records.put(&key::origin(community), &origin)?;
    records.put_community(&record)?;
    Ok(DirectoryResult::Community(Box::new(record)))
}

/// It will never begin, unless it has.
pub(super) fn release(records: &mut Records<'_>, community: CommunityId) -> Result<DirectoryResult, Stop> {
    records.delete(&key::reserved(community))?;
    Ok(DirectoryResult::Done)
}

/// Those that a node has reserved, or that were to begin on it, never begin.
pub(super) fn release_those_of(records: &mut Records<'_>, node: NodeId) -> Result<(), Stop> {
    for Reservation { by, record, .. } in records.all(key::RESERVED, key::RESERVED_END)? {
        if by == node || record.replica_on(node).is_some() {
            records.delete(&key::reserved(record.id))?;
        }
    }
    Ok(())
}
