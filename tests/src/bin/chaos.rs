//! `cargo xtask chaos`: real processes under load, with everything done to them that happens to real machines.

use althing_tests::{
    chaos::{Means, Round, harm::Harm, plan, round},
    process::binary,
};
use clap::Parser;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Real processes under load, with everything done to them that happens to real machines.
#[derive(Parser)]
#[command(name = "cargo xtask chaos")]
struct Arguments {
    /// For so many minutes; the last round is ended.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The seed of the first round; the others follow.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How often harm is done in a round.
    #[arg(long, default_value_t = 15)]
    harms: usize,
    /// Only this kind of harm, by a part of its name.
    #[arg(long)]
    only: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let means = match Means::find(&binary()) {
        Ok(means) => means,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(why) = &means.disks {
        println!("skipped: power cuts and full disks: {why}");
    }
    if let Err(why) = &means.network {
        println!("skipped: what is done to the wires between nodes: {why}");
    }
    let is_allowed = |harm: &Harm| {
        means.allow(*harm)
            && arguments.only.as_ref().is_none_or(|only| harm.to_string().contains(only.as_str()))
    };
    let allowed: Vec<Harm> = Harm::ALL.into_iter().filter(is_allowed).collect();
    if allowed.is_empty() {
        eprintln!("error: there is no such kind of harm here");
        return ExitCode::FAILURE;
    }
    campaign(&arguments, &means, &allowed)
}

fn campaign(arguments: &Arguments, means: &Means, allowed: &[Harm]) -> ExitCode {
    let began = Instant::now();
    let span = Duration::from_secs(arguments.minutes * 60);
    let mut came: BTreeMap<Harm, [u64; 3]> = BTreeMap::new();
    let (mut rounds, mut sent, mut read, mut transitions) = (0, 0, 0, 0);
    let mut broken = Vec::new();
    for seed in arguments.first.. {
        if began.elapsed() >= span {
            break;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let plan = plan(seed, arguments.harms, allowed);
        let tried = catch_unwind(AssertUnwindSafe(|| runtime.block_on(round(seed, &plan, means))));
        rounds += 1;
        match tried {
            Ok(Round { came: more, sent: operations, read: answers, transitions: executed }) => {
                sent += operations;
                read += answers;
                transitions += executed;
                for (harm, counts) in more {
                    let sums = came.entry(harm).or_default();
                    (0..3).for_each(|place| sums[place] += counts[place]);
                }
            }
            Err(_) => broken.push(seed),
        }
        let minutes = began.elapsed().as_secs() / 60;
        println!("{minutes} min: {rounds} rounds, {sent} operations, {} broken", broken.len());
    }
    println!("\n{:<18} {:>6} {:>8} {:>7}", "harm", "done", "refused", "missed");
    for (harm, [done, refused, missed]) in &came {
        println!("{harm:<18} {done:>6} {refused:>8} {missed:>7}");
    }
    println!(
        "{rounds} rounds, {sent} operations sent, {transitions} transitions, {read} linearizable queries answered; \
         rounds that broke: {broken:?}"
    );
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
