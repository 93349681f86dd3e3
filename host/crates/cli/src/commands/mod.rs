//! The commands, one file each.

mod backup;
mod bench;
mod build;
mod community;
mod compile_child;
mod dev;
mod doctor;
mod export;
mod history;
mod import;
mod member;
mod new;
mod node;
mod program;
mod query;
mod restore;
mod serve;
mod snapshot;
mod state;
mod status;
mod submit;
mod verify;
mod watch;

use crate::{context::Context, house::COMPILE_CHILD};
use clap::Subcommand;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Verb(Box<Verb>),
    #[command(hide = true, name = COMPILE_CHILD)]
    CompileChild(compile_child::CompileChild),
}

/// What people ask.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    New(new::New),
    Build(build::Build),
    Dev(dev::Dev),
    Serve(serve::Serve),
    #[command(subcommand)]
    Community(community::Community),
    #[command(subcommand)]
    Program(program::Program),
    Submit(submit::Submit),
    Query(query::Query),
    Watch(watch::Watch),
    State(state::State),
    History(history::History),
    #[command(subcommand)]
    Member(member::Member),
    #[command(subcommand)]
    Node(node::Node),
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    Export(export::Export),
    Verify(verify::Verify),
    Import(import::Import),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Bench(bench::Bench),
}

impl Verb {
    /// Whether it runs a node, and logs accordingly.
    pub(crate) fn is_server(&self) -> bool {
        matches!(self, Self::Serve(_))
    }

    /// Does what is asked.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::New(new) => new.run(context),
            Self::Build(build) => build.run(context),
            Self::Dev(dev) => dev.run(context).await,
            Self::Serve(serve) => serve.run(context).await,
            Self::Community(community) => community.run(context).await,
            Self::Program(program) => program.run(context).await,
            Self::Submit(submit) => submit.run(context).await,
            Self::Query(query) => query.run(context).await,
            Self::Watch(watch) => watch.run(context).await,
            Self::State(state) => state.run(context).await,
            Self::History(history) => history.run(context).await,
            Self::Member(member) => member.run(context).await,
            Self::Node(node) => node.run(context).await,
            Self::Snapshot(snapshot) => snapshot.run(context).await,
            Self::Export(export) => export.run(context).await,
            Self::Verify(verify) => verify.run(context).await,
            Self::Import(import) => import.run(context).await,
            Self::Backup(backup) => backup.run(context).await,
            Self::Restore(restore) => restore.run(context).await,
            Self::Status(status) => status.run(context).await,
            Self::Doctor(doctor) => doctor.run(context).await,
            Self::Bench(bench) => bench.run(context).await,
        }
    }
}
