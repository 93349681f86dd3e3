//! What shakes the cluster: one thing after the other goes wrong, is changed, or is mended, as its seed says.

use super::{
    plan::{Fault, pick},
    record::Record,
    world::{World, community, install},
};
use althing_consensus::{memory::Link, runtime::Task};
use althing_core::ids::{NodeId, Sequence};
use althing_node::{Node, Role};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// How long a change of members may take before whoever asked for it gives up.
const CHANGE_PATIENCE: Duration = Duration::from_secs(20);

/// Shakes one cluster.
pub struct Nemesis {
    rng: SmallRng,
    record: Record,
    faults: Vec<Fault>,
    /// What the communities are upgraded to.
    upgrade: Bytes,
    upgraded: BTreeSet<usize>,
    /// Changes that take their time.
    under_way: Vec<Task>,
    /// Held while a replica is replaced: one at a time.
    replacing: Arc<Mutex<()>>,
}

impl Nemesis {
    /// One for a world.
    #[must_use]
    pub fn new(world: &World, record: Record, upgrade: Bytes) -> Self {
        let plan = world.plan();
        let faults = plan.faults.iter().copied().filter(|fault| !fault.is_of_clients()).collect();
        let rng = SmallRng::seed_from_u64(plan.seed ^ 0x6e65_6d65);
        let (upgraded, under_way, replacing) = (BTreeSet::new(), Vec::new(), Arc::default());
        Self { rng, record, faults, upgrade, upgraded, under_way, replacing }
    }

    /// Shakes for so long.
    pub async fn shake(&mut self, world: &mut World, phase: Duration) {
        let began = world.runtime.monotonic();
        while world.runtime.monotonic() - began < phase && !self.record.is_violated() {
            let pause = Duration::from_millis(self.rng.random_range(world.plan().pause.clone()));
            world.runtime.sleep(pause).await;
            if self.faults.is_empty() || self.rng.random_bool(0.3) {
                self.relieve(world).await;
                continue;
            }
            let fault = *pick(&mut self.rng, &self.faults);
            let number = self.rng.random_range(0..world.plan().communities);
            if fault.is_asked_for() {
                self.ask_for(world, fault, number);
            } else if self.happens(world, fault, number).await {
                self.record.fired(fault);
            }
        }
    }

    /// Waits for the changes that are under way.
    pub async fn rest(&mut self) {
        for task in self.under_way.drain(..) {
            task.ended.await;
        }
    }

    /// Something gets better, not always all of it.
    async fn relieve(&mut self, world: &mut World) {
        let down = world.down_nodes();
        match self.rng.random_range(0..4) {
            0 => world.heal().await,
            1 => world.network.heal(),
            _ if !down.is_empty() => {
                let id = *pick(&mut self.rng, &down);
                world.restart(id).await;
            }
            _ => world.network.set_every_link(world.plan().link),
        }
    }

    async fn happens(&mut self, world: &mut World, fault: Fault, number: usize) -> bool {
        match fault {
            Fault::Isolate | Fault::IsolateLeader | Fault::OneWay | Fault::Partition => {
                self.cut(world, fault, number).await
            }
            Fault::Crash | Fault::CrashLeader | Fault::CrashAll => self.crash(world, fault, number).await,
            Fault::Loss | Fault::Delay | Fault::Twice => self.worsen(world, fault),
            Fault::ClockJump => {
                let millis = *pick(&mut self.rng, &[-60_000, -1000, -50, 50, 1000, 60_000]);
                world.jump(self.any_node(world), millis);
                true
            }
            Fault::SlowDisk => {
                let millis = *pick(&mut self.rng, &[20, 200, 1500]);
                world.stall(self.any_node(world), millis);
                true
            }
            _ => false,
        }
    }

    fn any_node(&mut self, world: &World) -> u64 {
        self.rng.random_range(1..=world.plan().nodes)
    }

    async fn cut(&mut self, world: &World, fault: Fault, number: usize) -> bool {
        let (one, other) = (self.any_node(world), self.any_node(world));
        match fault {
            Fault::Isolate => world.network.isolate(NodeId(one)),
            Fault::IsolateLeader => {
                let Some(leader) = world.leader(number).await else { return false };
                world.network.isolate(NodeId(leader));
            }
            Fault::OneWay if one != other => world.network.cut(NodeId(one), NodeId(other)),
            Fault::Partition => {
                let mut sides: [Vec<NodeId>; 2] = Default::default();
                (1..=world.plan().nodes).for_each(|id| {
                    sides[usize::from(self.rng.random_bool(0.5))].push(NodeId(id));
                });
                world.network.partition(&[&sides[0], &sides[1]]);
            }
            _ => return false,
        }
        true
    }

