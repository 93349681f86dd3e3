//! Beginning a group in the middle of a history: its voters restore a state instead of agreeing on a
//! first entry.
//!
//! The state stands where the first entry of a log stands, the one that names the voters: executed,
//! and held by nobody. So the group's log begins after it at every voter, and whoever comes later, or
//! lost the state, can only be given a snapshot: there is no entry to begin with.

use super::{
    records::{self, StoredMembershipRecord, encode},
    types::{Leader, LogId, Membership, StoredMembership},
};
use crate::port::{AppliedState, Member, MembershipError};
use althing_core::ids::ReplicaId;
use std::collections::{BTreeMap, BTreeSet};

/// What a state is to have executed for a group to begin with it: nothing, but that these are the
/// voters. Every one of them restores the same; nobody calls
/// [`initialize`](crate::port::Group::initialize).
///
/// # Errors
/// There are no voters.
pub fn founding(voters: BTreeMap<ReplicaId, Member>) -> Result<AppliedState, MembershipError> {
    let invalid = |why: String| MembershipError::Invalid { why };
    let first = voters.keys().next().ok_or_else(|| invalid("a group begins with a voter".into()))?;
    // Below every term in which somebody can lead.
    let at = LogId { leader_id: Leader { term: 0, node_id: first.0 }, index: 0 };
    let ids: BTreeSet<u64> = voters.keys().map(|replica| replica.0).collect();
    let members: BTreeMap<u64, Member> =
        voters.into_iter().map(|(replica, member)| (replica.0, member)).collect();
    let membership = Membership::new(vec![ids], members).map_err(|error| invalid(error.to_string()))?;
    let stored = StoredMembership::new(Some(at), membership);
    Ok(AppliedState {
        position: Some(records::position(&at)),
        membership: Some(encode::<StoredMembershipRecord, _>(&stored)),
    })
}

#[cfg(test)]
mod tests {
    use super::founding;
    use crate::{port::Member, raft::records};
    use althing_core::ids::{NodeId, ReplicaId};
    use std::collections::BTreeMap;

    fn voters(ids: &[u64]) -> BTreeMap<ReplicaId, Member> {
        let member = |id: u64| Member { node: NodeId(id + 6), address: format!("node-{}", id + 6) };
        ids.iter().map(|&id| (ReplicaId(id), member(id))).collect()
    }

    #[test]
    fn a_founding_state_stands_at_the_first_entry_below_every_term() {
        let state = founding(voters(&[2, 1])).unwrap();
        let position = state.position.unwrap();
        let at = records::log_id(&position).unwrap();
        assert_eq!((at.index, at.leader_id.term, at.leader_id.node_id), (0, 0, 1));
        let record: String = state.membership.unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            record,
            "0101000100010201020201\
                            07066e6f64652d370208066e6f64652d38"
        );
        assert!(founding(BTreeMap::new()).is_err(), "a group of nobody");
    }
}
