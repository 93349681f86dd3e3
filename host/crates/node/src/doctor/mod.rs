//! The doctor: what a data directory holds, what of it is damaged, and what a node that is started on it
//! will do. No node runs on it, and nothing is changed.
//!
//! What the files are is the store's to say ([`Inspection`]); here is what is in them. It reads by the same
//! ports and with the same words as a start does, so that what it foretells is what comes.

mod community;
mod foresight;

pub use community::{CommunityFindings, LogFindings, SnapshotFindings};
pub use foresight::{Foresight, NodeForesight};

use crate::{
    community::Hosted,
    directory::record::NodeRecord,
    distrust::{self, Distrust},
    farewell,
    identity::{self, Identity},
    node, quarantine,
    quarantine::Quarantined,
    refuse,
};
use althing_core::{
    codec::{self, DecodeError},
    ids::{CommunityId, Hash},
};
use althing_store::{
    port::{Archive, StoreError},
    sqlite::{OpenError, inspect::Inspection},
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeSet, fmt, path::Path};

/// How to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The fingerprint of the engine that the node would run with.
    pub engine: Hash,
    /// Whether every byte is read: each chunk and each record of history hashed again.
    pub is_deep: bool,
}

/// What was found in a data directory.
#[derive(Debug, Default)]
pub struct Findings {
    /// Who the node is; none before it belongs to a cluster, or when that cannot be read.
    pub identity: Option<Identity>,
    /// Whether the node has left its cluster for good.
    pub has_left: bool,
    /// The nodes that it knew when it last ran.
    pub nodes: Vec<NodeRecord>,
    /// The communities of which there is anything, ascending.
    pub communities: Vec<CommunityFindings>,
    /// The components that are stored.
    pub components: Vec<ComponentFindings>,
    /// What is damaged, the most important first.
    pub damages: Vec<Damage>,
    /// What the node will do when it is started.
    pub on_start: Option<NodeForesight>,
}

