//! The native program of the system community: decides directory operations.
//!
//! Pure, like every program: what it answers depends on the operation, the context and the records.

mod leaving;
mod places;
mod reserve;

pub(crate) use leaving::without;

use super::record::{
    CommunityRecord, ComponentEntry, DirectoryOperation, DirectoryResult, JoinRecord, JoinToken, NodeRecord,
    ReplicaRecord, key,
};
use althing_consensus::{peers::ClusterId, port::Timing};
use althing_core::{
    batch::ProgramManifest,
    codec,
    ids::{CommunityId, Hash, NodeId, ReplicaId},
    limits,
    overlay::{Overlay, Refused},
    policy::Policy,
    program::{Call, Context, End, Fault, Program, Run},
    transition::{Rejection, Trap},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Most voters of a community.
pub(crate) const VOTERS_MAX: usize = 7;
/// Most voters of the system community.
const SYSTEM_VOTERS_MAX: usize = 5;

/// Most bytes of the address of a node: more than any name with a port.
const ADDRESS_BYTES_MAX: usize = 512;

/// Records that are read at once.
const PAGE: u32 = 256;

/// What the native program is called in a manifest.
pub(crate) fn manifest() -> ProgramManifest {
    ProgramManifest {
        reducer: Hash::of("althing 2026 native program", b"directory v1"),
        validators: Vec::new(),
        config: Bytes::new(),
        name: "directory".to_owned(),
        version: "1".to_owned(),
    }
}

/// The program.
pub(crate) struct Directory;

/// Why a decision ended early.
enum Stop {
    Reject(Rejection),
    Trap(Refused),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Trap(refused)
    }
}

fn reject<T>(code: &str, message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Reject(Rejection { code: code.to_owned(), message: message.into(), validator: None }))
}

impl Program for Directory {
    fn begin_batch(&mut self) {}

    fn validators(&self) -> u32 {
        0
    }

    fn run(&mut self, context: &Context, call: Call, mut overlay: Overlay, _fuel: u64) -> Result<Run, Fault> {
        let end = match call {
            Call::Reduce { payload } => match codec::decode::<DirectoryOperation>(&payload) {
                Ok(operation) => match decide(operation, context, &mut Records(&mut overlay)) {
                    Ok(result) => End::Accept(codec::encode(&result).into()),
                    Err(Stop::Reject(rejection)) => End::Reject(rejection),
                    Err(Stop::Trap(refused)) => {
                        End::Trap(Trap { kind: refused.kind, message: refused.message, validator: None })
                    }
                },
                Err(error) => End::Reject(Rejection {
                    code: "bad-request".to_owned(),
                    message: format!("the payload is no directory operation: {error}"),
                    validator: None,
                }),
            },
            Call::Init { .. } | Call::Migrate { .. } | Call::Timer { .. } | Call::Validate { .. } => {
                End::Accept(Bytes::new())
            }
        };
        Ok(Run { overlay, fuel: 1, end })
    }
}

fn decide(
    operation: DirectoryOperation,
    context: &Context,
    records: &mut Records<'_>,
) -> Result<DirectoryResult, Stop> {
    match operation {
        DirectoryOperation::Found { cluster, peer_address, api_address } => {
            found(records, context, cluster, peer_address, api_address)
        }
        DirectoryOperation::AddNode { token, peer_address, api_address } => {
            add_node(records, context, token, peer_address, api_address)
        }
        DirectoryOperation::SeeNode { node, peer_address, api_address } => {
            see_node(records, context, node, peer_address, api_address)
        }
        DirectoryOperation::CreateCommunity { name, nodes, timing, policy } => {
            create_community(records, Wanted { name, nodes, timing, policy: *policy })
        }
        DirectoryOperation::DeleteCommunity { community } => delete_community(records, community),
        DirectoryOperation::AddReplica { community, node } => add_replica(records, community, node),
        DirectoryOperation::Promote { community, node } => promote(records, community, node),
        DirectoryOperation::RemoveReplica { community, node } => remove_replica(records, community, node),
        DirectoryOperation::RecordComponent(entry) => record_component(records, entry),
        DirectoryOperation::RebuildReplica { community, node, replica } => {
            rebuild_replica(records, community, node, replica)
        }
        DirectoryOperation::Reserve { name, nodes, timing, policy, by, origin } => {
            reserve::reserve(records, Wanted { name, nodes, timing, policy: *policy }, by, origin)
        }
        DirectoryOperation::Begin { community } => reserve::begin(records, community),
        DirectoryOperation::Release { community } => reserve::release(records, community),
        DirectoryOperation::MoveReplica { community, replica, to } => {
            places::move_replica(records, community, replica, to)
        }
        DirectoryOperation::VacatePlace { community, replica } => places::vacate(records, community, replica),
        DirectoryOperation::FillPlace { community, node } => places::fill(records, community, node),
        DirectoryOperation::SetReplicas { community, voters, add, remove } => {
            places::set_replicas(records, community, voters, &add, &remove)
        }
        DirectoryOperation::LeaveNode(leaving) => leaving::leave(records, leaving),
        DirectoryOperation::KeepNode { node } => leaving::keep(records, node),
        DirectoryOperation::ForgetNode { node } => leaving::forget(records, node),
    }
}

