//! `cargo xtask exam`: are the checks worth anything? Each patch in `tests/exam/` breaks the product in one
//! known way; the check that it names must fail on the broken tree, and hold on the whole one.
//!
//! Everything happens in a copy of the tree under `target/exam`, with a target directory of its own that all
//! patches share. Nothing of the tree itself is touched.

mod check;
mod patch;
mod scratch;

use crate::{
    steps::{announce, seconds},
    workspace::Workspace,
};
use anyhow::{Result, bail};
use check::{Outcome, Ran};
use patch::Patch;
use scratch::Scratch;
use std::{collections::BTreeMap, fmt, time::Duration};

/// What `exam` can be told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only patches whose names contain one of these.
    filters: Vec<String>,
}

/// What became of one patch.
struct Row {
    name: String,
    verdict: String,
    is_caught: bool,
    took: Duration,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, verdict, took, .. } = self;
        write!(f, "{name:<40} {:>12}  {verdict}", seconds(*took))
    }
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut patches = patch::read_all(workspace.root())?;
    if !arguments.filters.is_empty() {
        patches.retain(|patch| arguments.filters.iter().any(|filter| patch.name.contains(filter.as_str())));
    }
    if patches.is_empty() {
        bail!("there is no such patch in {}", patch::FOLDER);
    }
    let scratch = Scratch::fill(&workspace)?;
    let mut whole = BTreeMap::new();
    let mut rows = Vec::new();
    for patch in &patches {
        announce(&format!("{}: {}", patch.name, patch.what));
        if !whole.contains_key(&patch.check) {
            let ran = check::run(&scratch, &patch.check)?;
            whole.insert(patch.check.clone(), ran.outcome);
        }
        let row = examine(&scratch, patch, whole[&patch.check])?;
        println!("{row}");
        rows.push(row);
    }
    report(&rows)
}

/// Breaks the copy, runs the check, mends the copy.
fn examine(scratch: &Scratch, patch: &Patch, whole: Outcome) -> Result<Row> {
    let name = patch.name.clone();
    if whole != Outcome::Holds {
        let verdict = format!("MISSED: `{}` does not hold on the whole tree either ({whole})", patch.check);
        return Ok(Row { name, verdict, is_caught: false, took: Duration::ZERO });
    }
    scratch.apply(patch)?;
    let ran = check::run(scratch, &patch.check);
    scratch.take_back(patch)?;
    let Ran { outcome, took } = ran?;
    let is_caught = outcome == Outcome::Fails;
    let verdict =
        if is_caught { "caught".to_owned() } else { format!("MISSED: `{}` {outcome}", patch.check) };
    Ok(Row { name, verdict, is_caught, took })
}

fn report(rows: &[Row]) -> Result<()> {
    println!();
    for row in rows {
        println!("{row}");
    }
    let caught = rows.iter().filter(|row| row.is_caught).count();
    println!("{caught} of {} caught; times are without building", rows.len());
    if caught < rows.len() {
        bail!("a check that misses what it is there for shows nothing");
    }
    Ok(())
}
