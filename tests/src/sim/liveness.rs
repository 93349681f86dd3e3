//! What must come once everything is mended: an answer for every client, the end of the history for every
//! subscriber, one end for all replicas, and an end for everybody who was told to end. What does not come in
//! time is a violation, so that no run goes on for ever.

use super::{
    clients::{Desk, Seat, Writer, follow, read},
    record::Record,
    world::{Doors, World, community},
};
use althing_consensus::runtime::{Runtime, Task};
use althing_core::ids::{Hash, Sequence};
use std::{
    fmt::Write as _,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// How long a cluster may take, once everything is mended, for each of these things.
pub const HEAL_PATIENCE: Duration = Duration::from_secs(60);
/// How many answers every client must have had then.
const ANSWERS_AFTER: u64 = 3;
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Somebody who works with a community, seen from outside.
struct Worker {
    who: String,
    seat: Arc<Seat>,
    task: Task,
}

/// Everybody who works with one community.
pub struct Staff {
    desk: Desk,
    clients: Vec<Worker>,
    subscribers: Vec<Worker>,
}

impl Staff {
    /// Sets everybody to work.
    #[must_use]
    pub fn hire(desk: Desk) -> Self {
        let plan = desk.plan.clone();
        let writers = (0..plan.writers).map(|index| {
            let begin = |seat| desk.runtime.spawn("writer", Writer::new(desk.clone(), index, seat).work());
            worker(&desk, format!("writer-{index}"), begin)
        });
        let readers = (0..plan.readers).map(|index| {
            let begin = |seat| desk.runtime.spawn("reader", read(desk.clone(), index, seat));
            worker(&desk, format!("reader-{index}"), begin)
        });
        let subscribers = (0..plan.subscribers).map(|index| {
            let begin = |seat| desk.runtime.spawn("subscriber", follow(desk.clone(), index, seat));
            worker(&desk, format!("subscriber-{index}"), begin)
        });
        let (clients, subscribers) = (writers.chain(readers).collect(), subscribers.collect());
        Self { desk, clients, subscribers }
    }

    /// Waits until every client has answers again, whoever else has how many.
    pub async fn is_answered(&self) {
        let goal = |client: &Worker| client.reached() + ANSWERS_AFTER;
        let goals = self.clients.iter().map(goal).collect();
        self.reach(&self.clients, goals, "has no answers, and all is mended").await;
    }

    /// Ends the clients, each after what it is at, and waits for that.
    pub async fn dismiss_clients(&mut self) {
        self.desk.closing.store(true, Ordering::Relaxed);
        see_off(&self.desk.runtime, &self.desk.record, std::mem::take(&mut self.clients)).await;
    }

    /// Waits until every subscriber was told the last transition.
    pub async fn is_told(&self, end: Sequence) {
        let goals = vec![end.next().0; self.subscribers.len()];
        self.reach(&self.subscribers, goals, &format!("was not told the last transition, {end}")).await;
    }

    /// Ends the subscribers, and waits for that.
    pub async fn dismiss_subscribers(&mut self) {
        self.desk.leaving.store(true, Ordering::Relaxed);
        see_off(&self.desk.runtime, &self.desk.record, std::mem::take(&mut self.subscribers)).await;
    }

    /// Waits until each has reached its goal; a violation when that takes too long.
    async fn reach(&self, workers: &[Worker], goals: Vec<u64>, otherwise: &str) {
        let (runtime, record) = (&self.desk.runtime, &self.desk.record);
        let began = runtime.monotonic();
        while !record.is_violated() {
            let late: Vec<&Worker> = workers
                .iter()
                .zip(&goals)
                .filter(|(worker, goal)| worker.reached() < **goal)
                .map(|(worker, _)| worker)
                .collect();
            if late.is_empty() {
                return;
            }
            if runtime.monotonic() - began > HEAL_PATIENCE {
                let who: Vec<String> = late.into_iter().map(Worker::report).collect();
                let replicas = replicas(&self.desk.doors, self.desk.number).await;
                return record.violated(format!("{} {otherwise}: {replicas}", who.join(", ")));
            }
            runtime.sleep(LOOK_EVERY).await;
        }
    }
}

impl Worker {
    fn reached(&self) -> u64 {
        self.seat.reached.load(Ordering::Relaxed)
    }

    /// Who it is, how far it is, and what it was told last.
    fn report(&self) -> String {
        let heard = self.seat.heard.lock().expect("nothing panics while it holds what was heard");
        format!("{}, at {}, last told \"{heard}\"", self.who, self.reached())
    }
}

fn worker(desk: &Desk, name: String, begin: impl FnOnce(Arc<Seat>) -> Task) -> Worker {
    let seat = Arc::<Seat>::default();
    let who = format!("{name} of community {}", desk.number);
    Worker { who, seat: seat.clone(), task: begin(seat) }
}

async fn see_off(runtime: &Runtime, record: &Record, workers: Vec<Worker>) {
    for Worker { who, task, .. } in workers {
        ends(runtime, record, &who, task).await;
    }
}

/// Waits until a task that was told to end does; a violation when that takes too long.
pub async fn ends(runtime: &Runtime, record: &Record, who: &str, task: Task) {
    if runtime.timeout(HEAL_PATIENCE, task.ended).await.is_none() {
        record.violated(format!("{who} was told to end, and does not"));
    }
}

/// Once nobody asks any more, all replicas come to the same end: where it is, if they do.
pub async fn agree(world: &World, record: &Record, number: usize) -> Option<(Sequence, Hash)> {
    let began = world.runtime.monotonic();
    loop {
        let reached = reached(world, number).await;
        if let Ok([first, others @ ..]) = reached.as_deref()
            && others.iter().all(|other| other == first)
        {
            return Some(*first);
        }
        if record.is_violated() {
            return None;
        }
        if world.runtime.monotonic() - began > HEAL_PATIENCE {
            let replicas = replicas(&world.doors, number).await;
            record.violated(format!(
                "the replicas of community {number} do not agree: {reached:?}: {replicas}"
            ));
            return None;
        }
        world.runtime.sleep(LOOK_EVERY).await;
    }
}

/// What every node says of its replica of a community, for whoever looks into a violation.
async fn replicas(doors: &Doors, number: usize) -> String {
    let mut said = String::new();
    for door in doors.all() {
        let status = door.local_replica(&community(number)).await;
        let record = door.community(&community(number)).map(|record| record.replicas);
        let _ = write!(said, "\n    node {}: {status:?}, by its directory {record:?}", door.id());
    }
    said
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

#[cfg(test)]
mod tests;
