//! What a replica knew it knows: its term and what it had committed and executed never go back while it
//! lives, its term not even over a power cut; and who leads a later term has everything that was committed
//! before (Raft's leader completeness, section 5.4 of "In Search of an Understandable Consensus Algorithm").

use super::super::record::{Look, Seen};
use althing_core::ids::ReplicaId;
use althing_node::Role;
use std::collections::BTreeMap;

pub(super) fn check(seen: &Seen) -> Result<(), String> {
    let mut replicas: BTreeMap<ReplicaId, Look> = BTreeMap::new();
    // The most that was known to be committed, by the term in which it was known.
    let mut committed: BTreeMap<u64, (u64, Look)> = BTreeMap::new();
    for look in &seen.looks {
        if look.applied > look.committed || look.committed > look.last {
            return Err(format!("a replica is ahead of itself: {look:?}"));
        }
        if let Some(before) = replicas.insert(look.replica, *look) {
            stays(&before, look)?;
        }
        if look.role == Role::Leader {
            let earlier =
                committed.range(..look.term).map(|(_, known)| known).max_by_key(|(index, _)| *index);
            if let Some((index, by)) = earlier
                && *index > look.last
            {
                return Err(format!(
                    "{look:?} leads without index {index}, which {by:?} knew to be committed"
                ));
            }
        }
        let known = committed.entry(look.term).or_insert((0, *look));
        if look.committed > known.0 {
            *known = (look.committed, *look);
        }
    }
    Ok(())
}

fn stays(before: &Look, now: &Look) -> Result<(), String> {
    let is_same_life = before.life == now.life;
    let went_back = is_same_life && (now.committed < before.committed || now.applied < before.applied);
    if now.term < before.term || went_back {
        return Err(format!("a replica went back from {before:?} to {now:?}"));
    }
    Ok(())
}
