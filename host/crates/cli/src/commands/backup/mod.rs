//! `althing backup`: every community of a cluster as a file each, and an index of them.

pub(super) mod index;

use crate::{commands::export::to_file, context::Context, failure::Usage};
use althing_client::v1;
use anyhow::Context as _;
use clap::Args;
use index::{Failed, Index, Saved};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

const EXAMPLES: &str = "\
Examples:
  althing backup ./2026-11-21 --server 127.0.0.1:7411,127.0.0.1:7412,127.0.0.1:7413
  althing verify ./2026-11-21/roster.althing
  althing restore ./2026-11-21                           into another cluster

Each file is what `althing export` writes. Communities go on meanwhile; each is saved as it is at a moment of its
own. The index is written last: without it the backup is not whole. One that could not be saved is named in it,
and the command fails; the others are saved all the same.";

/// Saves every community to a directory, while they go on.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Backup {
    /// The directory; it must be empty, or not be there yet.
    directory: PathBuf,
}

impl Backup {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        make(&self.directory)?;
        let taken_millis = now_millis();
        let (cluster, version, communities) = communities(context).await?;
        let mut index = Index::begun(cluster, version, taken_millis);
        for community in communities {
            let name = community.name.clone();
            match save(context, &self.directory, community).await {
                Ok(saved) => index.communities.push(saved),
                Err(error) => index.failed.push(Failed { name, why: format!("{error:#}") }),
            }
        }
        index.write(&self.directory)?;
        context.print(&index)?;
        match index.failed.len() {
            0 => Ok(()),
            failed => Err(anyhow::anyhow!(
                "{failed} of {} communities were not saved",
                failed + index.communities.len()
            )),
        }
    }
}

fn make(directory: &Path) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be made", directory.display());
    fs::create_dir_all(directory).with_context(cannot)?;
    match fs::read_dir(directory).with_context(cannot)?.next() {
        None => Ok(()),
        Some(_) => Err(Usage(format!("{} is not empty: name another directory", directory.display())).into()),
    }
}

/// The cluster, the version of the first server that answers, and every community that any of the servers
/// knows, but for the cluster's own directory. A server that lags does not hide one.
async fn communities(context: &Context) -> anyhow::Result<(String, String, Vec<v1::CommunityInfo>)> {
    let mut found = BTreeMap::new();
    let mut cluster = None;
    for server in &context.global.server {
        let Ok(client) = context.client_of(vec![server.clone()]).await else { continue };
        let admin = client.admin();
        let status = admin.status().await?;
        let id = hex::encode(&status.cluster);
        match &cluster {
            Some((known, _)) if *known != id => {
                return Err(
                    Usage(format!("{server} belongs to another cluster than the servers before it")).into()
                );
            }
            Some(_) => {}
            None => cluster = Some((id, status.version)),
        }
        found.extend(admin.list().await?.into_iter().map(|community| (community.id, community)));
    }
    let Some((cluster, version)) = cluster else {
        // The error that says why.
        return Err(context
            .client()
            .await
            .err()
            .map_or_else(|| io::Error::other("no server answers").into(), Into::into));
    };
    // The system community: it is the cluster itself.
    found.remove(&0);
    Ok((cluster, version, found.into_values().collect()))
}

async fn save(context: &Context, directory: &Path, community: v1::CommunityInfo) -> anyhow::Result<Saved> {
    let file = format!("{}.althing", community.name);
    let exported = to_file(context, &community.name, &directory.join(&file)).await?;
    Ok(Saved {
        name: community.name,
        id: community.id,
        timing: community.timing,
        file,
        bytes: exported.bytes,
        sequence: exported.holds.sequence,
        digest: exported.holds.digest,
        seal: exported.seal,
    })
}

fn now_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
