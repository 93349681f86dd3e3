//! `cargo xtask soak`: real processes under mixed load, and whether anything they hold goes up.

use althing_tests::soak::soak;
use clap::Parser;
use std::{process::ExitCode, time::Duration};

/// Real processes under mixed load, and whether anything they hold goes up.
#[derive(Parser)]
#[command(name = "cargo xtask soak")]
struct Arguments {
    /// For so many minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let soaked = runtime.block_on(soak(Duration::from_secs(arguments.minutes * 60), |far| println!("{far}")));
    println!(
        "{} operations, {} visits, {} acts of an operator\n",
        soaked.operations, soaked.visits, soaked.acts
    );
    println!("{:>4}  {:<14} {:>12} {:>12} {:>12}  flat", "node", "what", "mean", "most", "per hour");
    let courses = soaked.measures.courses();
    for course in &courses {
        let flat = if course.is_flat { "yes" } else { "NO" };
        let (mean, most, per_hour) = (course.mean, course.most, course.per_hour);
        println!(
            "{:>4}  {:<14} {mean:>12.0} {most:>12.0} {per_hour:>12.0}  {flat}",
            course.node, course.what
        );
    }
    if courses.iter().all(|course| course.is_flat) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
