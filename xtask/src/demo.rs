//! `cargo xtask demo`: the main job on real input.
//!
//! Three nodes as processes, a community that runs `roster`, 4,566 operations of a real community's
//! history through the command line while a subscriber follows, the leader killed half-way and brought
//! back. Then: is the roster what the community's own files say? Do all replicas have one digest? Did the
//! subscriber see every sequence once? Is every invalid operation rejected by the name of its rule, and
//! changes nothing? The first difference ends it with an error.

mod account;
mod althing;
mod cluster;
mod data;
mod follower;
mod mutations;
mod process;
mod roster_model;
mod story;

use crate::{
    reducers,
    steps::{self, seconds},
    workspace::Workspace,
};
use althing::Althing;
use anyhow::{Context, Result};
use data::{CHECKPOINTS, Data};
use std::time::Instant;
use story::Story;

/// What `demo` can be told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Nodes with an optimised build: slower to build, faster to run.
    #[arg(long)]
    release: bool,
    /// Leaves the nodes' data and logs behind, and says where.
    #[arg(long)]
    keep: bool,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let began = Instant::now();
    let workspace = Workspace::load()?;
    let data = Data::read(workspace.root())?;
    let profile = if arguments.release { "release" } else { "dev" };
    // All binaries, not `althing` alone: so dependencies get the features that the tests build them with.
    let build = ["build", "--workspace", "--bins", "--locked", "--profile", profile];
    steps::run("build", &mut steps::cargo(&workspace, build))?;
    let component = reducers::build_one(&workspace, "roster")?;

    let folder = tempfile::Builder::new().prefix("althing-demo-").tempdir().context("making a folder")?;
    let directory = if arguments.release { "release" } else { "debug" };
    let binary = workspace.target().join(directory).join("althing");
    let althing = Althing::new(binary, folder.path());
    steps::announce("three nodes, one community, its whole history");
    let outcome = tell(althing, folder.path(), &component, data);
    if outcome.is_err() || arguments.keep {
        println!("data and logs are in {}", folder.keep().display());
    }
    outcome?;
    println!("\nEverything agrees. Took {}.", seconds(began.elapsed()));
    Ok(())
}

fn tell(althing: Althing, folder: &std::path::Path, component: &std::path::Path, data: Data) -> Result<()> {
    let mut story = Story::begin(althing, folder, component, data)?;
    let [first, second, third, fourth] = CHECKPOINTS;
    story.replay(0, first)?;
    story.compare(first)?;
    story.replay(first, second)?;
    story.compare(second)?;
    let killed = story.replay_and_kill_the_leader(second, third)?;
    story.compare(third)?;
    story.restart(killed)?;
    story.replay(third, fourth)?;
    story.compare(fourth)?;
    story.submit_what_is_invalid()?;
    story.end()
}
