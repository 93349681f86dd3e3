//! Many runs, added up.

use super::{Run, plan::Fault};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// What runs came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many.
    pub runs: u64,
    /// Those in which something was that may never be: seed, what.
    pub violated: Vec<(u64, Vec<String>)>,
    /// How often what went wrong.
    pub fired: BTreeMap<Fault, u64>,
    /// Answers compared with histories.
    pub answers: u64,
    /// Histories whose order was searched for.
    pub searched: u64,
    /// Those whose search was given up.
    pub given_up: u64,
    /// Transitions.
    pub transitions: u64,
    /// The longest from when all was mended until every client had answers again, in virtual time.
    pub healed_max: Duration,
    /// Virtual time.
    pub lasted: Duration,
}

impl Summary {
    /// One more.
    pub fn add(&mut self, run: Run) {
        self.runs += 1;
        if !run.violations.is_empty() {
            self.violated.push((run.seed, run.violations));
        }
        for (fault, count) in run.fired {
            *self.fired.entry(fault).or_default() += count;
        }
        self.answers += run.checked.answers;
        self.searched += run.checked.searched;
        self.given_up += run.checked.given_up;
        self.transitions += run.transitions;
        self.healed_max = self.healed_max.max(run.healed);
        self.lasted += run.lasted;
    }

    /// How many faults of a class happened.
    fn of_class(&self, class: &str) -> u64 {
        self.fired.iter().filter(|(fault, _)| fault.class() == class).map(|(_, count)| count).sum()
    }

    /// Faults that never happened: then nothing is known about them.
    #[must_use]
    pub fn unseen(&self) -> Vec<Fault> {
        Fault::ALL.into_iter().filter(|fault| !self.fired.contains_key(fault)).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, answers, searched, given_up, transitions, .. } = self;
        writeln!(f, "{runs} runs, {:.2} h of virtual time", self.lasted.as_secs_f64() / 3600.0)?;
        writeln!(f, "{transitions} transitions, {answers} calls compared with their history")?;
        writeln!(f, "{searched} histories searched for an order, {given_up} of them given up")?;
        writeln!(f, "{:.1} s at most until every client had answers again", self.healed_max.as_secs_f64())?;
        for fault in Fault::ALL {
            let count = self.fired.get(&fault).copied().unwrap_or(0);
            writeln!(f, "{:>10} {fault:>24} {count:>9}", fault.class())?;
        }
        let classes: BTreeSet<&str> = Fault::ALL.into_iter().map(Fault::class).collect();
        let classes: Vec<String> =
            classes.into_iter().map(|class| format!("{class} {}", self.of_class(class))).collect();
        writeln!(f, "faults by class: {}", classes.join(", "))?;
        for (seed, violations) in &self.violated {
            writeln!(f, "VIOLATED by seed {seed}:")?;
            violations.iter().try_for_each(|what| writeln!(f, "  {what}"))?;
        }
        Ok(())
    }
}
