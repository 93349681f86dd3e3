//! The simulator: whole clusters in virtual time, shaken by everything that can go wrong, each run decided by
//! one number.
//!
//! A run has two phases. In the unsafe one clients work while the [`nemesis`] breaks, changes and mends
//! things; nothing need succeed, but nothing may be wrong. In the healing one all is mended, and the
//! cluster must make progress. What was seen is judged by the [`invariants`]. The same seed takes the
//! same course, byte for byte.

pub mod clients;
pub mod invariants;
pub mod nemesis;
pub mod plan;
pub mod record;
mod summary;
pub mod world;

pub use summary::Summary;

use crate::{components, process::target};
use althing_consensus::runtime::{Runtime, Task, Trace, simulate, simulate_traced};
use althing_core::ids::{Hash, Sequence};
use althing_engine::{Engine, EngineOptions, thread::on_guest_thread};
use bytes::Bytes;
use clients::{Desk, Writer, follow, read};
use invariants::Checked;
use nemesis::Nemesis;
use plan::{Fault, Plan};
use record::Record;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use world::{World, community};

/// How long a cluster may take, once everything is mended, until its clients have answers again.
const HEAL_PATIENCE: Duration = Duration::from_secs(60);
/// How many answers each client of a community must have had then, on average.
const ANSWERS_AFTER: u64 = 3;
/// How long the replicas may take to stand at the same sequence once nobody asks any more.
const AGREE_PATIENCE: Duration = Duration::from_secs(60);
/// How often replicas are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What may never be, and was. Empty is good.
    pub violations: Vec<String>,
    /// How often what went wrong.
    pub fired: BTreeMap<Fault, u64>,
    /// What was looked for.
    pub checked: Checked,
    /// Transitions of all communities.
    pub transitions: u64,
    /// Where each community ended.
    pub ends: Vec<(Sequence, Hash)>,
    /// Virtual time.
    pub lasted: Duration,
}

/// The components that runs need: what communities begin with, and what they are upgraded to.
#[derive(Clone)]
pub struct Programs {
    counter: Bytes,
    recount: Bytes,
}

impl Programs {
    /// Builds them if need be.
    ///
    /// # Panics
    /// When they cannot be built.
    #[must_use]
    pub fn load() -> Self {
        Self { counter: components::component("counter"), recount: components::component("recount") }
    }

    /// What communities begin with.
    #[must_use]
    pub fn counter(&self) -> Bytes {
        self.counter.clone()
    }
}

/// One engine for all runs, so that a component is compiled once. It shapes no course: what it gives
/// is the same from memory, from the cache and from the compiler.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let cache_dir = Some(target().join("compiled"));
    let made = || Engine::new(EngineOptions { cache_dir, ..EngineOptions::default() });
    ENGINE.get_or_init(|| made().expect("the engine runs on this machine")).clone()
}

/// One run. What panics in it is a violation.
#[must_use]
pub fn run(seed: u64, programs: &Programs) -> Run {
    guarded(seed, || {
        on_guest_thread(|| simulate(seed, async |runtime| course(seed, runtime, programs).await))
    })
}

/// One run, and the trace of everything that happened in it: for comparing.
#[must_use]
pub fn run_traced(seed: u64, programs: &Programs) -> (Run, Option<Trace>) {
    let mut trace = None;
    let run = guarded(seed, || {
        let traced = || simulate_traced(seed, async |runtime| course(seed, runtime, programs).await);
        let (run, course) = on_guest_thread(traced);
        trace = Some(course);
        run
    });
    (run, trace)
}

fn guarded(seed: u64, run: impl FnOnce() -> Run) -> Run {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Run { seed, violations: vec![format!("it panicked: {text}")], ..Run::default() }
    })
}

async fn course(seed: u64, runtime: Runtime, programs: &Programs) -> Run {
    let plan = Arc::new(Plan::of(seed));
    let record = Record::new(plan.communities);
    let mut world = World::start(&plan, runtime, engine(), &programs.counter).await;
    let desks: Vec<Desk> = (0..plan.communities).map(|number| desk(&world, &record, &plan, number)).collect();
    let mut tasks: Vec<Task> = desks.iter().flat_map(staff).collect();
    let watching = Arc::new(AtomicBool::new(true));
    tasks.push(watch(&world, &record, &plan, &watching));

    let mut nemesis = Nemesis::new(&world, record.clone(), programs.recount.clone());
    nemesis.shake(&mut world, plan.unsafe_phase).await;
    world.heal().await;
    progresses(&world, &desks, &record).await;
    nemesis.rest().await;
    desks.iter().for_each(|desk| desk.closing.store(true, Ordering::Relaxed));
    let ends = agree(&world, &record, &plan).await;
    watching.store(false, Ordering::Relaxed);
    for task in tasks {
        task.ended.await;
    }
    for number in 0..plan.communities {
        complete(&world, &record, number).await;
    }
    let lasted = world.runtime.monotonic();
    world.stop().await;
    judge(seed, &record, ends, lasted)
}

fn desk(world: &World, record: &Record, plan: &Arc<Plan>, number: usize) -> Desk {
    Desk {
        runtime: world.runtime.clone(),
        doors: world.doors.clone(),
        record: record.clone(),
        number,
        plan: plan.clone(),
        closing: Arc::default(),
        answers: Arc::default(),
    }
}

