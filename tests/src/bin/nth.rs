//! `cargo xtask nth`: every call that changes a file made to fail, or to be the last one, and every one that reads made
//! to fail.
//!
//! `nth play FOLDER COUNT` is what is watched: it plays the scenario on a store, and says after each step that it was
//! acknowledged, and how many calls there had been.

use althing_store::{memory::MemoryStore, port::Store};
use althing_tests::nth::{
    Calls, How, Stage, Tally, counted, one,
    scenario::{Step, steps, take},
    view::{log, shelves},
};
use clap::{Parser, Subcommand};
use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    thread,
};

/// Every call that changes a file, made to fail or to be the last one; every one that reads, made to fail.
#[derive(Parser)]
#[command(name = "cargo xtask nth")]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Every so many calls only.
    #[arg(long, default_value_t = 1)]
    stride: usize,
    /// On so many threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// This call alone.
    #[arg(long)]
    at: Option<u64>,
}

#[derive(Subcommand)]
enum Verb {
    /// Plays the scenario in a folder.
    Play {
        /// The store's.
        data: PathBuf,
        /// Where calls are counted.
        count: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.verb {
        Some(Verb::Play { data, count }) => played(&data, &count),
        None => campaign(&arguments),
    }
}

fn played(data: &Path, count: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(play(data, count))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn play(data: &Path, count: &Path) -> Result<(), Box<dyn Error>> {
    let mut store = Store::open(data).await?;
    let twin = MemoryStore::new().store();
    for step in steps() {
        if matches!(step, Step::Reopen) {
            store.close().await;
            println!("closed {}", counted(count)?.0.changing);
            store = Store::open(data).await?;
        }
        take(&store, &step).await?;
        take(&twin, &step).await?;
        if matches!(step, Step::Look) {
            let found = (log(&store).await?, shelves(&store).await?);
            // What is no answer is an error, and ended this above.
            assert_eq!(found, (log(&twin).await?, shelves(&twin).await?), "a wrong answer");
        }
        println!("ok {}", counted(count)?.0.changing);
    }
    store.close().await;
    Ok(())
}

fn campaign(arguments: &Arguments) -> ExitCode {
    let player = std::env::current_exe().expect("a process knows its binary");
    let stage = match Stage::set(&player) {
        Ok(stage) => stage,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    let calls = stage.calls();
    let points: Vec<(u64, How)> = match arguments.at {
        Some(at) => How::ALL.into_iter().map(|how| (at, how)).collect(),
        None => calls.points(arguments.stride).collect(),
    };
    let Calls { changing, reading } = calls;
    println!("{changing} calls that change something, {reading} that read, {} plays", points.len());
    let waiting = Mutex::new(points.into_iter());
    let tallies = Mutex::new(BTreeMap::<How, Tally>::new());
    thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("nobody panics with it").next();
                    let Some((at, how)) = next else { return };
                    let mut tally = Tally::default();
                    one(&stage, at, how, &mut tally);
                    let mut tallies = tallies.lock().expect("nobody panics with it");
                    let sum = tallies.entry(how).or_default();
                    sum.plays += tally.plays;
                    sum.struck += tally.struck;
                    tally.violations.iter().for_each(|violation| println!("{violation}"));
                    sum.violations.extend(tally.violations);
                }
            });
        }
    });
    report(&tallies.into_inner().expect("nobody panicked with it"))
}

fn report(tallies: &BTreeMap<How, Tally>) -> ExitCode {
    println!("\n{:<8} {:>8} {:>8} {:>11}", "how", "plays", "struck", "violations");
    for (how, tally) in tallies {
        println!("{how:<8} {:>8} {:>8} {:>11}", tally.plays, tally.struck, tally.violations.len());
    }
    let holds = tallies.values().all(|tally| tally.violations.is_empty() && tally.struck > 0);
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
