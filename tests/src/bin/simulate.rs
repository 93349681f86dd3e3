//! `cargo xtask sim`: the simulator for as long as it is told, on as many threads as there are.
//!
//! Every seed is a run of its own. It ends with a table; with the status 1 if anything was that may never be,
//! and with 2 if too little was shown: some fault never happened, or no history was searched.

use althing_tests::sim::{Programs, Run, Summary, plan::Plan, run, run_traced};
use clap::Parser;
use std::{
    ops::Range,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Whole clusters in virtual time, shaken by everything that can go wrong.
#[derive(Parser)]
#[command(name = "cargo xtask sim")]
struct Arguments {
    /// Runs this seed alone, twice, and says what it planned and what happened.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many seeds; without it, as many as there is time for.
    #[arg(long)]
    seeds: Option<u64>,
    /// For so many minutes at most.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// On so many threads; as many as the machine has without it.
    #[arg(long)]
    threads: Option<usize>,
    /// Says what nodes log, such as `althing_node=debug`.
    #[arg(long)]
    log: Option<String>,
    /// Ends with the first seed in which something was that may never be.
    #[arg(long)]
    until_violated: bool,
}

/// Something was that may never be.
const VIOLATED: u8 = 1;
/// Nothing was found, but not enough was shown.
const TOO_LITTLE: u8 = 2;

/// How often to say how far it is.
const SAY_EVERY: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(filter) = &arguments.log {
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    }
    let programs = Programs::load();
    match arguments.seed {
        Some(seed) => alone(seed, &programs),
        None => campaign(&arguments, &programs),
    }
}

fn alone(seed: u64, programs: &Programs) -> ExitCode {
    println!("{:#?}", Plan::of(seed));
    let (first, first_trace) = run_traced(seed, programs);
    let (second, second_trace) = run_traced(seed, programs);
    println!("{first:#?}\n{first_trace:?}");
    if (&first, first_trace) != (&second, second_trace) {
        println!("the second run took another course: {second:#?}\n{second_trace:?}");
        return VIOLATED.into();
    }
    if first.violations.is_empty() { ExitCode::SUCCESS } else { VIOLATED.into() }
}

fn campaign(arguments: &Arguments, programs: &Programs) -> ExitCode {
    let began = Instant::now();
    let time = Duration::from_secs(60 * arguments.minutes);
    let end = arguments.seeds.map_or(u64::MAX, |seeds| arguments.first.saturating_add(seeds));
    let next = AtomicU64::new(arguments.first);
    let state = Mutex::new((Summary::default(), Instant::now()));
    let threads = arguments.threads.or_else(|| thread::available_parallelism().ok().map(Into::into));
    let is_over = || {
        let is_enough =
            || !state.lock().expect("nothing panics while it holds the summary").0.violated.is_empty();
        began.elapsed() >= time || (arguments.until_violated && is_enough())
    };
    thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1) {
            scope.spawn(|| {
                while !is_over() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let done = run(seed, programs);
                    let mut state = state.lock().expect("nothing panics while it holds the summary");
                    note(&mut state, done, began);
                }
            });
        }
    });
    let (summary, _) = state.into_inner().expect("nothing panics while it holds the summary");
    let beyond = next.into_inner().min(end);
    conclude(&summary, arguments.first..beyond, began.elapsed())
}

/// Prints the table.
fn conclude(summary: &Summary, seeds: Range<u64>, wall: Duration) -> ExitCode {
    let (first, last) = (seeds.start, seeds.end.saturating_sub(1));
    println!("\nseeds {first} to {last}, {:.1} min of wall time", wall.as_secs_f64() / 60.0);
    println!("{:.0} times as fast as life", summary.lasted.as_secs_f64() / wall.as_secs_f64());
    print!("{summary}");
    if !summary.violated.is_empty() {
        return VIOLATED.into();
    }
    let unseen = summary.unseen();
    if !unseen.is_empty() {
        println!("never happened, so that nothing is known: {unseen:?}");
    }
    let is_enough = unseen.is_empty() && summary.searched > 0;
    if is_enough { ExitCode::SUCCESS } else { TOO_LITTLE.into() }
}

fn note((summary, said): &mut (Summary, Instant), done: Run, began: Instant) {
    for what in &done.violations {
        println!("seed {}: VIOLATED: {what}", done.seed);
    }
    summary.add(done);
    if said.elapsed() >= SAY_EVERY {
        *said = Instant::now();
        println!(
            "{:>5.1} min  {:>6} runs  {:>7.2} h of virtual time  {:>4} violated",
            began.elapsed().as_secs_f64() / 60.0,
            summary.runs,
            summary.lasted.as_secs_f64() / 3600.0,
            summary.violated.len()
        );
    }
}
