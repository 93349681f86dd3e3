//! What a process holds, over time, and whether it goes up.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

/// By how much a quantity may go up over the second half, as a part of its mean: what lies between two snapshots, two
/// collections of what nobody names.
const GROWTH_MAX: f64 = 0.10;
/// Quantities so small that a few more or less say nothing.
const SLACK: f64 = 8.0;

/// One look at a process.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Resident memory, in KiB.
    pub resident_kib: f64,
    /// Open files and sockets.
    pub descriptors: f64,
    /// Threads.
    pub threads: f64,
    /// The data directory, in KiB.
    pub data_kib: f64,
}

impl Sample {
    /// Looks at a process and its data directory.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32, data: &Path) -> io::Result<Self> {
        let process = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(process.join("status"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
        };
        Ok(Self {
            resident_kib: number("VmRSS:"),
            descriptors: fs::read_dir(process.join("fd"))?.count() as f64,
            threads: number("Threads:"),
            data_kib: size(data) as f64 / 1024.0,
        })
    }

    fn quantities(self) -> [(&'static str, f64); 4] {
        [
            ("resident KiB", self.resident_kib),
            ("descriptors", self.descriptors),
            ("threads", self.threads),
            ("data KiB", self.data_kib),
        ]
    }
}

/// The bytes of everything below a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(is) if is.is_dir() => size(&entry.path()),
        Ok(is) => is.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// What was measured: of each node, each quantity, at each time, in seconds.
#[derive(Debug, Default)]
pub struct Measures(BTreeMap<(u64, &'static str), Vec<(f64, f64)>>);

/// How a quantity went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// The node.
    pub node: u64,
    /// What.
    pub what: &'static str,
    /// Its mean over the second half.
    pub mean: f64,
    /// The largest it was.
    pub most: f64,
    /// By how much it goes up in an hour, over the second half.
    pub per_hour: f64,
    /// Whether it is flat.
    pub is_flat: bool,
}

impl Measures {
    /// Adds a look.
    pub fn add(&mut self, node: u64, at: Duration, sample: Sample) {
        for (what, value) in sample.quantities() {
            self.0.entry((node, what)).or_default().push((at.as_secs_f64(), value));
        }
    }

    /// How each quantity went.
    #[must_use]
    pub fn courses(&self) -> Vec<Course> {
        self.0.iter().map(|(&(node, what), points)| course(node, what, points)).collect()
    }
}

fn course(node: u64, what: &'static str, points: &[(f64, f64)]) -> Course {
    let half = &points[points.len() / 2..];
    let count = half.len().max(1) as f64;
    let mean = half.iter().map(|point| point.1).sum::<f64>() / count;
    let middle = half.iter().map(|point| point.0).sum::<f64>() / count;
    // Least squares.
    let spread: f64 = half.iter().map(|point| (point.0 - middle).powi(2)).sum();
    let together: f64 = half.iter().map(|point| (point.0 - middle) * (point.1 - mean)).sum();
    let slope = if spread > 0.0 { together / spread } else { 0.0 };
    let span = half.last().map_or(0.0, |last| last.0) - half.first().map_or(0.0, |first| first.0);
    let growth = slope * span;
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let is_flat = growth <= SLACK.max(mean * GROWTH_MAX);
    Course { node, what, mean, most, per_hour: slope * 3600.0, is_flat }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: impl Fn(f64) -> f64) -> Course {
        let points: Vec<_> = (0..100).map(|second| (f64::from(second), value(f64::from(second)))).collect();
        course(1, "bytes", &points)
    }

    #[test]
    fn what_goes_up_is_told_from_what_is_flat_and_what_only_began() {
        assert!(of(|_| 1000.0).is_flat);
        assert!(of(|second| 1000.0 + (second % 7.0) * 50.0).is_flat, "it goes up and down");
        assert!(of(|second| if second < 40.0 { second * 25.0 } else { 1000.0 }).is_flat, "it began");
        let leak = of(|second| 1000.0 + second * 10.0);
        assert!(!leak.is_flat && (leak.per_hour - 36_000.0).abs() < 1.0, "{leak:?}");
        assert!(of(|second| 2000.0 - second * 10.0).is_flat, "it goes down");
        assert!(of(|second| 4.0 + second / 50.0).is_flat, "a thread more says nothing");
    }
}