    async fn crash(&mut self, world: &mut World, fault: Fault, number: usize) -> bool {
        match fault {
            Fault::CrashLeader => match world.leader(number).await {
                Some(leader) => world.crash(leader, &mut self.rng),
                None => false,
            },
            Fault::CrashAll => {
                let up = world.up_nodes();
                up.iter().for_each(|&id| {
                    world.crash(id, &mut self.rng);
                });
                !up.is_empty()
            }
            _ => {
                let victim = self.any_node(world);
                world.crash(victim, &mut self.rng)
            }
        }
    }

    fn worsen(&mut self, world: &World, fault: Fault) -> bool {
        let healthy = world.plan().link;
        let link = match fault {
            Fault::Loss => Link { loss_permille: *pick(&mut self.rng, &[5, 50, 300]), ..healthy },
            Fault::Delay => {
                let millis = *pick(&mut self.rng, &[20, 200, 900]);
                Link { latency_max: healthy.latency_max + Duration::from_millis(millis), ..healthy }
            }
            _ => Link { twice_permille: *pick(&mut self.rng, &[20, 300]), ..healthy },
        };
        let (one, other) = (self.any_node(world), self.any_node(world));
        if one == other {
            world.network.set_default_link(link);
        } else {
            world.network.set_link(NodeId(one), NodeId(other), link);
        }
        true
    }

    /// A change that the cluster itself is asked for, through any node. It takes its time, which is not
    /// waited for here; it has happened when the cluster says so.
    fn ask_for(&mut self, world: &World, fault: Fault, number: usize) {
        let Some(door) = world.doors.any(&mut self.rng) else { return };
        if fault == Fault::Upgrade && !self.upgraded.insert(number) {
            return;
        }
        let (community, on) = (community(number), NodeId(self.any_node(world)));
        let (upgrade, target) = (self.upgrade.clone(), world.node(on.0));
        let (replacing, nodes) = (Arc::clone(&self.replacing), world.doors.all());
        let change = async move {
            let _replacing = match fault {
                Fault::Rebuild | Fault::Members => match replacing.try_lock_owned() {
                    Ok(held) if is_held_elsewhere(&nodes, &door, &community, on).await => Some(held),
                    _ => return false,
                },
                _ => None,
            };
            match fault {
                Fault::Snapshot => door.create_snapshot(&community).await.is_ok(),
                Fault::Transfer => {
                    let leads = leads(target.as_ref(), &community).await;
                    !leads && door.transfer_leadership(&community, Some(on)).await.is_ok()
                }
                Fault::Rebuild => door.rebuild_replica(&community, on, None).await.is_ok(),
                Fault::Upgrade => install(&door, &community, upgrade).await.is_ok(),
                _ => members(&door, &community, on).await,
            }
        };
        let (runtime, record) = (world.runtime.clone(), self.record.clone());
        let bounded = async move {
            if runtime.timeout(CHANGE_PATIENCE, change).await == Some(true) {
                record.fired(fault);
            }
        };
        self.under_way.push(world.runtime.spawn("change", bounded));
    }
}

/// Whether a node leads a community in its own eyes.
async fn leads(node: Option<&Node>, community: &str) -> bool {
    let Some(node) = node else { return false };
    node.local_replica(community).await.is_ok_and(|replica| replica.role == Role::Leader)
}

/// Whether a replica that stays holds the whole history: whoever takes away the only one that does loses it, so an
/// operator looks first.
async fn is_held_elsewhere(nodes: &[Node], door: &Node, community: &str, on: NodeId) -> bool {
    let Ok(record) = door.community(community) else { return false };
    for node in nodes.iter().filter(|node| node.id() != on) {
        let replica = node.local_replica(community).await;
        let is_whole = replica.is_ok_and(|replica| {
            let stays = record.replicas.contains_key(&replica.replica) && replica.fault.is_none();
            stays && replica.oldest_sequence == Sequence(1)
        });
        if is_whole {
            return true;
        }
    }
    false
}

/// Takes the replica of a node away, or gives the node one, and a vote. Whether anything changed.
async fn members(door: &Node, community: &str, on: NodeId) -> bool {
    let Ok(record) = door.community(community) else { return false };
    match record.replica_on(on).and_then(|replica| record.replicas.get(&replica)) {
        Some(_) if record.replicas.len() > 2 => door.remove_replica(community, on).await.is_ok(),
        Some(replica) => !replica.voter && door.promote_replica(community, on).await.is_ok(),
        None => {
            door.add_replica(community, on).await.is_ok() && door.promote_replica(community, on).await.is_ok()
        }
    }
}