/// A component that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentFindings {
    /// Its name.
    pub hash: Hash,
    /// Its bytes.
    pub bytes: u64,
    /// Whether it is what its name says.
    pub is_sound: bool,
}

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where: a file, or a part of one.
    pub place: String,
    /// What is wrong with it, and what comes of that.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Findings {
    /// Whether nothing is damaged, as far as was looked.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
    }

    /// Looks through a data directory. `progress` is told what is being looked at.
    pub async fn of(inspection: &Inspection, look: Look, mut progress: impl FnMut(String)) -> Self {
        let mut findings = Self::default();
        for error in inspection.damages() {
            findings.damages.push(Damage { place: file_of(error), what: said_of(error) });
        }
        for mended in inspection.mended() {
            findings.damage(name_of(mended.path()), mended.said());
        }
        let facts = findings.read_facts(inspection).await;
        let ids = match findings.ids(inspection, &facts).await {
            Ok(ids) => ids,
            Err(error) => {
                findings.damage("archive.db", refuse::chain(&error));
                BTreeSet::new()
            }
        };
        findings.read_components(inspection, &mut progress).await;
        for id in ids {
            let subject = community::Subject { id, inspection, facts: &facts, look };
            let (found, damages) = subject.look(&mut progress).await;
            findings.communities.push(found);
            findings.damages.extend(damages);
        }
        let refusal = inspection.refusal();
        findings.on_start = Some(NodeForesight::of(refusal, &findings));
        findings
    }

    fn damage(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.damages.push(Damage { place: place.into(), what: what.into() });
    }

    /// What the node remembers of itself.
    async fn read_facts(&mut self, inspection: &Inspection) -> Facts {
        let Ok(archive) = &inspection.archive else { return Facts::default() };
        let archive = &*archive.archive;
        let mut facts = Facts { is_readable: true, ..Facts::default() };
        self.identity = self.fact(archive, identity::FACT, "the node does not start").await;
        facts.identity.clone_from(&self.identity);
        let learned = "it is learned again from the directory";
        self.nodes = self.fact(archive, identity::NODES_FACT, learned).await.unwrap_or_default();
        facts.hosted = self.fact(archive, node::HOSTED_FACT, learned).await.unwrap_or_default();
        let suspected = "every replica here counts as one that was found to differ: rebuild them";
        let damages = self.damages.len();
        facts.quarantined = self.fact(archive, quarantine::FACT, suspected).await.unwrap_or_default();
        if let (true, Some(identity)) = (self.damages.len() > damages, &self.identity) {
            facts.quarantined = quarantine::suspects(identity, &self.nodes, facts.hosted.clone());
        }
        let unknown = "which replicas must not run here again cannot be told: the node does not start";
        facts.distrust = self.fact(archive, distrust::FACT, unknown).await.unwrap_or_default();
        self.has_left = matches!(archive.fact(farewell::FACT).await, Ok(Some(_)));
        facts
    }

    /// A fact, if there is one that can be read. `else_what` is what comes of one that cannot.
    async fn fact<T: DeserializeOwned>(
        &mut self,
        archive: &dyn Archive,
        name: &str,
        else_what: &str,
    ) -> Option<T> {
        let place = format!("the fact {name:?}");
        match archive.fact(name).await {
            Ok(None) => None,
            Err(error) => {
                self.damage(place, refuse::chain(&error));
                None
            }
            Ok(Some(record)) => match codec::decode(&record) {
                Ok(value) => Some(value),
                Err(DecodeError::Newer { found }) => {
                    self.damage(place, format!("it has format {found}, which a newer version has written"));
                    None
                }
                Err(error) => {
                    self.damage(place, format!("{error}: {else_what}"));
                    None
                }
            },
        }
    }

    /// The communities of which there is anything.
    async fn ids(&self, inspection: &Inspection, facts: &Facts) -> Result<BTreeSet<CommunityId>, StoreError> {
        let mut ids: BTreeSet<CommunityId> = facts.hosted.iter().map(|hosted| hosted.community).collect();
        ids.extend(facts.identity.is_some().then_some(CommunityId::SYSTEM));
        ids.extend(facts.quarantined.iter().map(|quarantined| quarantined.community));
        if let Ok(log) = &inspection.log {
            ids.extend(log.wal.groups().await?);
        }
        if let Ok(archive) = &inspection.archive {
            ids.extend(archive.communities().await?);
        }
        Ok(ids)
    }

    async fn read_components(&mut self, inspection: &Inspection, progress: &mut impl FnMut(String)) {
        let Ok(archive) = &inspection.archive else { return };
        let stored = match archive.archive.components().await {
            Ok(stored) => stored,
            Err(error) => return self.damage("the components in archive.db", refuse::chain(&error)),
        };
        for record in stored {
            progress(format!("component {}", record.hash));
            let place = format!("component {} in archive.db", record.hash);
            let is_sound = match archive.archive.component(record.hash).await {
                Ok(Some(bytes)) => Hash::of_component(&bytes) == record.hash,
                Ok(None) => false,
                Err(error) => {
                    self.damage(place.clone(), refuse::chain(&error));
                    false
                }
            };
            if !is_sound {
                self.damage(
                    place,
                    "its bytes are not those of its name: a community that runs it stops here",
                );
            }
            self.components.push(ComponentFindings { hash: record.hash, bytes: record.bytes, is_sound });
        }
    }
}

/// What a node remembers of itself.
#[derive(Default)]
struct Facts {
    /// Whether the archive can be read at all.
    is_readable: bool,
    identity: Option<Identity>,
    hosted: Vec<Hosted>,
    quarantined: Vec<Quarantined>,
    distrust: Distrust,
}

/// The name of the file that an error is about.
fn file_of(error: &OpenError) -> String {
    let path = match error {
        OpenError::Directory { path, .. }
        | OpenError::Locked { path, .. }
        | OpenError::Foreign { path }
        | OpenError::Newer { path, .. }
        | OpenError::Damaged { path, .. }
        | OpenError::Lost { path, .. }
        | OpenError::Sqlite { path, .. } => path,
    };
    name_of(path)
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// What is wrong with that file. What to do about it depends on more than the file.
fn said_of(error: &OpenError) -> String {
    match error {
        OpenError::Lost { found, marked, .. } if found < marked => format!(
            "it ends at change {found}, and the mark says {marked}: {} that somebody was told of are lost",
            marked - found
        ),
        OpenError::Lost { marked, .. } => {
            format!("its change {marked} is another than the one that was marked")
        }
        OpenError::Damaged { what, .. } => format!("it is damaged ({what})"),
        OpenError::Foreign { .. } => "it is not a file of an Althing store".to_owned(),
        OpenError::Newer { found, known, .. } => {
            format!("it has format {found}, this version of althing knows formats up to {known}")
        }
        OpenError::Directory { .. } | OpenError::Locked { .. } | OpenError::Sqlite { .. } => {
            refuse::chain(error)
        }
    }
}

#[cfg(test)]
mod tests;
