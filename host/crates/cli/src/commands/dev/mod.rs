//! `althing dev`: for authors. Builds the reducer in a folder, runs it on a node of its own, and shows
//! what it does; builds and installs it again when it changes.

mod sources;

use crate::{
    arguments::DEFAULT_SERVER,
    commands::program::Config,
    context::Context,
    house::{House, Listen, Plan, is_known},
    show::{outcome::Said, transition::TransitionShown},
};
use althing_build::{Built, Options, build};
use althing_client::{Client, Installation, NewCommunity, Subscription};
use althing_core::{
    ids::{Hash, Sequence},
    refusal::Code,
};
use althing_node::Birth;
use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use sources::Sources;
use std::{fs, path::PathBuf, time::Duration};
use tokio::time::MissedTickBehavior;

/// The configuration that a project is tried with, in its folder.
const CONFIG_FILE: &str = "config.json";
/// How often the sources are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  althing dev                                  the reducer in this folder
  althing dev --watch                          … built and installed again at every change
  althing dev reducers/ledger --config '{\"currency\":\"EUR\"}' --data ./ledger-data

Submit to it from another terminal: `althing submit NAME OPERATION`.";

/// Builds the reducer in a folder, runs it, and shows what it does.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Dev {
    /// The folder of the crate.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The community; named after the crate if not given.
    #[arg(long)]
    community: Option<String>,
    /// The reducer's configuration: JSON, or @FILE; if not given, what is in `config.json` in the
    /// folder, if that is there.
    #[arg(long, value_name = "JSON")]
    config: Option<Config>,
    /// Builds and installs again whenever a source file changes.
    #[arg(long, short)]
    watch: bool,
    /// Where to listen for clients; port 0 for any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_SERVER)]
    listen: String,
    /// Keeps state in this folder; forgotten at the end if not given.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

impl Dev {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        // The first build must succeed: without it there is nothing to show.
        let built = self.build().await?;
        let forgotten = tempfile::tempdir().context("no temporary folder can be made")?;
        let data = self.data.clone().unwrap_or_else(|| forgotten.path().to_owned());
        let mut house = House::start(self.plan(data)).await?;
        let (node, address) = (house.node.clone(), house.api_address.clone());
        let work = async {
            anyhow::ensure!(
                is_known(&node, context.global.patience).await,
                "the node did not begin its cluster"
            );
            self.work(context, &address, built).await
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            error = house.failed() => return Err(error),
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into),
        };
        house.stop().await;
        outcome
    }

    fn plan(&self, data: PathBuf) -> Plan {
        Plan {
            data,
            listen: Listen { address: self.listen.clone(), advertise: None },
            peer_listen: Listen { address: "127.0.0.1:0".to_owned(), advertise: None },
            birth: Birth::Bootstrap,
            guest_threads: None,
            compiled: None,
            log_kept: None,
            reserve_bytes: None,
            archive: None,
        }
    }

    /// Installs, shows, and installs again; never ends by itself.
    async fn work(&self, context: &Context, address: &str, built: Built) -> anyhow::Result<()> {
        let client = context.client_of(vec![address.to_owned()]).await?;
        let name = match &self.community {
            Some(name) => name.clone(),
            None => name_of(&built).context("the crate has no name: say --community")?,
        };
        create(&client, &name).await?;
        let mut subscription = client.community(&name).subscribe(Sequence(1)).await?;
        self.install(context, &client, &name, built).await?;
        eprintln!("the community {name:?} is at {address}; Ctrl-C ends it");
        let mut sources = Sources::of(&self.folder);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                shown = show(context, &mut subscription) => shown?,
                _ = look.tick(), if self.watch => {
                    if sources.have_changed() {
                        self.again(context, &client, &name).await?;
                    }
                }
            }
        }
    }

    /// Builds and installs again. A build that fails is for the author to mend: cargo has said why.
    async fn again(&self, context: &Context, client: &Client, name: &str) -> anyhow::Result<()> {
        match self.build().await {
            Ok(built) => self.install(context, client, name, built).await,
            Err(error) => {
                eprintln!("not built: {error:#}; the community goes on with what it has");
                Ok(())
            }
        }
    }

    async fn build(&self) -> anyhow::Result<Built> {
        let folder = self.folder.clone();
        let built = tokio::task::spawn_blocking(move || build(&folder, &Options::default()));
        Ok(built.await.context("the build panicked")??)
    }

    fn config(&self) -> anyhow::Result<Bytes> {
        let file = self.folder.join(CONFIG_FILE);
        match &self.config {
            Some(config) => config.read(),
            None if file.is_file() => Ok(fs::read(&file)?.into()),
            None => Ok(Bytes::new()),
        }
    }

    async fn install(
        &self,
        context: &Context,
        client: &Client,
        name: &str,
        built: Built,
    ) -> anyhow::Result<()> {
        let admin = client.admin();
        let reducer = Hash::of_component(&built.bytes);
        admin.upload_component(built.bytes.into()).await?;
        let config = self.config()?;
        let program = Installation { actor: context.actor(), reducer, config, ..Installation::default() };
        let receipt = admin.activate(name, program).await?;
        match Said::from(receipt.outcome).no() {
            Some(no) => eprintln!("not installed: {no}"),
            None => eprintln!("installed {} at #{}", built.path.display(), receipt.sequence),
        }
        Ok(())
    }
}

/// The community, whether it was there or not.
async fn create(client: &Client, name: &str) -> anyhow::Result<()> {
    let community = NewCommunity { name: name.to_owned(), ..NewCommunity::default() };
    match client.admin().create(community).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(Code::CommunityExists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn show(context: &Context, subscription: &mut Subscription) -> anyhow::Result<()> {
    let transition = subscription.next().await?;
    Ok(context.print(&TransitionShown::from(transition))?)
}

/// A community's name after a crate's: as communities are named.
fn name_of(built: &Built) -> Option<String> {
    Some(built.path.file_stem()?.to_str()?.replace('_', "-").to_lowercase())
}