fn found(
    records: &mut Records<'_>,
    context: &Context,
    cluster: ClusterId,
    peer_address: String,
    api_address: String,
) -> Result<DirectoryResult, Stop> {
    if let Some(founded) = records.get::<ClusterId>(key::CLUSTER)? {
        if founded == cluster {
            return Ok(DirectoryResult::Done);
        }
        return reject("already-founded", "the cluster was founded before, under another id");
    }
    let founder = (ReplicaId(1), NodeId(1));
    records.put(key::CLUSTER, &cluster)?;
    records.put(key::NEXT_NODE, &NodeId(2))?;
    records.put(key::NEXT_COMMUNITY, &CommunityId(1))?;
    records.put(&key::name("system"), &CommunityId::SYSTEM)?;
    records.put_community(&CommunityRecord {
        id: CommunityId::SYSTEM,
        name: "system".to_owned(),
        timing: Timing::LAN,
        founding_policy: Policy::default(),
        founders: BTreeMap::from([founder]),
        replicas: BTreeMap::from([(founder.0, ReplicaRecord { node: founder.1, voter: true })]),
        next_replica: ReplicaId(2),
    })?;
    let seen_millis = context.time.millis();
    records.put(
        &key::node(founder.1),
        &NodeRecord { node: founder.1, peer_address, api_address, seen_millis },
    )?;
    Ok(DirectoryResult::Done)
}

fn add_node(
    records: &mut Records<'_>,
    context: &Context,
    token: JoinToken,
    peer_address: String,
    api_address: String,
) -> Result<DirectoryResult, Stop> {
    if let Some(JoinRecord { node, replica }) = records.get(&key::join(token))? {
        // It did not hear that it was taken in, or not before it was started again elsewhere.
        see_node(records, context, node, peer_address, api_address)?;
        return Ok(DirectoryResult::Node { node, replica });
    }
    let Some(node) = records.get::<NodeId>(key::NEXT_NODE)? else {
        return reject("not-founded", "the cluster is not founded yet: retry");
    };
    check_addresses(&peer_address, &api_address)?;
    let mut system = records.community(CommunityId::SYSTEM)?;
    let replica = system.next_replica;
    system.next_replica = replica.next();
    system.replicas.insert(replica, ReplicaRecord { node, voter: false });
    give_votes(&mut system);
    records.put_community(&system)?;
    records.put(key::NEXT_NODE, &node.next())?;
    records.put(&key::join(token), &JoinRecord { node, replica })?;
    let seen_millis = context.time.millis();
    records.put(&key::node(node), &NodeRecord { node, peer_address, api_address, seen_millis })?;
    Ok(DirectoryResult::Node { node, replica })
}

/// The system community votes with the largest odd number of its oldest replicas, at most five: an
/// even number tolerates no more failures than the odd one below it.
fn give_votes(system: &mut CommunityRecord) {
    let votes = match system.replicas.len().min(SYSTEM_VOTERS_MAX) {
        count if count % 2 == 0 => count - 1,
        count => count,
    };
    for (place, replica) in system.replicas.values_mut().enumerate() {
        replica.voter = place < votes;
    }
}

fn see_node(
    records: &mut Records<'_>,
    context: &Context,
    node: NodeId,
    peer_address: String,
    api_address: String,
) -> Result<DirectoryResult, Stop> {
    records.must_have_node(node)?;
    check_addresses(&peer_address, &api_address)?;
    let seen_millis = context.time.millis();
    records.put(&key::node(node), &NodeRecord { node, peer_address, api_address, seen_millis })?;
    Ok(DirectoryResult::Done)
}

fn check_addresses(peer: &str, api: &str) -> Result<(), Stop> {
    match peer.len().max(api.len()) {
        bytes if bytes > ADDRESS_BYTES_MAX => {
            reject("bad-request", format!("an address of {bytes} bytes: {ADDRESS_BYTES_MAX} at most"))
        }
        _ => Ok(()),
    }
}

/// A community as somebody wants it.
struct Wanted {
    name: String,
    nodes: Vec<NodeId>,
    timing: Timing,
    policy: Policy,
}

fn create_community(records: &mut Records<'_>, wanted: Wanted) -> Result<DirectoryResult, Stop> {
    let record = draft(records, wanted)?;
    records.put(&key::name(&record.name), &record.id)?;
    records.put_community(&record)?;
    Ok(DirectoryResult::Community(Box::new(record)))
}

