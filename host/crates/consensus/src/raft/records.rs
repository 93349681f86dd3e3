//! What Raft stores, as our own records, so that neither a WAL nor a snapshot depends on how
//! openraft spells its types. Each is a record of `althing_core::codec`, with its version.

use super::types::{Entry, Leader, LogId, Membership, Payload, Proposal, StoredMembership, Vote};
use crate::port::{Member, Position};
use althing_core::codec::{self, DecodeError};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdRecord {
    term: u64,
    leader: u64,
    index: u64,
}

impl From<&LogId> for LogIdRecord {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        let leader_id = Leader { term: record.term, node_id: record.leader };
        Self { leader_id, index: record.index }
    }
}

/// Whom a replica follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    term: u64,
    leader: u64,
    committed: bool,
}

impl From<&Vote> for VoteRecord {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, leader: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        let leader_id = Leader { term: record.term, node_id: record.leader };
        Self { leader_id, committed: record.committed }
    }
}

/// Who belongs to a group: one set of voters, or two during a change; whoever is in none follows only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    voters: Vec<BTreeSet<u64>>,
    members: BTreeMap<u64, Member>,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        Self {
            voters: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(&id, member)| (id, member.clone())).collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = DecodeError;

    fn try_from(record: MembershipRecord) -> Result<Self, DecodeError> {
        if record.voters.is_empty() && record.members.is_empty() {
            return Ok(Self::default());
        }
        Self::new(record.voters, record.members).map_err(|error| DecodeError::Damaged(error.to_string()))
    }
}

/// Who belongs to a group, and which entry says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembershipRecord {
    at: Option<LogIdRecord>,
    membership: MembershipRecord,
}

impl StoredMembershipRecord {
    /// The entry that says so.
    pub(crate) fn at(&self) -> Option<LogIdRecord> {
        self.at
    }
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(stored: &StoredMembership) -> Self {
        Self {
            at: stored.log_id().as_ref().map(LogIdRecord::from),
            membership: MembershipRecord::from(stored.membership()),
        }
    }
}

impl TryFrom<StoredMembershipRecord> for StoredMembership {
    type Error = DecodeError;

    fn try_from(record: StoredMembershipRecord) -> Result<Self, DecodeError> {
        Ok(Self::new(record.at.map(LogId::from), Membership::try_from(record.membership)?))
    }
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryRecord {
    at: LogIdRecord,
    payload: PayloadRecord,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum PayloadRecord {
    Blank,
    Proposal(Bytes),
    Membership(MembershipRecord),
}

impl EntryRecord {
    pub(crate) fn at(&self) -> LogIdRecord {
        self.at
    }
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> Self {
        let payload = match &entry.payload {
            Payload::Blank => PayloadRecord::Blank,
            Payload::Normal(proposal) => PayloadRecord::Proposal(proposal.0.clone()),
            Payload::Membership(membership) => PayloadRecord::Membership(membership.into()),
        };
        Self { at: LogIdRecord::from(&entry.log_id), payload }
    }
}

impl TryFrom<EntryRecord> for Entry {
    type Error = DecodeError;

    fn try_from(record: EntryRecord) -> Result<Self, DecodeError> {
        let payload = match record.payload {
            PayloadRecord::Blank => Payload::Blank,
            PayloadRecord::Proposal(bytes) => Payload::Normal(Proposal(bytes)),
            PayloadRecord::Membership(membership) => Payload::Membership(membership.try_into()?),
        };
        Ok(Self { log_id: record.at.into(), payload })
    }
}

/// Encodes what a record stands for.
pub(crate) fn encode<'a, R, T>(value: &'a T) -> Bytes
where
    R: From<&'a T> + Serialize,
{
    codec::encode(&R::from(value)).into()
}

/// Decodes what a record stands for.
pub(crate) fn decode<R, T>(bytes: &[u8]) -> Result<T, DecodeError>
where
    R: TryInto<T, Error: Display> + DeserializeOwned,
{
    let record: R = codec::decode(bytes)?;
    record.try_into().map_err(|error| DecodeError::Damaged(error.to_string()))
}

/// A log id as the port shows it.
pub(crate) fn position(id: &LogId) -> Position {
    Position { index: id.index, record: encode::<LogIdRecord, _>(id) }
}

/// The log id that the port was shown.
pub(crate) fn log_id(position: &Position) -> Result<LogId, DecodeError> {
    let record: LogIdRecord = codec::decode(&position.record)?;
    if record.index == position.index {
        Ok(record.into())
    } else {
        let found = record.index;
        Err(DecodeError::Damaged(format!("the position of {found} is not that of {}", position.index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_core::ids::NodeId;

    fn id(index: u64) -> LogId {
        LogId { leader_id: Leader { term: 300, node_id: 2 }, index }
    }

    fn membership() -> Membership {
        let member = |node| Member { node: NodeId(node), address: format!("node-{node}") };
        let voters = vec![BTreeSet::from([1, 2]), BTreeSet::from([2])];
        Membership::new(voters, BTreeMap::from([(1, member(7)), (2, member(8)), (3, member(9))]))
            .expect("every voter is a member")
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn every_record_is_written_as_it_was_published() {
        let vote = Vote { leader_id: Leader { term: 300, node_id: 2 }, committed: true };
        assert_eq!(hex(&encode::<VoteRecord, _>(&vote)), "01ac020201");
        assert_eq!(hex(&encode::<LogIdRecord, _>(&id(5))), "01ac020205");
        let blank = Entry { log_id: id(5), payload: Payload::Blank };
        assert_eq!(hex(&encode::<EntryRecord, _>(&blank)), "01ac02020500");
        let proposal = Entry { log_id: id(6), payload: Payload::Normal(Proposal("abc".into())) };
        assert_eq!(hex(&encode::<EntryRecord, _>(&proposal)), "01ac0202060103616263");
        let stored = StoredMembership::new(Some(id(5)), membership());
        assert_eq!(
            hex(&encode::<StoredMembershipRecord, _>(&stored)),
            "0101ac020205020201020102030107066e6f64652d37\
             0208066e6f64652d380309066e6f64652d39"
        );
    }

    #[test]
    fn every_record_comes_back_as_it_was() {
        for payload in
            [Payload::Blank, Payload::Normal(Proposal("abc".into())), Payload::Membership(membership())]
        {
            let entry = Entry { log_id: id(9), payload };
            let bytes = encode::<EntryRecord, _>(&entry);
            assert_eq!(decode::<EntryRecord, Entry>(&bytes), Ok(entry));
        }
        for stored in [StoredMembership::default(), StoredMembership::new(Some(id(1)), membership())] {
            let bytes = encode::<StoredMembershipRecord, _>(&stored);
            assert_eq!(decode::<StoredMembershipRecord, StoredMembership>(&bytes), Ok(stored));
        }
    }

    #[test]
    fn a_position_that_was_changed_is_refused() {
        let position = position(&id(7));
        assert_eq!(log_id(&position), Ok(id(7)));
        assert!(log_id(&Position { index: 8, ..position }).is_err());
    }
}
