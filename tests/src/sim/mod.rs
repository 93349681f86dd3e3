//! The simulator: whole clusters in virtual time, shaken by everything that can go wrong, each run decided by
//! one number.
//!
//! A run has two phases. In the unsafe one clients work while the [`nemesis`] breaks, changes and mends
//! things; nothing need succeed, but nothing may be wrong. In the healing one all is mended, and the
//! cluster must make progress. What was seen is judged by the [`invariants`]. The same seed takes the
//! same course, byte for byte.

pub mod clients;
pub mod invariants;
pub mod liveness;
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
use clients::Desk;
use invariants::Checked;
use liveness::Staff;
use nemesis::Nemesis;
use plan::{Fault, Plan};
use record::Record;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use world::{World, community};

/// How long a run may take beside its unsafe phase, in virtual time: what never ends is a violation.
const COURSE_PATIENCE: Duration = Duration::from_secs(15 * 60);
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
    /// From when all was mended until every client had answers again, in virtual time.
    pub healed: Duration,
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
    let bound = plan.unsafe_phase + COURSE_PATIENCE;
    let lived = runtime.timeout(bound, live(&plan, &record, runtime.clone(), programs)).await;
    let (ends, healed) = lived.unwrap_or_else(|| {
        record.violated(format!("the run has not ended after {} s", bound.as_secs()));
        Default::default()
    });
    Run { healed, lasted: runtime.monotonic(), ..judge(seed, &record, ends) }
}

/// The two phases; where the communities ended, and how long it took until every client had answers again.
async fn live(
    plan: &Arc<Plan>,
    record: &Record,
    runtime: Runtime,
    programs: &Programs,
) -> (Vec<(Sequence, Hash)>, Duration) {
    let mut world = World::start(plan, runtime.clone(), engine(), &programs.counter).await;
    let mut staffs: Vec<Staff> =
        (0..plan.communities).map(|number| Staff::hire(desk(&world, record, plan, number))).collect();
    let watching = Arc::new(AtomicBool::new(true));
    let watch = watch(&world, record, plan, &watching);
    let mut nemesis = Nemesis::new(&world, record.clone(), programs.recount.clone());
    nemesis.shake(&mut world, plan.unsafe_phase).await;

    let mended = runtime.monotonic();
    world.heal().await;
    for staff in &staffs {
        staff.is_answered().await;
    }
    let healed = runtime.monotonic() - mended;
    nemesis.rest().await;
    for staff in &mut staffs {
        staff.dismiss_clients().await;
    }
    let mut ends = Vec::new();
    for (number, staff) in staffs.iter_mut().enumerate() {
        let end = liveness::agree(&world, record, number).await;
        if let Some((sequence, _)) = end {
            staff.is_told(sequence).await;
        }
        staff.dismiss_subscribers().await;
        ends.extend(end);
        complete(&world, record, number).await;
    }
    watching.store(false, Ordering::Relaxed);
    liveness::ends(&runtime, record, "who watches", watch).await;
    world.stop(record).await;
    (ends, healed)
}

fn desk(world: &World, record: &Record, plan: &Arc<Plan>, number: usize) -> Desk {
    Desk {
        runtime: world.runtime.clone(),
        doors: world.doors.clone(),
        record: record.clone(),
        number,
        plan: plan.clone(),
        closing: Arc::default(),
        leaving: Arc::default(),
    }
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

fn judge(seed: u64, record: &Record, ends: Vec<(Sequence, Hash)>) -> Run {
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
    Run { seed, violations, fired, checked, transitions, ends, ..Run::default() }
}
