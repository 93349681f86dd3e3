//! One client of a bench: what it submits, what it counts.

use althing_client::{Answered, Session, SubmitError, Submitted};
use althing_core::{refusal::Refusal, transition::Outcome};
use bytes::Bytes;
use futures::stream;
use hdrhistogram::Histogram;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Longest latency told apart: ten minutes.
const LATENCY_MICROS_MAX: u64 = 600_000_000;

/// What all clients share while they run.
#[derive(Debug)]
pub(super) struct Live {
    /// Operations that end before are not counted.
    begin: Instant,
    /// Operations that begin after are not submitted.
    end: Instant,
    stopped: AtomicBool,
    answered: AtomicU64,
}

impl Live {
    pub(super) fn new(begin: Instant, end: Instant) -> Self {
        Self { begin, end, stopped: AtomicBool::new(false), answered: AtomicU64::new(0) }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.is_stopped() || Instant::now() >= self.end
    }

    /// How it goes, in one line.
    pub(super) fn line(&self) -> String {
        let now = Instant::now();
        if now < self.begin {
            return "warming up".to_owned();
        }
        let answered = self.answered.load(Ordering::Relaxed);
        let seconds = (now - self.begin).as_secs_f64();
        let left = self.end.saturating_duration_since(now).as_secs();
        format!("{answered} operations, {:.0} per second, {left} s left", answered as f64 / seconds)
    }
}

/// What was counted.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) trapped: u64,
    /// Given up after all attempts.
    pub(super) failed: u64,
    /// Executed at an earlier attempt than the one that was answered.
    pub(super) repeated: u64,
    /// Microseconds.
    pub(super) latencies: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("the bounds are sound");
        Self { accepted: 0, rejected: 0, trapped: 0, failed: 0, repeated: 0, latencies }
    }
}

impl Tally {
    /// With what another counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.trapped += other.trapped;
        self.failed += other.failed;
        self.repeated += other.repeated;
        self.latencies.add(&other.latencies).expect("all have the same bounds");
    }

    fn count(&mut self, submitted: &Submitted, latency: Duration) {
        match submitted.receipt.outcome {
            Outcome::Accepted { .. } => self.accepted += 1,
            Outcome::Rejected(_) => self.rejected += 1,
            Outcome::Trapped(_) => self.trapped += 1,
        }
        self.repeated += u64::from(submitted.repeated);
        self.latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Load {
    session: Session,
    live: Arc<Live>,
    payloads: Payloads,
    tally: Tally,
}

impl Load {
    pub(super) fn new(session: Session, client: usize, template: String, live: Arc<Live>) -> Self {
        let payloads = Payloads { template, client, given: 0, random: SmallRng::from_os_rng() };
        Self { session, live, payloads, tally: Tally::default() }
    }

    /// Submits an operation when the one before is answered.
    pub(super) async fn one_by_one(mut self) -> anyhow::Result<Tally> {
        while !self.live.is_over() {
            let payload = self.payloads.next();
            let began = Instant::now();
            match self.session.submit(payload).await {
                Ok(submitted) => self.count(&submitted, began),
                // It would be refused again and again.
                Err(refused @ SubmitError::Refused(_)) => return Err(refused.into()),
                Err(_) => self.tally.failed += 1,
            }
        }
        Ok(self.tally)
    }

    /// Submits operations without waiting in between.
    pub(super) async fn pipelined(mut self, in_flight: usize) -> anyhow::Result<Tally> {
        let began = Arc::new(Mutex::new(VecDeque::new()));
        let source = (self.payloads.clone(), Arc::clone(&began), Arc::clone(&self.live));
        let payloads = stream::unfold(source, |(mut payloads, began, live)| async move {
            if live.is_over() {
                return None;
            }
            let payload = payloads.next();
            began.lock().unwrap_or_else(PoisonError::into_inner).push_back(Instant::now());
            Some((payload, (payloads, began, live)))
        });
        let mut pipeline = self.session.pipeline(Box::pin(payloads), in_flight);
        while let Some(answered) = pipeline.next().await {
            let Answered { answer, .. } = answered?;
            let submitted =
                answer.map_err(|refusal: Refusal| anyhow::anyhow!("{}: {refusal}", refusal.code))?;
            let began = began.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            self.count(&submitted, began.expect("answers come in the order of operations"));
        }
        Ok(self.tally)
    }

    fn count(&mut self, submitted: &Submitted, began: Instant) {
        let now = Instant::now();
        if now >= self.live.begin && now <= self.live.end {
            self.tally.count(submitted, now - began);
            self.live.answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The operations of one client.
#[derive(Clone, Debug)]
struct Payloads {
    template: String,
    client: usize,
    given: u64,
    random: SmallRng,
}

impl Payloads {
    fn next(&mut self) -> Bytes {
        self.given += 1;
        let mut payload = self.template.clone();
        if payload.contains("{random}") {
            payload = payload.replace("{random}", &self.random.random_range(0..1_000_000_u32).to_string());
        }
        payload = payload.replace("{n}", &self.given.to_string());
        payload.replace("{client}", &self.client.to_string()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::{Payloads, SmallRng};
    use rand::SeedableRng as _;

    #[test]
    fn a_template_is_filled_in() {
        let template = r#"{"add":{n},"to":"c{client}"}"#.to_owned();
        let mut payloads = Payloads { template, client: 3, given: 0, random: SmallRng::seed_from_u64(1) };
        assert_eq!(payloads.next(), r#"{"add":1,"to":"c3"}"#);
        assert_eq!(payloads.next(), r#"{"add":2,"to":"c3"}"#);
        payloads.template = "{random}".to_owned();
        let random: u32 = String::from_utf8_lossy(&payloads.next()).parse().unwrap();
        assert!(random < 1_000_000);
    }
}
