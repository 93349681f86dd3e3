//! `althing community`: create, list, show, delete; the policy.

use crate::{
    context::Context,
    failure::{ProgramSaidNo, Usage},
    show::{
        Done,
        community::{CommunitiesShown, CommunityShown, InspectedShown},
        outcome::ReceiptShown,
    },
};
use althing_client::NewCommunity;
use althing_core::ids::NodeId;
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use std::{fs, path::PathBuf};

const CREATE: &str = "\
Examples:
  althing community create roster
  althing community create roster --replicas 5 --timing wan
  althing community create roster --nodes 1,2,4 --policy policy.json";
const LIST: &str = "\
Example:
  althing community list";
const SHOW: &str = "\
Example:
  althing community show roster --output json | jq .replica.digest";
const POLICY: &str = "\
Examples:
  althing community show roster --output json | jq .policy > policy.json
  althing community policy roster policy.json";
const SET_REPLICAS: &str = "\
Example:
  althing community set-replicas roster 5";
const DELETE: &str = "\
Example:
  althing community delete roster --yes";

/// Communities: create, list, show, delete; set a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Community {
    Create(Create),
    /// Lists communities.
    #[command(after_help = LIST)]
    List,
    /// Tells about one community.
    #[command(after_help = SHOW)]
    Show {
        /// The community, by name or id.
        community: String,
    },
    /// Sets a community's policy, whole.
    #[command(after_help = POLICY)]
    Policy {
        /// The community, by name or id.
        community: String,
        /// A file with the policy as JSON.
        policy: PathBuf,
    },
    /// Sets how many replicas vote, and waits until so many do.
    ///
    /// More go to the nodes with most room; fewer leave first those that do not answer, never the leader. A
    /// place that becomes vacant later (`althing node`) is taken by a node that can.
    #[command(after_help = SET_REPLICAS)]
    SetReplicas {
        /// The community, by name or id.
        community: String,
        /// How many, at most 7; an odd number survives most for what it costs.
        voters: u32,
    },
    /// Deletes a community with all it holds. This cannot be undone.
    #[command(after_help = DELETE)]
    Delete {
        /// The community, by name or id.
        community: String,
        /// Really.
        #[arg(long)]
        yes: bool,
    },
}

/// Creates a community.
#[derive(Args, Debug)]
#[command(after_help = CREATE)]
pub(crate) struct Create {
    /// 1 to 64 of a-z, 0-9 and `-`, beginning with a letter.
    name: String,
    /// How many voters; as many as there are nodes, at most 3, if not given.
    #[arg(long, visible_alias = "replicas", conflicts_with = "nodes")]
    voters: Option<u32>,
    /// The nodes to begin on, separated by commas.
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<u64>,
    /// A file with the policy as JSON; the defaults if not given.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How far apart the nodes are.
    #[arg(long, value_enum, default_value_t = Timing::Lan)]
    timing: Timing,
}

/// How far apart nodes are.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Timing {
    /// In one place.
    Lan,
    /// Around the world.
    Wan,
}

impl Timing {
    /// As it is sent.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }
}

impl Community {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::List => {
                let communities = context.client().await?.admin().list().await?;
                Ok(context.print(&CommunitiesShown::from_iter(communities))?)
            }
            Self::Show { community } => {
                let told = context.client().await?.admin().inspect(&community).await?;
                Ok(context.print(&InspectedShown::from(told))?)
            }
            Self::Policy { community, policy } => set_policy(context, &community, &policy).await,
            Self::SetReplicas { community, voters } => {
                let set = context.client().await?.admin().set_replicas(&community, voters).await?;
                Ok(context.print(&CommunityShown::from(set))?)
            }
            Self::Delete { community, yes } => {
                if !yes {
                    let why = format!("this deletes {community} with all it holds, for good: say --yes");
                    return Err(Usage(why).into());
                }
                context.client().await?.admin().delete(&community).await?;
                Ok(context.print(&Done::new(format!("{community} is deleted")))?)
            }
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let community = NewCommunity {
            name: self.name,
            voters: self.voters.unwrap_or(0),
            nodes: self.nodes.into_iter().map(NodeId).collect(),
            policy: self.policy.as_ref().map(read).transpose()?.unwrap_or_default(),
            timing: self.timing.text().to_owned(),
        };
        let created = context.client().await?.admin().create(community).await?;
        Ok(context.print(&CommunityShown::from(created))?)
    }
}

async fn set_policy(context: &Context, community: &str, policy: &PathBuf) -> anyhow::Result<()> {
    let policy = read(policy)?;
    let receipt = context.client().await?.admin().set_policy(community, &policy).await?;
    let shown = ReceiptShown::from(receipt);
    context.print(&shown)?;
    match shown.said.no() {
        Some(no) => Err(ProgramSaidNo(format!("the policy was not set: {no}")).into()),
        None => Ok(()),
    }
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}
