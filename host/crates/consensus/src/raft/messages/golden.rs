//! Golden vectors of what replicas say to each other: a published message is never edited (promise P10).
//! Beside the other half, in [`super::super::records`], of what they store.

use super::*;
use crate::raft::records::{decode, encode};
use crate::raft::types::{Membership, Payload, Proposal};
use althing_core::{codec, ids::NodeId};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

fn id(index: u64) -> LogId {
    LogId { leader_id: Leader { term: 300, node_id: 2 }, index }
}

fn at(index: u64) -> LogIdRecord {
    LogIdRecord::from(&id(index))
}

fn vote() -> VoteRecord {
    VoteRecord::from(&Vote { leader_id: Leader { term: 300, node_id: 2 }, committed: true })
}

fn membership() -> Membership {
    let member = Member { node: NodeId(7), address: "node-7".into() };
    Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, member)])).expect("the voter is a member")
}

/// What this build writes, under a name, after making sure that it reads the same from it.
fn line<T: Serialize + DeserializeOwned>(name: &str, message: &T) -> String {
    let written = codec::encode(message);
    let read: T = codec::decode(&written).expect("it was just written");
    assert_eq!(codec::encode(&read), written, "{name}");
    let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {hex}")
}

#[test]
fn votes_keep_their_encoding() {
    let message = VoteMessage { vote: vote(), last: Some(at(5)), is_transfer: true };
    let lines = [
        line("vote", &Addressed { to: 400, message }),
        line("answer", &VoteAnswer { vote: vote(), is_granted: true, last: None }),
    ];
    assert_eq!(lines, ["vote 019003ac02020101ac02020501", "answer 01ac0202010100"]);
}

#[test]
fn appends_keep_their_encoding() {
    let entry = |index, payload| EntryRecord::from(&Entry { log_id: id(index), payload });
    let entries = vec![
        entry(6, Payload::Blank),
        entry(7, Payload::Normal(Proposal("abc".into()))),
        entry(8, Payload::Membership(membership())),
    ];
    let message = AppendMessage { vote: vote(), previous: Some(at(5)), entries, committed: Some(at(4)) };
    let heartbeat = AppendMessage { vote: vote(), previous: None, entries: Vec::new(), committed: None };
    let lines = [
        line("append", &Addressed { to: 400, message }),
        line("heartbeat", &heartbeat),
        line("matches", &AppendAnswer::Matches(Some(at(8)))),
        line("matches-nothing", &AppendAnswer::Matches(None)),
        line("conflicts", &AppendAnswer::Conflicts(at(8))),
        line("superseded", &AppendAnswer::Superseded(vote())),
    ];
    let golden = [
        "append 019003ac02020101ac02020503ac02020600ac0202070103616263ac02020802010101010107066e6f64652d3701ac020204",
        "heartbeat 01ac020201000000",
        "matches 010001ac020208",
        "matches-nothing 010000",
        "conflicts 0101ac020208",
        "superseded 0102ac020201",
    ];
    assert_eq!(lines, golden);
}

#[test]
fn handing_over_keeps_its_encoding() {
    let superseded = TransferAnswer::Superseded { expected: vote(), actual: vote() };
    let lines = [
        line("transfer", &TransferMessage { vote: vote(), heir: 400, last: Some(at(5)) }),
        line("accepted", &TransferAnswer::Accepted),
        line("superseded", &superseded),
        line("behind", &TransferAnswer::Behind { expected: Some(at(5)), actual: None }),
    ];
    let golden = [
        "transfer 01ac020201900301ac020205",
        "accepted 0100",
        "superseded 0101ac020201ac020201",
        "behind 010201ac02020500",
    ];
    assert_eq!(lines, golden);
}

#[test]
fn snapshots_keep_their_encoding() {
    let stored = StoredMembership::new(Some(id(3)), membership());
    let membership = StoredMembershipRecord::from(&stored);
    let message = SnapshotMessage { vote: vote(), last: Some(at(5)), membership, manifest: "m".into() };
    let lines = [
        line("snapshot", &message),
        line("working", &SnapshotAnswer::Working),
        line("done", &SnapshotAnswer::Done(vote())),
    ];
    let golden = [
        "snapshot 01ac02020101ac02020501ac020203010101010107066e6f64652d37016d",
        "working 0100",
        "done 0101ac020201",
    ];
    assert_eq!(lines, golden);
}

/// An entry that changes the members, as a log holds it.
#[test]
fn a_stored_change_of_members_keeps_its_encoding() {
    let entry = Entry { log_id: id(8), payload: Payload::Membership(membership()) };
    let stored = encode::<EntryRecord, _>(&entry);
    let golden = "members 01ac02020802010101010107066e6f64652d37";
    assert_eq!(line("members", &EntryRecord::from(&entry)), golden);
    assert_eq!(decode::<EntryRecord, Entry>(&stored), Ok(entry));
}