/// The community with an id of its own, if it may be; nothing but that id is taken yet.
fn draft(records: &mut Records<'_>, wanted: Wanted) -> Result<CommunityRecord, Stop> {
    let Wanted { name, nodes, timing, policy } = wanted;
    check_name(&name)?;
    if let Err(bounds) = policy.check() {
        return reject("bad-policy", bounds.to_string());
    }
    must_be_free(records, &name)?;
    if nodes.is_empty() {
        return reject("bad-members", "a community needs at least one node");
    }
    may_vote(nodes.len())?;
    let mut founders = BTreeMap::new();
    for node in nodes {
        records.must_take_replicas(node)?;
        if founders.values().any(|&founder| founder == node) {
            return reject("bad-members", format!("node {node} is named twice"));
        }
        founders.insert(ReplicaId(founders.len() as u64 + 1), node);
    }
    let Some(id) = records.get::<CommunityId>(key::NEXT_COMMUNITY)? else {
        return reject("not-founded", "the cluster is not founded yet: retry");
    };
    let replicas = founders.iter().map(|(&id, &node)| (id, ReplicaRecord { node, voter: true })).collect();
    let next_replica = ReplicaId(founders.len() as u64 + 1);
    records.put(key::NEXT_COMMUNITY, &id.next())?;
    Ok(CommunityRecord { id, name, timing, founding_policy: policy, founders, replicas, next_replica })
}

fn must_be_free(records: &mut Records<'_>, name: &str) -> Result<(), Stop> {
    if records.get::<CommunityId>(&key::name(name))?.is_none() {
        return Ok(());
    }
    reject("community-exists", format!("there is a community {name:?} already: choose another name"))
}

fn may_vote(voters: usize) -> Result<(), Stop> {
    if voters <= VOTERS_MAX {
        return Ok(());
    }
    reject("bad-members", format!("{voters} voters were asked for: a community has {VOTERS_MAX} at most"))
}

fn check_name(name: &str) -> Result<(), Stop> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_good = name.len() <= limits::COMMUNITY_NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_plain);
    if is_good {
        return Ok(());
    }
    reject(
        "bad-request",
        format!(
            "{name:?} is no name for a community: 1 to {} of a-z, 0-9 and -, beginning with a letter",
            limits::COMMUNITY_NAME_BYTES_MAX
        ),
    )
}

fn delete_community(records: &mut Records<'_>, community: CommunityId) -> Result<DirectoryResult, Stop> {
    if community == CommunityId::SYSTEM {
        return reject("bad-request", "the system community cannot be deleted");
    }
    let record = records.community(community)?;
    records.delete(&key::name(&record.name))?;
    records.delete(&key::origin(community))?;
    records.delete(&key::community(community))?;
    records.set_vacant(community, 0)?;
    Ok(DirectoryResult::Done)
}

fn add_replica(
    records: &mut Records<'_>,
    community: CommunityId,
    node: NodeId,
) -> Result<DirectoryResult, Stop> {
    let mut record = places::any_but_system(records, community)?;
    if let Some(replica) = record.replica_on(node) {
        return Ok(DirectoryResult::Replica(replica));
    }
    records.must_take_replicas(node)?;
    let replica = begin_life(&mut record, ReplicaRecord { node, voter: false });
    records.put_community(&record)?;
    Ok(DirectoryResult::Replica(replica))
}

/// A replica gets an id that was never used.
fn begin_life(record: &mut CommunityRecord, replica: ReplicaRecord) -> ReplicaId {
    let fresh = record.next_replica;
    record.next_replica = fresh.next();
    record.replicas.insert(fresh, replica);
    fresh
}

/// One that is promoted takes a vacant place, if there is one.
fn promote(records: &mut Records<'_>, community: CommunityId, node: NodeId) -> Result<DirectoryResult, Stop> {
    let mut record = places::any_but_system(records, community)?;
    let replica = replica_on(&record, node)?;
    let voted = record.replicas.insert(replica, ReplicaRecord { node, voter: true });
    may_vote(record.voters())?;
    if voted.is_some_and(|replica| !replica.voter) {
        let vacant = records.vacant(community)?;
        records.set_vacant(community, vacant.saturating_sub(1))?;
    }
    records.put_community(&record)?;
    Ok(DirectoryResult::Replica(replica))
}

fn remove_replica(
    records: &mut Records<'_>,
    community: CommunityId,
    node: NodeId,
) -> Result<DirectoryResult, Stop> {
    let mut record = places::any_but_system(records, community)?;
    let replica = replica_on(&record, node)?;
    record.replicas.remove(&replica);
    if !record.replicas.values().any(|replica| replica.voter) {
        return reject(
            "bad-members",
            format!("node {node} has the last vote of the community: add and promote another replica first"),
        );
    }
    records.put_community(&record)?;
    Ok(DirectoryResult::Replica(replica))
}

