//! Opening a data directory, and knowing who its node is. One whose disk has lost what it had promised is
//! not opened as it is: the other nodes are asked to take the node back, and only then a new log begins
//! (promise P13).

use althing_consensus::{peers::PeerTransport, runtime::Runtime, wire::Identity as WireIdentity};
use althing_node::{Addresses, Birth, Identity, Loss, Stranded};
use althing_store::{
    port::{Archive, Store},
    sqlite::{OpenError, Remains},
};
use anyhow::Context as _;
use std::{path::Path, sync::Arc};

/// What it takes.
pub(crate) struct Opening<'a> {
    /// The data directory.
    pub(crate) data: &'a Path,
    /// What to do with an empty one.
    pub(crate) birth: Birth,
    /// Where the node listens now.
    pub(crate) addresses: &'a Addresses,
    /// How it speaks to peers.
    pub(crate) transport: &'a Arc<dyn PeerTransport>,
    /// Who peers are told it is, from here on.
    pub(crate) wire: &'a WireIdentity,
    /// Where time passes.
    pub(crate) runtime: &'a Runtime,
}

impl Opening<'_> {
    /// Opens it: the store, and who the node is.
    pub(crate) async fn open(self) -> anyhow::Result<(Store, Identity)> {
        match Store::open(self.data).await {
            Ok(store) => self.with_log(store).await,
            Err(error) => match error.of_log() {
                Some(why) => self.without_log(error, &why).await,
                None => Err(not_opened(error)),
            },
        }
    }

    async fn with_log(self, store: Store) -> anyhow::Result<(Store, Identity)> {
        let Self { addresses, transport, runtime, .. } = self;
        let settled =
            Identity::settle(self.birth.clone(), addresses, &store.archive, transport, runtime).await?;
        self.wire.join(settled.cluster, settled.node);
        let Some(why) = settled.why_stranded(&store).await? else { return Ok((store, settled)) };
        let loss = Loss::System { why: &why, wal: &*store.wal };
        let identity = settled.come_back(loss, &self.stranded(&store.archive)).await;
        match identity {
            Ok(identity) => Ok((store, identity)),
            Err(error) => {
                store.close().await;
                Err(error.into())
            }
        }
    }

    async fn without_log(self, error: OpenError, why: &str) -> anyhow::Result<(Store, Identity)> {
        let remains = match Remains::open(self.data).await {
            Ok(remains) => remains,
            Err(second) => return Err(not_opened(second).context(error)),
        };
        let archive = remains.archive();
        let back = self.back_without_log(&archive, why).await;
        let identity = match back {
            Ok(identity) => identity,
            Err(error) => {
                remains.close().await;
                return Err(error);
            }
        };
        let (store, aside) = remains.begin_log().await.context("no new log could be begun")?;
        if let Some(folder) = aside {
            tracing::warn!(folder = %folder.display(), "the log as it was found is kept there; a new one begins");
        }
        match identity {
            Some(identity) => Ok((store, identity)),
            None => self.with_log(store).await,
        }
    }

    /// Who it is now; none if nobody ever ran here, and so nothing was promised.
    async fn back_without_log(
        &self,
        archive: &Arc<dyn Archive>,
        why: &str,
    ) -> anyhow::Result<Option<Identity>> {
        let Some(identity) = Identity::remembered(archive).await? else { return Ok(None) };
        self.wire.join(identity.cluster, identity.node);
        Ok(Some(identity.come_back(Loss::Log { why }, &self.stranded(archive)).await?))
    }

    fn stranded<'b>(&'b self, archive: &'b Arc<dyn Archive>) -> Stranded<'b> {
        let join = match &self.birth {
            Birth::Join { address } => Some(address.as_str()),
            Birth::Restart | Birth::Bootstrap => None,
        };
        let Self { addresses, transport, runtime, .. } = self;
        Stranded { archive, addresses, join, transport, runtime }
    }
}

fn not_opened(error: OpenError) -> anyhow::Error {
    anyhow::Error::from(error).context("the data directory could not be opened")
}
