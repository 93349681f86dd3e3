//! A subscriber: `althing watch` as a process, and what it has printed so far.
//!
//! It sees every sequence once, in order, whatever happens to the node that it listens to. That is
//! checked at each line; the first violation is kept and told.

use super::process::Process;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The subscriber.
pub(crate) struct Follower {
    seen: Arc<Shared>,
    process: Option<Process>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// What it has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// The last sequence.
    pub(crate) sequence: u64,
    /// How many transitions of clients' operations.
    pub(crate) operations: u64,
    /// The digest at each sequence.
    pub(crate) digests: BTreeMap<u64, String>,
    violation: Option<String>,
    has_ended: bool,
}

impl Follower {
    /// Reads what `process` prints: a JSON object a line, a transition each.
    pub(crate) fn follow(mut process: Process) -> Result<Self> {
        let output = process.take_stdout().context("the subscriber's output is no pipe")?;
        let seen = Arc::new(Shared::default());
        let shared = Arc::clone(&seen);
        let reader = std::thread::spawn(move || read(output, &shared));
        Ok(Self { seen, process: Some(process), reader: Some(reader) })
    }

    /// Waits until so many operations have been seen.
    pub(crate) fn wait_for_operations(&mut self, operations: u64, patience: Duration) -> Result<()> {
        self.wait(patience, &format!("{operations} operations"), |seen| seen.operations >= operations)
    }

    /// Waits until a sequence has been seen.
    pub(crate) fn wait_for_sequence(&mut self, sequence: u64, patience: Duration) -> Result<()> {
        self.wait(patience, &format!("sequence {sequence}"), |seen| seen.sequence >= sequence)
    }

    /// What it has seen.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    fn wait(&mut self, patience: Duration, what: &str, is_reached: impl Fn(&Seen) -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut seen = lock(&self.seen);
        loop {
            if let Some(violation) = &seen.violation {
                bail!("the subscriber {violation}");
            }
            if is_reached(&seen) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if seen.has_ended {
                drop(seen);
                return self
                    .process
                    .take()
                    .map_or(Ok(()), Process::finish)
                    .and(Err(anyhow::anyhow!("the subscriber ended before it saw {what}")));
            }
            ensure!(
                !left.is_zero(),
                "the subscriber saw {} and not {what} within {patience:?}",
                seen.sequence
            );
            seen = self
                .seen
                .changed
                .wait_timeout(seen, left)
                .map_err(|_| anyhow::anyhow!("the reader panicked"))?
                .0;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // The process first: its end is what the reader waits for.
        self.process = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Seen> {
    shared.seen.lock().expect("no one panics with the lock held")
}

fn read(output: impl Read, shared: &Shared) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        let mut seen = lock(shared);
        if let Err(violation) = seen.take(&line) {
            seen.violation.get_or_insert(format!("{violation:#}"));
        }
        drop(seen);
        shared.changed.notify_all();
    }
    lock(shared).has_ended = true;
    shared.changed.notify_all();
}

impl Seen {
    fn take(&mut self, line: &str) -> Result<()> {
        let transition: Value = serde_json::from_str(line).context("printed no JSON")?;
        let sequence = transition["sequence"].as_u64().context("printed a transition without sequence")?;
        ensure!(sequence == self.sequence + 1, "saw sequence {sequence} after {}", self.sequence);
        let digest = transition["digest"].as_str().context("printed a transition without digest")?;
        self.sequence = sequence;
        self.operations += u64::from(transition["cause"]["kind"] == "operation");
        self.digests.insert(sequence, digest.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sequence: u64) -> String {
        format!(r#"{{"sequence":{sequence},"digest":"d{sequence}","cause":{{"kind":"operation"}}}}"#)
    }

    #[test]
    fn a_gap_and_a_repetition_are_violations() {
        let mut seen = Seen::default();
        seen.take(&line(1)).expect("the first");
        seen.take(&line(2)).expect("the second");
        assert!(seen.take(&line(2)).is_err());
        assert!(seen.take(&line(4)).is_err());
        assert_eq!((seen.sequence, seen.operations), (2, 2));
        seen.take(&line(3)).expect("the third");
    }

    #[test]
    fn what_is_no_transition_is_a_violation() {
        let shared = Shared::default();
        read("hello\n".as_bytes(), &shared);
        let seen = lock(&shared);
        assert!(seen.has_ended && seen.violation.as_deref().is_some_and(|text| text.contains("no JSON")));
    }
}
