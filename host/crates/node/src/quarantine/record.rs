//! What a node remembers of its quarantined replicas, and what it does when it cannot read that: then any of
//! its replicas may be one of them, and none serves until it was rebuilt.

use super::{FACT, Quarantined, QuarantinedHere};
use crate::{
    community::Hosted,
    directory::record::NodeRecord,
    identity::{self, Identity},
    node::HOSTED_FACT,
};
use althing_core::{
    codec::{self, DecodeError},
    ids::{CommunityId, Sequence},
};
use althing_store::port::{Archive, StoreError};

/// Bytes of a record that cannot be read that are told of.
const TOLD_BYTES_MAX: usize = 1024;

/// The quarantined replicas of a node. If the record of them is damaged, all replicas that it may run are
/// quarantined, and from then on that is the record. A node that knows no other is spared: nobody was there
/// from whom a replica could be found to differ, nor to rebuild it from.
///
/// # Errors
/// When the store cannot be read or written; when a newer version has written the record; when neither the
/// record can be read nor that of the replicas here.
pub(crate) async fn remembered(
    archive: &dyn Archive,
    identity: &Identity,
) -> Result<QuarantinedHere, StoreError> {
    let Some(record) = archive.fact(FACT).await? else { return Ok(QuarantinedHere::new()) };
    let all: Vec<Quarantined> = match codec::decode(&record) {
        Ok(all) => all,
        Err(error @ DecodeError::Newer { .. }) => return Err(unreadable(FACT, &error)),
        Err(error) => {
            let told = hex::encode(&record[..record.len().min(TOLD_BYTES_MAX)]);
            let hosted = match archive.fact(HOSTED_FACT).await? {
                None => Vec::new(),
                Some(record) => codec::decode(&record).map_err(|error| unreadable(HOSTED_FACT, &error))?,
            };
            let known = identity::remembered_nodes(archive).await?;
            let all = suspects(identity, &known, hosted);
            let replicas = all.len();
            tracing::error!(%error, record = told, replicas, "which replicas were quarantined cannot be read: all here are");
            archive.put_fact(FACT, codec::encode(&all).into()).await?;
            all
        }
    };
    Ok(all.into_iter().map(|quarantined| (quarantined.community, quarantined)).collect())
}

/// Every replica that may be one of those that a record named which cannot be read.
pub(crate) fn suspects(identity: &Identity, known: &[NodeRecord], hosted: Vec<Hosted>) -> Vec<Quarantined> {
    if known.iter().all(|record| record.node == identity.node) {
        return Vec::new();
    }
    let system = (CommunityId::SYSTEM, "system".to_owned(), identity.system_replica);
    let others = hosted.into_iter().map(|hosted| (hosted.community, hosted.name, hosted.replica));
    let suspect = |(community, name, replica)| {
        Quarantined {
        community,
        name,
        replica,
        sequence: Sequence(0),
        why: "quarantined: the record of this node's quarantined replicas cannot be read, and this may be one of them; \
              bring it back with `althing member rebuild`"
            .to_owned(),
    }
    };
    std::iter::once(system).chain(others).map(suspect).collect()
}

fn unreadable(fact: &str, error: &DecodeError) -> StoreError {
    let what = format!(
        "the fact {fact:?} cannot be read ({error}), so which replicas were quarantined here cannot be \
         told: start the version that wrote it, or move the data directory away and let this node come back from the \
         others"
    );
    StoreError::Damaged { what }
}
