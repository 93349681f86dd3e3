//! The node: communities on one machine, from the door to the state and back.
//!
//! One verb, one file. An operation's way: [`submit`] finds the leader, `propose` packs a batch,
//! consensus replicates it, `execute` runs it on every replica, `feed` tells subscribers. What lives
//! where is in the `directory`, which `reconcile` makes true.

mod admin;
mod archiver;
mod backfill;
mod bring_back;
mod community;
mod compare;
mod components;
mod digests;
mod directory;
mod directory_client;
mod distrust;
mod doctor;
mod execute;
mod export;
mod fall_back;
mod farewell;
mod feed;
#[cfg(test)]
mod golden;
mod guests;
mod history;
mod identity;
mod import;
mod install;
mod keep;
mod members;
mod mend;
mod node;
mod outlive;
mod peer;
mod placing;
mod presence;
mod proof;
mod propose;
mod quarantine;
mod query;
mod rebuild;
mod recheck;
mod reconcile;
mod refuse;
mod relocate;
mod replica;
mod reread;
mod retention;
mod retire;
mod roots;
mod scrub;
mod shown;
mod snapshots;
mod space;
mod status;
mod stored;
mod submit;
mod take_back;
mod transfer;

pub use admin::Placement;
pub use althing_consensus::port::{Role, Timing};
pub use archiver::{ArchiveOptions, ArchiveStatus, Archived, SEGMENT_SPAN, SEGMENT_TRANSITIONS};
pub use components::ComponentDescription;
pub use directory::record::{CommunityRecord, NodeRecord, ReplicaRecord};
pub use doctor::{
    CommunityFindings, ComponentFindings, Damage, Findings, Foresight, LogFindings, Look, NodeForesight,
    SnapshotFindings,
};
pub use identity::{Addresses, Birth, Identity, IdentityError};
pub use import::{History, Import};
pub use install::{ComponentInfo, HOLD_PATIENCE, ProgramInfo, ProgramSpec};
pub use node::{Node, NodeOptions, StartError};
pub use peer::HistoryRead;
pub use proof::{Progress, Proof, ProofError, prove, replay};
pub use quarantine::Quarantined;
pub use query::{Answer, Consistency, QueryAnswer, Scanned};
pub use retire::{Expected, Remaining, Retire, Retirement};
pub use scrub::ScrubStatus;
pub use space::{FreeBytes, Reserve};
pub use status::{MemberStatus, NodeStatus, ReplicaStatus};
pub use stored::{CheckedSnapshot, SnapshotFacts, StoredSnapshot};
pub use submit::Submitted;
pub use take_back::{Loss, Stranded, StrandedError};
pub use transfer::TransferStatus;