/// Everybody who works with one community.
fn staff(desk: &Desk) -> Vec<Task> {
    let plan = &desk.plan;
    let writers =
        (0..plan.writers).map(|index| desk.runtime.spawn("writer", Writer::new(desk.clone(), index).work()));
    let readers = (0..plan.readers).map(|index| desk.runtime.spawn("reader", read(desk.clone(), index)));
    let subscribers =
        (0..plan.subscribers).map(|index| desk.runtime.spawn("subscriber", follow(desk.clone(), index)));
    writers.chain(readers).chain(subscribers).collect()
}

/// Looks at every replica, again and again.
fn watch(world: &World, record: &Record, plan: &Arc<Plan>, watching: &Arc<AtomicBool>) -> Task {
    let (runtime, doors, record) = (world.runtime.clone(), world.doors.clone(), record.clone());
    let (communities, watching) = (plan.communities, watching.clone());
    let look = async move {
        while watching.load(Ordering::Relaxed) {
            runtime.sleep(LOOK_EVERY).await;
            for (life, node) in doors.lives() {
                for number in 0..communities {
                    let Ok(status) = node.local_replica(&community(number)).await else { continue };
                    if let Some(fault) = &status.fault {
                        record.violated(format!("the replica of {number} on {} stopped: {fault}", node.id()));
                    }
                    let at = u64::try_from(runtime.monotonic().as_micros()).unwrap_or(u64::MAX);
                    record.looked(number, at, (node.id().0, life), &status);
                }
            }
        }
    };
    world.runtime.spawn("watch", look)
}

/// Once all is mended, every community answers its clients again.
async fn progresses(world: &World, desks: &[Desk], record: &Record) {
    let began = world.runtime.monotonic();
    let wanted = ANSWERS_AFTER * (world.plan().writers + world.plan().readers) as u64;
    let goals: Vec<(&AtomicU64, u64)> =
        desks.iter().map(|desk| (&*desk.answers, desk.answers.load(Ordering::Relaxed) + wanted)).collect();
    while goals.iter().any(|(answers, goal)| answers.load(Ordering::Relaxed) < *goal) {
        if record.is_violated() {
            return;
        }
        if world.runtime.monotonic() - began > HEAL_PATIENCE {
            let missing: Vec<u64> = goals
                .iter()
                .map(|(answers, goal)| goal.saturating_sub(answers.load(Ordering::Relaxed)))
                .collect();
            let what = format!("all is mended, and answers are still missing: {missing:?} by community");
            return record.violated(what);
        }
        world.runtime.sleep(Duration::from_millis(20)).await;
    }
}

/// Once nobody asks any more, all replicas come to the same end.
async fn agree(world: &World, record: &Record, plan: &Plan) -> Vec<(Sequence, Hash)> {
    let began = world.runtime.monotonic();
    let mut ends = Vec::new();
    for number in 0..plan.communities {
        loop {
            let reached = reached(world, number).await;
            if let Ok([first, others @ ..]) = reached.as_deref()
                && others.iter().all(|other| other == first)
            {
                ends.push(*first);
                break;
            }
            if record.is_violated() {
                break;
            }
            if world.runtime.monotonic() - began > AGREE_PATIENCE {
                record.violated(format!("the replicas of community {number} do not agree: {reached:?}"));
                break;
            }
            world.runtime.sleep(Duration::from_millis(50)).await;
        }
    }
    ends
}

/// Where every replica that should be there stands; or why that is not known.
async fn reached(world: &World, number: usize) -> Result<Vec<(Sequence, Hash)>, String> {
    let Some(door) = world.doors.all().into_iter().next() else { return Err("no node is up".to_owned()) };
    let name = community(number);
    let record = door.community(&name).map_err(|refusal| refusal.to_string())?;
    let mut ends = Vec::new();
    for (&replica, wanted) in &record.replicas {
        let node = world.node(wanted.node.0).ok_or_else(|| format!("node {} is down", wanted.node))?;
        let status = node.local_replica(&name).await.map_err(|refusal| refusal.to_string())?;
        if status.replica != replica {
            return Err(format!("node {} has replica {} and not {replica}", wanted.node, status.replica));
        }
        ends.push((status.sequence, status.digest));
    }
    Ok(ends)
}

/// Reads what every node holds of a community's history, so that all of it is judged.
async fn complete(world: &World, record: &Record, number: usize) {
    for node in world.doors.all() {
        let mut from = Sequence(0);
        while let Ok(page) = node.history(&community(number), from, 1024).await {
            let Some(last) = page.transitions.last() else { break };
            from = last.sequence.next();
            let who = format!("the history on node {}", node.id());
            page.transitions.iter().for_each(|transition| record.told(number, transition, &who));
        }
    }
}

fn judge(seed: u64, record: &Record, ends: Vec<(Sequence, Hash)>, lasted: Duration) -> Run {
    let (communities, fired, mut violations) = record.close();
    let mut checked = Checked::default();
    let mut transitions = 0;
    for seen in &communities {
        transitions += seen.history.len() as u64;
        let (contradictions, looked_for) = invariants::check(seen);
        violations.extend(contradictions);
        checked.answers += looked_for.answers;
        checked.searched += looked_for.searched;
        checked.given_up += looked_for.given_up;
    }
    Run { seed, violations, fired, checked, transitions, ends, lasted }
}
