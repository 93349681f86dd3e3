//! What a bench found.

use crate::commands::bench::load::Tally;
use serde::Serialize;
use std::{fmt, time::Duration};

/// What a bench found. Only operations answered while it measured count.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    mode: &'static str,
    clients: usize,
    seconds: f64,
    operations: u64,
    per_second: f64,
    accepted: u64,
    rejected: u64,
    trapped: u64,
    failed: u64,
    repeated: u64,
    latency_micros: Latency,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Report {
    pub(super) fn new(mode: &'static str, clients: usize, measured: Duration, tally: &Tally) -> Self {
        let seconds = measured.as_secs_f64();
        let operations = tally.accepted + tally.rejected + tally.trapped;
        let latencies = &tally.latencies;
        Self {
            mode,
            clients,
            seconds,
            operations,
            per_second: operations as f64 / seconds.max(f64::EPSILON),
            accepted: tally.accepted,
            rejected: tally.rejected,
            trapped: tally.trapped,
            failed: tally.failed,
            repeated: tally.repeated,
            latency_micros: Latency {
                mean: latencies.mean() as u64,
                p50: latencies.value_at_quantile(0.5),
                p90: latencies.value_at_quantile(0.9),
                p99: latencies.value_at_quantile(0.99),
                p999: latencies.value_at_quantile(0.999),
                max: latencies.max(),
            },
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, clients, seconds, operations, per_second, .. } = self;
        writeln!(
            f,
            "{mode}, {clients} clients, {seconds:.1} s: {operations} operations, {per_second:.0} per second"
        )?;
        let Self { accepted, rejected, trapped, failed, repeated, .. } = self;
        write!(f, "accepted {accepted}, rejected {rejected}, trapped {trapped}, ")?;
        writeln!(f, "failed {failed}, repeated {repeated}")?;
        let Latency { mean, p50, p90, p99, p999, max } = &self.latency_micros;
        let millis = |micros: &u64| *micros as f64 / 1000.0;
        write!(
            f,
            "latency in ms: mean {:.2}, p50 {:.2}, p90 {:.2}, ",
            millis(mean),
            millis(p50),
            millis(p90)
        )?;
        write!(f, "p99 {:.2}, p99.9 {:.2}, max {:.2}", millis(p99), millis(p999), millis(max))
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Tally};
    use std::time::Duration;

    #[test]
    fn the_report_has_throughput_and_percentiles() {
        let mut tally = Tally { accepted: 99, rejected: 1, ..Tally::default() };
        for micros in 1..=100 {
            tally.latencies.record(micros * 100).unwrap();
        }
        let report = serde_json::to_value(Report::new("unary", 4, Duration::from_secs(2), &tally)).unwrap();
        assert_eq!((&report["operations"], &report["per_second"]), (&100.into(), &50.0.into()));
        let p50 = report["latency_micros"]["p50"].as_u64().unwrap();
        assert!((4_990..=5_010).contains(&p50), "{p50}");
    }
}