/// The fresh one votes if the old one did; in the system community, if it is among those who do. Asked
/// again, it answers who has the place now.
fn rebuild_replica(
    records: &mut Records<'_>,
    community: CommunityId,
    node: NodeId,
    replica: ReplicaId,
) -> Result<DirectoryResult, Stop> {
    let mut record = records.community(community)?;
    let here = replica_on(&record, node)?;
    if here > replica {
        return Ok(DirectoryResult::Replica(here));
    }
    if here < replica {
        return reject(
            "no-replica",
            format!("the replica of {} on node {node} is {here}, not {replica}", record.name),
        );
    }
    let old = record.replicas.remove(&here).expect("it was just found there");
    if !record.replicas.values().any(|replica| replica.voter) {
        return reject(
            "bad-members",
            format!("nobody else votes in {}: add and promote another replica first", record.name),
        );
    }
    let fresh = begin_life(&mut record, old);
    if community == CommunityId::SYSTEM {
        give_votes(&mut record);
    }
    records.put_community(&record)?;
    Ok(DirectoryResult::Replica(fresh))
}

fn replica_on(record: &CommunityRecord, node: NodeId) -> Result<ReplicaId, Stop> {
    match record.replica_on(node) {
        Some(replica) => Ok(replica),
        None => reject("no-replica", format!("community {} has no replica on node {node}", record.name)),
    }
}

fn record_component(records: &mut Records<'_>, entry: ComponentEntry) -> Result<DirectoryResult, Stop> {
    records.put(&key::component(entry.hash), &entry)?;
    Ok(DirectoryResult::Done)
}

/// Typed access to the records through the overlay.
struct Records<'a>(&'a mut Overlay);

impl Records<'_> {
    fn get<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>, Refused> {
        let bytes = self.0.get(key)?;
        Ok(bytes.map(|bytes| codec::decode(&bytes).expect("only this program writes these records")))
    }

    fn put<T: Serialize>(&mut self, key: &[u8], value: &T) -> Result<(), Refused> {
        self.0.set(key, &codec::encode(value))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Refused> {
        self.0.delete(key)
    }

    fn put_community(&mut self, record: &CommunityRecord) -> Result<(), Refused> {
        self.put(&key::community(record.id), record)
    }

    fn community(&mut self, community: CommunityId) -> Result<CommunityRecord, Stop> {
        match self.get(&key::community(community))? {
            Some(record) => Ok(record),
            None => reject("no-community", format!("there is no community {community}")),
        }
    }

    fn must_have_node(&mut self, node: NodeId) -> Result<(), Stop> {
        if self.0.get(&key::node(node))?.is_some() {
            return Ok(());
        }
        reject("no-node", format!("there is no node {node}: see `althing status`"))
    }

    /// Whether a node may be given replicas.
    fn must_take_replicas(&mut self, node: NodeId) -> Result<(), Stop> {
        self.must_have_node(node)?;
        if self.0.get(&key::leaving(node))?.is_none() {
            return Ok(());
        }
        reject(
            "bad-members",
            format!(
                "node {node} is to leave: choose another, or let it stay with `althing node keep {node}`"
            ),
        )
    }

    fn vacant(&mut self, community: CommunityId) -> Result<u32, Refused> {
        Ok(self.get(&key::vacant(community))?.unwrap_or(0))
    }

    fn set_vacant(&mut self, community: CommunityId, vacant: u32) -> Result<(), Refused> {
        match vacant {
            0 => self.delete(&key::vacant(community)),
            vacant => self.put(&key::vacant(community), &vacant),
        }
    }

    /// The communities with a replica on a node, the system community first.
    fn communities_on(&mut self, node: NodeId) -> Result<Vec<CommunityRecord>, Refused> {
        let mut all: Vec<CommunityRecord> = self.all(key::COMMUNITIES, key::COMMUNITIES_END)?;
        all.retain(|record| record.replica_on(node).is_some());
        Ok(all)
    }

    /// The records of a range of keys, in their order.
    fn all<T: DeserializeOwned>(&mut self, start: &'static [u8], end: &[u8]) -> Result<Vec<T>, Refused> {
        let mut found = Vec::new();
        let mut next = Some(Bytes::from_static(start));
        while let Some(start) = next {
            let page = self.0.scan(&start, Some(end), PAGE)?;
            let decoded = page.pairs.iter().map(|(_, bytes)| codec::decode(bytes));
            found.extend(decoded.map(|record| record.expect("only this program writes these records")));
            next = page.next;
        }
        Ok(found)
    }
}
